// SPDX-License-Identifier: Apache-2.0
// Floor 2. The second moment of a layer's inputs, H = sum over tokens of x x^T, which GPTQ
// minimises against. Unnormalised: the solvers use ratios only. Not damped here (gptq_factor.hpp).
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/core/view.hpp"
#include "fpq/linalg/matmul.hpp"

namespace fpq {

/// H (n, n), symmetric, summed over any number of calls.
///
/// Accumulation: blocks of 2048 tokens are multiplied in float32, and each block's result is added
/// to a float-float total (TwoSum: high part and the rounding errors, about 48 bits), so the error
/// does not grow with the number of tokens. The low parts live in the half that symmetry leaves
/// free, row i of them at the end of row n - 1 - i, which has just that room and lets both be
/// walked along rows: memory is n^2 floats (n = 14336: 822 MB) plus one tile a thread.
/// The result does not depend on the thread count; it does depend, in the last bits, on how the
/// tokens are split over calls. Copyable and movable. Not safe for writing from two threads.
class hessian {
public:
    explicit hessian(std::size_t n) : n_(n), sum_(n * n, 0.0F), diagonal_low_(n, 0.0F) {}

    /// Columns (the layer's inputs).
    [[nodiscard]] std::size_t size() const noexcept { return n_; }
    /// Tokens accumulated so far.
    [[nodiscard]] std::size_t samples() const noexcept { return samples_; }

    /// H += x^T x; x (tokens, n). Throws fpq::error (usage) when x is not n wide.
    /// Cost: tokens * n^2 operations (half of the full product).
    void accumulate(matrix_view<float const> x, int threads = 1) {
        detail::require_shape(x.cols == n_, "hessian::accumulate", std::to_string(n_) + " columns",
                              std::to_string(x.cols));
        if (x.rows == 0 || n_ == 0) {
            return;
        }
        open();
        detail::for_each_lower_tile(n_, threads, [&](auto i, auto rows, auto j, auto cols) {
            auto const tile = std::make_unique_for_overwrite<float[]>(rows * cols);
            for (std::size_t t = 0; t < x.rows; t += token_block) {
                auto const tokens = x.rows_at(t, std::min(token_block, x.rows - t));
                detail::gram_tile(tokens, i, rows, j, cols, tile.get(), cols, false);
                add_tile(tile.get(), i, rows, j, cols);
            }
        });
        samples_ += x.rows;
    }

    /// H += other's H, as if its tokens had come here. Throws when the sizes differ.
    void merge(hessian const& other) {
        detail::require_shape(other.n_ == n_, "hessian::merge", std::to_string(n_) + " columns",
                              std::to_string(other.n_));
        open();
        for (std::size_t i = 0; i < n_; ++i) {
            add_run(i, 0, i, other.sum_.data() + i * n_);
            add(sum_[i * n_ + i], diagonal_low_[i], other.sum_[i * n_ + i]);
            if (!other.mirrored_) {
                float* const low = low_row(i);
                float const* const more = other.low_row(i);
                for (std::size_t j = 0; j < i; ++j) {
                    low[j] += more[j];
                }
                diagonal_low_[i] += other.diagonal_low_[i];
            }
        }
        samples_ += other.samples_;
    }

    /// The whole symmetric matrix. The first call after an accumulation rounds the total to
    /// float32 and mirrors it in place, so let one thread make it before several read.
    /// Valid until the next accumulate or merge.
    [[nodiscard]] matrix_view<float const> view() const {
        close();
        return as_view(static_cast<float const*>(sum_.data()), n_, n_);
    }

    /// diag(H), float32.
    [[nodiscard]] std::vector<float> diagonal() const {
        std::vector<float> out(n_);
        for (std::size_t i = 0; i < n_; ++i) {
            out[i] = sum_[i * n_ + i] + (mirrored_ ? 0.0F : diagonal_low_[i]);
        }
        return out;
    }

private:
    static constexpr std::size_t token_block = 2048;
    static constexpr std::size_t patch = 32;  // side of the squares walked in transposed order

    /// high + low += x without error in the sum of high and x (Knuth's TwoSum).
    static void add(float& high, float& low, float x) noexcept {
        float const sum = high + x;
        float const part = sum - high;
        low += (high - (sum - part)) + (x - part);
        high = sum;
    }

    /// The low parts of row i: i values.
    [[nodiscard]] float* low_row(std::size_t i) const noexcept {
        return sum_.data() + (n_ - 1 - i) * n_ + (n_ - i);
    }

    /// Adds x (count) to elements [j0, j0 + count) of row i, all below the diagonal; in runs of
    /// fixed length, which compilers vectorize.
    void add_run(std::size_t i, std::size_t j0, std::size_t count, float const* x) noexcept {
        constexpr std::size_t length = 8;
        float* const high = sum_.data() + i * n_ + j0;
        float* const low = low_row(i) + j0;
        std::size_t j = 0;
        for (; j + length <= count; j += length) {
            float h[length];
            float l[length];
            std::copy_n(high + j, length, h);
            std::copy_n(low + j, length, l);
            for (std::size_t k = 0; k < length; ++k) {
                float const value = x[j + k];
                float const sum = h[k] + value;
                float const part = sum - h[k];
                l[k] += (h[k] - (sum - part)) + (value - part);
                h[k] = sum;
            }
            std::copy_n(h, length, high + j);
            std::copy_n(l, length, low + j);
        }
        for (; j < count; ++j) {
            add(high[j], low[j], x[j]);
        }
    }

    void add_tile(float const* tile, std::size_t i0, std::size_t rows, std::size_t j0,
                  std::size_t cols) noexcept {
        for (std::size_t i = i0; i < i0 + rows; ++i) {
            float const* const x = tile + (i - i0) * cols;
            add_run(i, j0, std::min(cols, i - j0), x);
            if (i < j0 + cols) {
                add(sum_[i * n_ + i], diagonal_low_[i], x[i - j0]);
            }
        }
    }

    /// Back to (high below, low above) after a view.
    void open() {
        if (!mirrored_) {
            return;
        }
        for (std::size_t i = 0; i < n_; ++i) {
            std::fill(sum_.begin() + static_cast<std::ptrdiff_t>(i * n_ + i + 1),
                      sum_.begin() + static_cast<std::ptrdiff_t>((i + 1) * n_), 0.0F);
        }
        mirrored_ = false;
    }

    /// high + low, written to both halves.
    void close() const noexcept {
        if (mirrored_) {
            return;
        }
        for (std::size_t i = 0; i < n_; ++i) {
            float const* const low = low_row(i);
            for (std::size_t j = 0; j < i; ++j) {
                sum_[i * n_ + j] += low[j];
            }
            sum_[i * n_ + i] += std::exchange(diagonal_low_[i], 0.0F);
        }
        for (std::size_t pi = 0; pi < n_; pi += patch) {
            for (std::size_t pj = 0; pj <= pi; pj += patch) {
                close_patch(pi, pj);
            }
        }
        mirrored_ = true;
    }

    void close_patch(std::size_t pi, std::size_t pj) const noexcept {
        for (std::size_t i = pi; i < std::min(pi + patch, n_); ++i) {
            for (std::size_t j = pj; j < std::min(pj + patch, i); ++j) {
                sum_[j * n_ + i] = sum_[i * n_ + j];
            }
        }
    }

    std::size_t n_;
    std::size_t samples_ = 0;
    mutable std::vector<float> sum_;  // below: high parts; above: low parts (low_row) or the mirror
    mutable std::vector<float> diagonal_low_;  // low parts of the diagonal
    mutable bool mirrored_ = false;
};

}  // namespace fpq
