// SPDX-License-Identifier: Apache-2.0
// Floor 2. tr(H_O E H_I E^T): what a weight error costs when H_I says how inputs vary together and
// H_O what the outputs are worth; quadratic_form.hpp is this with H_O = I. It is
// vec(E)^T (H_O x H_I) vec(E), a quadratic form of the Kronecker product, which is never made.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include "fpq/core/hosted/parallel.hpp"
#include "fpq/core/view.hpp"
#include "fpq/linalg/matmul.hpp"
#include "fpq/linalg/quadratic_form.hpp"

namespace fpq {

/// tr(H_O E H_I E^T) for e (m, n), a symmetric h_o (m, m) and a symmetric h_i (n, n): the sum over
/// elements of (H_O E) times (E H_I). Products in float32 (depth m and n), the sum over elements in
/// double; the same at any thread count. Throws fpq::error (usage) when the shapes disagree.
/// Cost: 2 m n (m + n) operations, a multiplication and an addition counted as two; 512 n floats a
/// thread.
[[nodiscard]] inline double kronecker_form(matrix_view<float const> e, matrix_view<float const> h_o,
                                           matrix_view<float const> h_i, int threads) {
    constexpr std::size_t chunk = 256;
    detail::require_shape(h_o.rows == e.rows && h_o.cols == e.rows, "kronecker_form, rows",
                          detail::shape_text(e.rows, e.rows),
                          detail::shape_text(h_o.rows, h_o.cols));
    detail::require_shape(h_i.rows == e.cols && h_i.cols == e.cols, "kronecker_form, columns",
                          detail::shape_text(e.cols, e.cols),
                          detail::shape_text(h_i.rows, h_i.cols));
    std::size_t const n = e.cols;
    std::vector<double> sums(n == 0 ? 0 : (e.rows + chunk - 1) / chunk, 0.0);
    parallel_for(sums.size(), 1, threads, [&](std::size_t begin, std::size_t end) {
        for (std::size_t t = begin; t < end; ++t) {
            std::size_t const row = t * chunk;
            std::size_t const rows = std::min(chunk, e.rows - row);
            std::vector<float> left(rows * n);
            std::vector<float> right(rows * n);
            detail::product(product_shape::nn, rows, n, e.rows, 1.0F, h_o.row(row), h_o.stride,
                            e.data, e.stride, left.data(), n, false);
            detail::product(product_shape::nn, rows, n, n, 1.0F, e.row(row), e.stride, h_i.data,
                            h_i.stride, right.data(), n, false);
            sums[t] = detail::dot_in_double(left.data(), right.data(), left.size());
        }
    });
    double total = 0;
    for (double const s : sums) {
        total += s;
    }
    return total;
}

}  // namespace fpq
