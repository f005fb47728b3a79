// SPDX-License-Identifier: Apache-2.0
// Floor 2. The one place that multiplies matrices. Work is cut into tiles whose borders depend on
// the shape only; each tile is one single-threaded product of the table in use (products.hpp) and
// tiles are shared out by parallel_for. So the bytes of a result depend on that table, never on the
// number of threads. Not a tensor library: three shapes only.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>

#include "fpq/core/hosted/error.hpp"
#include "fpq/core/hosted/parallel.hpp"
#include "fpq/core/view.hpp"
#include "fpq/linalg/product_table.hpp"
#include "fpq/linalg/products.hpp"

namespace fpq {

namespace detail {

/// c (m, n) = alpha * op(a) op(b), as product_functions has it.
template <class Scalar>
void product(product_shape shape, std::size_t m, std::size_t n, std::size_t k, Scalar alpha,
             Scalar const* a, std::size_t lda, Scalar const* b, std::size_t ldb, Scalar* c,
             std::size_t ldc, bool add) {
    active_products().of<Scalar>().product(shape, m, n, k, alpha, a, lda, b, ldb, c, ldc, add);
}

/// c (n, n) = x^T x on and below the diagonal, as product_functions has it.
template <class Scalar>
void lower_gram(std::size_t n, std::size_t k, Scalar const* x, std::size_t ldx, Scalar* c,
                std::size_t ldc, bool add) {
    active_products().of<Scalar>().lower_gram(n, k, x, ldx, c, ldc, add);
}

/// Tile borders of the products: chosen so that two packed operands and the result stay in L2.
inline constexpr std::size_t tile_rows = 256;
inline constexpr std::size_t tile_cols = 512;

inline void require_shape(bool good, char const* what, std::string const& expected,
                          std::string const& found) {
    if (!good) {
        fail_usage(what, "matrix shapes", expected, found);
    }
}

inline std::string shape_text(std::size_t rows, std::size_t cols) {
    return "(" + std::to_string(rows) + ", " + std::to_string(cols) + ")";
}

/// f(first row, rows, first column, columns) for every tile of an (m, n) result.
template <class F>
void for_each_tile(std::size_t m, std::size_t n, int threads, F const& f) {
    std::size_t const across = (n + tile_cols - 1) / tile_cols;
    std::size_t const down = (m + tile_rows - 1) / tile_rows;
    parallel_for(down * across, 1, threads, [&](std::size_t begin, std::size_t end) {
        for (std::size_t t = begin; t < end; ++t) {
            std::size_t const i = t / across * tile_rows;
            std::size_t const j = t % across * tile_cols;
            f(i, std::min(tile_rows, m - i), j, std::min(tile_cols, n - j));
        }
    });
}

/// Side of the square tiles of a Gram matrix of n columns: small ones too shall feed two threads.
constexpr std::size_t gram_tile_side(std::size_t n) noexcept {
    return n <= 1024 ? 128 : n <= 2048 ? 512 : 1024;
}

/// f(first row, rows, first column, columns) for every square tile that touches the lower half.
template <class F>
void for_each_lower_tile(std::size_t n, int threads, F const& f) {
    std::size_t const side = gram_tile_side(n);
    std::size_t const down = (n + side - 1) / side;
    parallel_for(down * (down + 1) / 2, 1, threads, [&](std::size_t begin, std::size_t end) {
        for (std::size_t t = begin; t < end; ++t) {
            std::size_t i = 0;
            std::size_t left = t;  // tile t in row-by-row order of the lower half
            while (left > i) {
                left -= ++i;
            }
            std::size_t const row = i * side;
            std::size_t const col = left * side;
            f(row, std::min(side, n - row), col, std::min(side, n - col));
        }
    });
}

/// c (rows, cols) = (or +=) columns [i, i + rows) of x against columns [j, j + cols) of x, that is
/// one tile of x^T x; on the diagonal (i == j) what the lower half needs: above it within 128
/// columns c is unspecified, further away untouched.
template <class Scalar>
void gram_tile(matrix_view<Scalar const> x, std::size_t i, std::size_t rows, std::size_t j,
               std::size_t cols, Scalar* c, std::size_t ldc, bool add) {
    if (i == j) {
        lower_gram(rows, x.rows, x.data + i, x.stride, c, ldc, add);
        return;
    }
    product(product_shape::tn, rows, cols, x.rows, Scalar{1}, x.data + i, x.stride, x.data + j,
            x.stride, c, ldc, add);
}

/// y = (or +=, `add`) x op(w), op(w) (x.cols, y.cols), tile by tile; of no depth: 0.
inline void multiply(product_shape shape, matrix_view<float const> x, matrix_view<float const> w,
                     matrix_view<float> y, bool add, int threads) {
    for_each_tile(y.rows, y.cols, threads, [&](auto i, auto rows, auto j, auto cols) {
        if (x.cols == 0) {
            for (std::size_t r = i; r < i + rows && !add; ++r) {
                std::fill_n(y.row(r) + j, cols, 0.0F);
            }
            return;
        }
        product(shape, rows, cols, x.cols, 1.0F, x.row(i), x.stride,
                shape == product_shape::nt ? w.row(j) : w.data + j, w.stride, y.row(i) + j,
                y.stride, add);
    });
}

}  // namespace detail

/// y = x w^T: x (m, k), w (n, k), y (m, n), all row-major; the shape of a linear layer.
/// float32 sums in the order of the product library. y must not overlap x or w.
/// Throws fpq::error (usage) when the shapes disagree. Cost: 2 m n k operations.
inline void matmul_nt(matrix_view<float const> x, matrix_view<float const> w, matrix_view<float> y,
                      int threads) {
    detail::require_shape(x.cols == w.cols && y.rows == x.rows && y.cols == w.rows, "matmul_nt",
                          detail::shape_text(x.rows, w.rows) + " from equal widths",
                          detail::shape_text(y.rows, y.cols) + " from widths " +
                              std::to_string(x.cols) + " and " + std::to_string(w.cols));
    detail::multiply(product_shape::nt, x, w, y, false, threads);
}

/// y = x w, or y += x w when `add`: x (m, k), w (k, n), y (m, n), all row-major; otherwise as
/// matmul_nt.
inline void matmul_nn(matrix_view<float const> x, matrix_view<float const> w, matrix_view<float> y,
                      int threads, bool add = false) {
    detail::require_shape(x.cols == w.rows && y.rows == x.rows && y.cols == w.cols, "matmul_nn",
                          detail::shape_text(x.rows, w.cols) + " from equal depths",
                          detail::shape_text(y.rows, y.cols) + " from depths " +
                              std::to_string(x.cols) + " and " + std::to_string(w.rows));
    detail::multiply(product_shape::nn, x, w, y, add, threads);
}

}  // namespace fpq
