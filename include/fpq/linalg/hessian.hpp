// SPDX-License-Identifier: Apache-2.0
// Floor 2. A layer's Hessian, H = sum over tokens of x x^T, finished: what GPTQ minimises against
// and reports by. Unnormalised: the solvers use ratios only. Not damped here (gptq_factor.hpp). A
// value: nothing changes it, so threads may share it. second_moment.hpp sums it.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/core/view.hpp"

namespace fpq {

class hessian {
public:
    /// `values` (n, n), symmetric, of `count` tokens. Throws fpq::error (usage) when they are not
    /// n^2.
    hessian(std::size_t n, std::size_t count, std::vector<float> values)
        : n_(n), count_(count), values_(std::move(values)) {
        if (values_.size() != n * n) {
            fail_usage("hessian", "matrix shapes", std::to_string(n * n) + " values",
                       std::to_string(values_.size()));
        }
    }

    /// Columns (the layer's inputs).
    [[nodiscard]] std::size_t size() const noexcept { return n_; }
    /// Tokens that were summed.
    [[nodiscard]] std::size_t count() const noexcept { return count_; }
    /// The whole symmetric matrix.
    [[nodiscard]] matrix_view<float const> view() const noexcept {
        return as_view(values_.data(), n_, n_);
    }
    /// diag(H).
    [[nodiscard]] std::vector<float> diagonal() const {
        std::vector<float> out(n_);
        for (std::size_t i = 0; i < n_; ++i) {
            out[i] = values_[i * n_ + i];
        }
        return out;
    }

private:
    std::size_t n_;
    std::size_t count_;
    std::vector<float> values_;
};

}  // namespace fpq
