// SPDX-License-Identifier: Apache-2.0
// Floor 4. tr(A H A^T): what a weight error costs at the layer's output, summed over the
// calibration tokens. The measure that solvers report; not the solver's own bookkeeping.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include "fpq/core/view.hpp"
#include "fpq/quant/parallel.hpp"
#include "fpq/solve/matmul.hpp"

namespace fpq {

namespace detail {

/// The same for one chunk of rows. By symmetry only products with the blocks on and above the
/// diagonal are made, and those above count twice.
inline double quadratic_chunk(matrix_view<float const> a, matrix_view<float const> h) {
    constexpr std::size_t width = 256;
    std::vector<float> part(a.rows * width);
    double sum = 0;
    for (std::size_t c = 0; c < a.cols; c += width) {
        std::size_t const cols = std::min(width, a.cols - c);
        auto const dot = [&](double weight, std::size_t depth, float const* left,
                             float const* top) {
            if (depth == 0) {
                return;
            }
            product(product_shape::nn, a.rows, cols, depth, 1.0F, left, a.stride, top, h.stride,
                    part.data(), cols, false);
            double total = 0;
            for (std::size_t r = 0; r < a.rows; ++r) {
                for (std::size_t j = 0; j < cols; ++j) {
                    total +=
                        static_cast<double>(part[r * cols + j]) * static_cast<double>(a(r, c + j));
                }
            }
            sum += weight * total;
        };
        dot(2.0, c, a.data, h.data + c);
        dot(1.0, cols, a.data + c, h.row(c) + c);
    }
    return sum;
}

}  // namespace detail

/// tr(A H A^T) for a (m, n) and a symmetric h (n, n) of which the upper half is read.
/// Products in float32 (depth up to n), the sum over elements in double; the same at any thread
/// count. Throws fpq::error (usage) when the shapes disagree. Cost: m n^2 operations.
[[nodiscard]] inline double quadratic_form(matrix_view<float const> a, matrix_view<float const> h,
                                           int threads) {
    constexpr std::size_t chunk = 128;
    detail::require_shape(h.rows == a.cols && h.cols == a.cols, "quadratic_form",
                          detail::shape_text(a.cols, a.cols), detail::shape_text(h.rows, h.cols));
    std::vector<double> sums((a.rows + chunk - 1) / chunk, 0.0);
    parallel_for(sums.size(), 1, threads, [&](std::size_t begin, std::size_t end) {
        for (std::size_t t = begin; t < end; ++t) {
            std::size_t const row = t * chunk;
            sums[t] = detail::quadratic_chunk(a.rows_at(row, std::min(chunk, a.rows - row)), h);
        }
    });
    double total = 0;
    for (double const s : sums) {
        total += s;
    }
    return total;
}

}  // namespace fpq
