// SPDX-License-Identifier: Apache-2.0
// Second moments and weights for the tests of the two-sided solvers: correlated, of many sizes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "fpq/core/random.hpp"
#include "fpq/linalg/second_moment.hpp"
#include "fpq/quant/packed_matrix.hpp"
#include "fpq/quant/quantize.hpp"

namespace fpq_test {

/// x^T x of `tokens` rows in which neighbours are correlated and channels differ in size.
inline fpq::hessian correlated_moment(std::size_t n, std::size_t tokens, std::uint64_t seed) {
    fpq::philox const source{seed, 7};
    std::vector<float> x(tokens * n);
    for (std::size_t t = 0; t < tokens; ++t) {
        float carry = 0;
        float const shared = source.normal_at(tokens * n + t);
        for (std::size_t j = 0; j < n; ++j) {
            carry = 0.8F * carry + source.normal_at(t * n + j);
            x[t * n + j] =
                (carry + (j % 3 == 0 ? shared : 0.0F)) * (0.5F + static_cast<float>(j % 5));
        }
    }
    return fpq::hessian_of(fpq::as_view(x.data(), tokens, n), 1);
}

inline fpq::hessian diagonal_moment(std::size_t n, float (*value)(std::size_t)) {
    std::vector<float> h(n * n, 0.0F);
    for (std::size_t i = 0; i < n; ++i) {
        h[i * n + i] = value(i);
    }
    return {n, n, std::move(h)};
}

/// tr((H_O + row_damping I) E (H_I + damping I) E^T) in double, E = w - decode(q).
inline double damped_objective(std::vector<float> const& w, fpq::packed_matrix const& q,
                               fpq::hessian const& h_i, double damping, fpq::hessian const* h_o,
                               double row_damping) {
    std::size_t const m = q.rows;
    std::size_t const n = q.cols;
    auto const d = fpq::dequantize(q.view(), 1);
    std::vector<double> e(m * n);
    for (std::size_t i = 0; i < e.size(); ++i) {
        e[i] = static_cast<double>(w[i]) - static_cast<double>(d[i]);
    }
    double sum = 0;
    std::vector<double> row(n);
    for (std::size_t r = 0; r < m; ++r) {
        for (std::size_t j = 0; j < n; ++j) {
            row[j] = h_o == nullptr ? e[r * n + j] : row_damping * e[r * n + j];
        }
        for (std::size_t i = 0; i < m && h_o != nullptr; ++i) {
            auto const factor = static_cast<double>(h_o->view()(r, i));
            for (std::size_t j = 0; j < n; ++j) {
                row[j] += factor * e[i * n + j];
            }
        }
        for (std::size_t k = 0; k < n; ++k) {
            double right = damping * e[r * n + k];
            for (std::size_t j = 0; j < n; ++j) {
                right += e[r * n + j] * static_cast<double>(h_i.view()(j, k));
            }
            sum += row[k] * right;
        }
    }
    return sum;
}

}  // namespace fpq_test
