// SPDX-License-Identifier: Apache-2.0
// Floor 4. How the rows of a layer pull at each other under tr(H_O E H_I E^T): H_O, damped, each
// row over its diagonal. Row i given all others is an ordinary row under H_I whose weights are
// shifted by the sum over r != i of H_O[i, r] / H_O[i, i] E_r, which is all that a row's descent
// has to know of H_O.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/core/view.hpp"
#include "fpq/linalg/hessian.hpp"

namespace fpq {

class row_coupling {
public:
    /// Of H_O (m, m) with `damping` added to its diagonal. A row whose diagonal is 0 then (an
    /// output that no loss depends on, not damped) is coupled to nothing. Memory: m^2 floats.
    /// Throws fpq::error (numeric) by `name` for a diagonal that is negative or not finite.
    row_coupling(hessian const& h_o, double damping, std::string_view name)
        : m_(h_o.size()), values_(m_ * m_), weight_(m_) {
        auto const h = h_o.view();
        for (std::size_t i = 0; i < m_; ++i) {
            weight_[i] = static_cast<double>(h(i, i)) + damping;
            if (!(weight_[i] >= 0.0 && weight_[i] * 0.0 == 0.0)) {
                fail_numeric("diagonal of the outputs' second moment",
                             std::string(name) + "[" + std::to_string(i) + "]", "0 or more, finite",
                             std::to_string(weight_[i]));
            }
            for (std::size_t j = 0; j < m_; ++j) {
                values_[i * m_ + j] =
                    weight_[i] > 0.0 ? static_cast<float>(static_cast<double>(h(i, j)) / weight_[i])
                                     : 0.0F;
            }
            values_[i * m_ + i] = 1.0F;
        }
    }

    [[nodiscard]] std::size_t size() const noexcept { return m_; }
    /// (m, m): H_O[i, j] / H_O[i, i], 1 on the diagonal; not symmetric.
    [[nodiscard]] matrix_view<float const> view() const noexcept {
        return as_view(values_.data(), m_, m_);
    }
    /// H_O[i, i] + damping: what row i's objective counts in the sum.
    [[nodiscard]] double weight(std::size_t i) const noexcept { return weight_[i]; }

private:
    std::size_t m_;
    std::vector<float> values_;
    std::vector<double> weight_;
};

}  // namespace fpq
