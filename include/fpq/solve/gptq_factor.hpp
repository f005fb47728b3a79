// SPDX-License-Identifier: Apache-2.0
// Floor 4. What GPTQ needs of a Hessian, computed once and shared by every layer that reads the
// same input (q, k, v; gate, up): the column order, the damping, the dead columns, and the factor
// by which rounding errors are fed forward. Knows nothing of weights or formats.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/core/hosted/parallel.hpp"
#include "fpq/core/view.hpp"
#include "fpq/linalg/cholesky.hpp"
#include "fpq/linalg/hessian.hpp"
#include "fpq/solve/options.hpp"

namespace fpq {

/// The factor of the damped, permuted Hessian H' = R R^T, R upper triangular.
///
/// The usual formulation takes U, the upper Cholesky factor of the inverse (H'^-1 = U^T U), and
/// feeds (w_j - q_j) / U_jj * U_jk forward. U is R^-1, and the same targets follow from R alone:
///     target_k = w_k + sum over j < k of (w_j - q_j) * F_kj,   F_kj = R_jk / R_kk,
/// with w the original weights (LDLQ; Frantar et al. 2023 and Chee et al. 2023 are one algorithm).
/// So neither the inverse nor a second factorisation is made. R comes from a Cholesky
/// factorisation of H' with rows and columns reversed. 1 / U_kk^2 = R_kk^2 is the cost of a
/// squared error in column k after all later columns have made up for it.
template <class Scalar>
class basic_gptq_factor {
public:
    [[nodiscard]] std::size_t size() const noexcept { return order_.size(); }
    /// order()[k]: the original column that is fixed k-th.
    [[nodiscard]] std::vector<std::uint32_t> const& order() const noexcept { return order_; }
    /// F (n, n), valid strictly below the diagonal, in processing order.
    [[nodiscard]] matrix_view<Scalar const> feedback() const noexcept {
        return as_view(feedback_.data(), size(), size());
    }
    /// R_kk^2 = 1 / U_kk^2, in processing order.
    [[nodiscard]] std::vector<double> const& innovation() const noexcept { return innovation_; }
    /// diag(H), not damped, in original order.
    [[nodiscard]] std::vector<float> const& diagonal() const noexcept { return diagonal_; }
    /// What was added to the diagonal, in H's units, and how often it was raised tenfold.
    [[nodiscard]] double damping() const noexcept { return damping_; }
    [[nodiscard]] int retries() const noexcept { return retries_; }
    [[nodiscard]] std::size_t dead_columns() const noexcept { return dead_count_; }
    [[nodiscard]] bool dead(std::size_t column) const noexcept {
        return !(diagonal_[column] > 0.0F);
    }

    /// From a symmetric h (n, n); only its lower half is read.
    /// Dead columns (H_jj = 0) get H_jj = 1. Damping is rel_damp * mean(diag H), dead columns
    /// counted as 0. A factorisation that fails is tried again with ten times the damping (and at
    /// least 1e-6 of the mean), six tries in all, then fpq::error (numeric) names `name`; so does
    /// a NaN, an infinity or a negative diagonal element. `threads` only sets the speed.
    /// float: factored in double up to 4096 columns, above that in float (half the memory), and
    /// then in double if float loses a pivot. Cost: n^3 / 3 operations.
    static basic_gptq_factor make(matrix_view<float const> h, quant_order order, double rel_damp,
                                  int threads, std::string_view name) {
        basic_gptq_factor f;
        f.read_diagonal(h, name);
        f.choose_order(order);
        f.damp_and_factor(h, rel_damp, threads, name);
        return f;
    }

private:
    static constexpr std::size_t double_limit = 4096;
    static constexpr int tries = 6;

    void read_diagonal(matrix_view<float const> h, std::string_view name) {
        std::size_t const n = h.rows;
        if (h.cols != n) {
            fail_usage("GPTQ Hessian", name, "a square matrix", detail::shape_text(n, h.cols));
        }
        for (std::size_t i = 0; i < n; ++i) {
            for (std::size_t j = 0; j <= i; ++j) {
                if (!(h(i, j) * 0.0F == 0.0F)) {
                    fail_numeric("non-finite Hessian",
                                 std::string(name) + "[" + std::to_string(i) + ", " +
                                     std::to_string(j) + "]",
                                 "a finite number", std::to_string(h(i, j)));
                }
            }
            if (h(i, i) < 0.0F) {
                fail_numeric("negative Hessian diagonal",
                             std::string(name) + "[" + std::to_string(i) + "]", "0 or more",
                             std::to_string(h(i, i)));
            }
        }
        diagonal_.resize(n);
        for (std::size_t i = 0; i < n; ++i) {
            diagonal_[i] = h(i, i);
            dead_count_ += dead(i) ? 1 : 0;
        }
    }

