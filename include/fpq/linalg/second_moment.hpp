// SPDX-License-Identifier: Apache-2.0
// Floor 2. The second moment of a layer's inputs, sum over tokens of x x^T, while it is summed;
// what comes of it is the Hessian that GPTQ minimises against (hessian.hpp). Windows that several
// threads, devices or ranks share out: sharded_second_moment.hpp.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/core/view.hpp"
#include "fpq/linalg/hessian.hpp"
#include "fpq/linalg/matmul.hpp"

namespace fpq {

/// x^T x (n, n) over any number of calls.
///
/// Accumulation: blocks of 2048 tokens are multiplied in float32, and each block's result is added
/// to a float-float total (TwoSum: high part and the rounding errors, about 48 bits), so the error
/// does not grow with the number of tokens. The low parts live in the half that symmetry leaves
/// free, row i of them at the end of row n - 1 - i, which has just that room and lets both be
/// walked along rows: memory is n^2 floats (n = 14336: 822 MB) plus one tile a thread.
/// The result does not depend on the thread count; it does depend, in the last bits, on how the
/// tokens are split over calls. Copyable and movable. Not safe for writing from two threads.
class second_moment {
public:
    explicit second_moment(std::size_t n) : n_(n), sum_(n * n, 0.0F), diagonal_low_(n, 0.0F) {}

    /// A state that parts() and diagonal_parts() of another process gave. Throws fpq::error (usage)
    /// when they are not n^2 and n values.
    second_moment(std::size_t n, std::size_t count, std::vector<float> parts,
                  std::vector<float> diagonal_parts)
        : n_(n), count_(count), sum_(std::move(parts)), diagonal_low_(std::move(diagonal_parts)) {
        detail::require_shape(
            sum_.size() == n * n && diagonal_low_.size() == n, "second_moment",
            std::to_string(n * n) + " and " + std::to_string(n) + " parts",
            std::to_string(sum_.size()) + " and " + std::to_string(diagonal_low_.size()));
    }

    /// Columns (the layer's inputs).
    [[nodiscard]] std::size_t size() const noexcept { return n_; }
    /// Tokens summed so far.
    [[nodiscard]] std::size_t count() const noexcept { return count_; }

    /// += x^T x; x (tokens, n). Throws fpq::error (usage) when x is not n wide.
    /// Cost: tokens * n^2 operations (half of the full product).
    void add(matrix_view<float const> x, int threads) {
        detail::require_shape(x.cols == n_, "second_moment::add", std::to_string(n_) + " columns",
                              std::to_string(x.cols));
        if (x.rows == 0 || n_ == 0) {
            return;
        }
        detail::for_each_lower_tile(n_, threads, [&](auto i, auto rows, auto j, auto cols) {
            auto const tile = std::make_unique_for_overwrite<float[]>(rows * cols);
            for (std::size_t t = 0; t < x.rows; t += token_block) {
                auto const tokens = x.rows_at(t, std::min(token_block, x.rows - t));
                detail::gram_tile(tokens, i, rows, j, cols, tile.get(), cols, false);
                add_tile(tile.get(), i, rows, j, cols);
            }
        });
        count_ += x.rows;
    }

    /// += other, as if its tokens had come here. Throws fpq::error (usage) when the sizes differ.
    void merge(second_moment const& other) {
        detail::require_shape(other.n_ == n_, "second_moment::merge",
                              std::to_string(n_) + " columns", std::to_string(other.n_));
        for (std::size_t i = 0; i < n_; ++i) {
            add_run(i, 0, i, other.sum_.data() + i * n_);
            add(sum_[i * n_ + i], diagonal_low_[i], other.sum_[i * n_ + i]);
            float* const low = low_row(i);
            float const* const more = other.low_row(i);
            for (std::size_t j = 0; j < i; ++j) {
                low[j] += more[j];
            }
            diagonal_low_[i] += other.diagonal_low_[i];
        }
        count_ += other.count_;
    }

    /// The total rounded to float32 and mirrored, in the memory of this object, which is left
    /// empty.
    [[nodiscard]] hessian finish() && {
        close();
        return {std::exchange(n_, 0), std::exchange(count_, 0), std::move(sum_)};
    }

    /// The unrounded state, to be sent to another process: n^2 values, high parts on and below the
    /// diagonal, low parts above it.
    [[nodiscard]] std::span<float const> parts() const noexcept { return sum_; }
    /// The low parts of the diagonal, n values.
    [[nodiscard]] std::span<float const> diagonal_parts() const noexcept { return diagonal_low_; }

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
    [[nodiscard]] float* low_row(std::size_t i) noexcept {
        return sum_.data() + (n_ - 1 - i) * n_ + (n_ - i);
    }
    [[nodiscard]] float const* low_row(std::size_t i) const noexcept {
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

    /// high + low, written to both halves.
    void close() noexcept {
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
    }

    void close_patch(std::size_t pi, std::size_t pj) noexcept {
        for (std::size_t i = pi; i < std::min(pi + patch, n_); ++i) {
            for (std::size_t j = pj; j < std::min(pj + patch, i); ++j) {
                sum_[j * n_ + i] = sum_[i * n_ + j];
            }
        }
    }

    std::size_t n_;
    std::size_t count_ = 0;
    std::vector<float> sum_;           // below: high parts; above: low parts (low_row)
    std::vector<float> diagonal_low_;  // low parts of the diagonal
};

/// The Hessian of one batch: x^T x, x (tokens, n).
[[nodiscard]] inline hessian hessian_of(matrix_view<float const> x, int threads) {
    second_moment sum(x.cols);
    sum.add(x, threads);
    return std::move(sum).finish();
}

}  // namespace fpq
