// SPDX-License-Identifier: Apache-2.0
// Floor 2. tr(A H A^T): what a weight error costs at the layer's output, summed over the
// calibration tokens. The measure that solvers report; not the solver's own bookkeeping.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include "fpq/core/hosted/parallel.hpp"
#include "fpq/core/view.hpp"
#include "fpq/linalg/matmul.hpp"

namespace fpq {

namespace detail {

/// sum of a[i] * b[i] in double, in eight interleaved sums.
inline double dot_in_double(float const* a, float const* b, std::size_t n) noexcept {
    constexpr std::size_t sums_at_once = 8;
    double sums[sums_at_once] = {};
    std::size_t i = 0;
    for (; i + sums_at_once <= n; i += sums_at_once) {
        for (std::size_t j = 0; j < sums_at_once; ++j) {
            sums[j] += static_cast<double>(a[i + j]) * static_cast<double>(b[i + j]);
        }
    }
    double total = 0;
    for (; i < n; ++i) {
        total += static_cast<double>(a[i]) * static_cast<double>(b[i]);
    }
    for (double const s : sums) {
        total += s;
    }
    return total;
}

/// tr(A H A^T) for a chunk of rows. By halves: tr(A1 H11 A1^T) + 2 tr(A1 H12 A2^T) +
/// tr(A2 H22 A2^T), so that what symmetry repeats is never made and products are large.
/// `part` holds a.rows * half of a.cols values (at least a.rows * quadratic_leaf).
inline constexpr std::size_t quadratic_leaf = 128;
inline double quadratic_chunk(matrix_view<float const> a, matrix_view<float const> h, float* part) {
    std::size_t const n = a.cols;
    std::size_t const half = n <= quadratic_leaf ? 0 : n / 2;
    std::size_t const right = n - half;
    auto const first = a.cols_at(0, half == 0 ? n : half);
    auto const second = a.cols_at(half, right);
    product(product_shape::nn, a.rows, right, first.cols, 1.0F, first.data, a.stride, h.data + half,
            h.stride, part, right, false);
    double sum = 0;
    for (std::size_t r = 0; r < a.rows; ++r) {
        sum += dot_in_double(part + r * right, second.row(r), right);
    }
    if (half == 0) {
        return sum;
    }
    sum *= 2;
    sum += quadratic_chunk(first, h.rows_at(0, half).cols_at(0, half), part);
    sum += quadratic_chunk(second, h.rows_at(half, right).cols_at(half, right), part);
    return sum;
}

}  // namespace detail

/// tr(A H A^T) for a (m, n) and a symmetric h (n, n) of which the upper half is read.
/// Products in float32 (depth up to n), the sum over elements in double; the same at any thread
/// count. Throws fpq::error (usage) when the shapes disagree. Cost: m n^2 operations.
[[nodiscard]] inline double quadratic_form(matrix_view<float const> a, matrix_view<float const> h,
                                           int threads) {
    constexpr std::size_t chunk = 256;
    detail::require_shape(h.rows == a.cols && h.cols == a.cols, "quadratic_form",
                          detail::shape_text(a.cols, a.cols), detail::shape_text(h.rows, h.cols));
    std::vector<double> sums((a.rows + chunk - 1) / chunk, 0.0);
    parallel_for(sums.size(), 1, threads, [&](std::size_t begin, std::size_t end) {
        for (std::size_t t = begin; t < end; ++t) {
            std::size_t const row = t * chunk;
            std::size_t const rows = std::min(chunk, a.rows - row);
            std::vector<float> part(rows * std::max(detail::quadratic_leaf, (a.cols + 1) / 2));
            sums[t] =
                a.cols == 0 ? 0.0 : detail::quadratic_chunk(a.rows_at(row, rows), h, part.data());
        }
    });
    double total = 0;
    for (double const s : sums) {
        total += s;
    }
    return total;
}

}  // namespace fpq
