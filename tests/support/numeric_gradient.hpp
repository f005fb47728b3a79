// SPDX-License-Identifier: Apache-2.0
// Test support. The gradient of a function of doubles by central differences: the oracle of every
// backward verb, since it knows nothing but the forward formula.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

namespace fpq_test {

/// df/dx at x. A step of 2^-13 leaves h^2 f''' / 6, some 2.5e-9 of a function whose third
/// derivative is of size 1, and 2^-53 / h, some 1e-12 of its value: far below what float32 shows.
template <class F>
std::vector<double> numeric_gradient(F const& f, std::vector<double> x) {
    constexpr double h = 0x1p-13;
    std::vector<double> out(x.size());
    for (std::size_t i = 0; i < x.size(); ++i) {
        double const at = x[i];
        x[i] = at + h;
        double const above = f(x);
        x[i] = at - h;
        out[i] = (above - f(x)) / (2 * h);
        x[i] = at;
    }
    return out;
}

inline std::vector<double> widened(std::vector<float> const& x) { return {x.begin(), x.end()}; }

/// The largest difference, in units of the largest expected value.
inline double worst_error(std::vector<float> const& found, std::vector<double> const& expected) {
    double worst = found.size() == expected.size() ? 0 : HUGE_VAL;
    double size = 0;
    for (std::size_t i = 0; i < std::min(found.size(), expected.size()); ++i) {
        double const off = std::abs(static_cast<double>(found[i]) - expected[i]);
        worst = std::isnan(off) ? HUGE_VAL : std::max(worst, off);
        size = std::max(size, std::abs(expected[i]));
    }
    return worst / size;
}

}  // namespace fpq_test