    void choose_order(quant_order order) {
        order_.resize(diagonal_.size());
        std::iota(order_.begin(), order_.end(), std::uint32_t{0});
        if (order == quant_order::activation) {
            std::stable_sort(order_.begin(), order_.end(),
                             [this](auto a, auto b) { return diagonal_[a] > diagonal_[b]; });
        }
    }

    void damp_and_factor(matrix_view<float const> h, double rel_damp, int threads,
                         std::string_view name) {
        std::size_t const n = size();
        double const sum = std::accumulate(diagonal_.begin(), diagonal_.end(), 0.0);
        double const mean = n == 0 ? 0.0 : sum / static_cast<double>(n);
        damping_ = rel_damp * mean;
        for (retries_ = 0; retries_ < tries; ++retries_) {
            if (factor_once(h, threads)) {
                return;
            }
            damping_ = std::max(10 * damping_, 1e-6 * mean);
        }
        fail_numeric("Hessian is not positive definite", name,
                     "a Cholesky factorisation within " + std::to_string(tries) + " tries",
                     "none up to a damping of " + std::to_string(damping_ / (10 * mean)) +
                         " times the mean diagonal");
    }

    bool factor_once(matrix_view<float const> h, int threads) {
        std::size_t const n = size();
        if constexpr (std::is_same_v<Scalar, float>) {
            if (n > double_limit && factor_in<float>(h, threads)) {
                return true;
            }
        }
        return factor_in<double>(h, threads);
    }

    /// Fills a with the upper half of the damped H', rows and columns reversed.
    template <class Work>
    void gather(matrix_view<float const> h, matrix_view<Work> a, int threads) const {
        std::size_t const n = size();
        parallel_for(n, 64, threads, [&](std::size_t begin, std::size_t end) {
            for (std::size_t r = begin; r < end; ++r) {
                std::size_t const i = order_[n - 1 - r];
                for (std::size_t c = r; c < n; ++c) {
                    std::size_t const j = order_[n - 1 - c];
                    a(r, c) = static_cast<Work>(h(std::max(i, j), std::min(i, j)));
                }
                double const base = dead(i) ? 1.0 : static_cast<double>(h(i, i));
                a(r, r) = static_cast<Work>(base + damping_);
            }
        });
    }

    template <class Work>
    bool factor_in(matrix_view<float const> h, int threads) {
        std::size_t const n = size();
        std::vector<Work> own;
        if constexpr (std::is_same_v<Work, Scalar>) {
            own.swap(feedback_);  // factor where the result will lie
        }
        own.resize(n * n);
        auto const a = as_view(own.data(), n, n);
        gather(h, a, threads);
        if (!cholesky_upper(a, threads)) {
            return false;
        }
        innovation_.resize(n);
        std::vector<Work> inverse(n);
        for (std::size_t k = 0; k < n; ++k) {
            Work const root = a(n - 1 - k, n - 1 - k);
            innovation_[k] = static_cast<double>(root) * static_cast<double>(root);
            inverse[k] = Work{1} / root;
        }
        // Reversing rows and columns of a row-major matrix reverses its memory.
        if constexpr (std::is_same_v<Work, Scalar>) {
            std::reverse(own.begin(), own.end());
            feedback_.swap(own);
        } else {
            feedback_.resize(n * n);
        }
        parallel_for(n, 64, threads, [&](std::size_t begin, std::size_t end) {
            for (std::size_t k = begin; k < end; ++k) {
                Scalar* const out = feedback_.data() + k * n;
                for (std::size_t j = 0; j < k; ++j) {
                    Work value{};
                    if constexpr (std::is_same_v<Work, Scalar>) {
                        value = out[j];
                    } else {
                        value = own[(n - 1 - k) * n + (n - 1 - j)];
                    }
                    out[j] = static_cast<Scalar>(value * inverse[k]);
                }
            }
        });
        return true;
    }

    std::vector<std::uint32_t> order_;
    std::vector<Scalar> feedback_;
    std::vector<double> innovation_;
    std::vector<float> diagonal_;
    double damping_ = 0;
    int retries_ = 0;
    std::size_t dead_count_ = 0;
};

using gptq_factor = basic_gptq_factor<float>;

/// The factor of a layer's Hessian; see basic_gptq_factor::make. Throws fpq::error (usage) also
/// when options.threads is not stated.
inline gptq_factor factor(hessian const& h, solve_options const& options, std::string_view name) {
    detail::require_threads(options, name);
    return gptq_factor::make(h.view(), options.order, options.rel_damp, options.threads, name);
}

}  // namespace fpq
