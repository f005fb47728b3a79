// SPDX-License-Identifier: Apache-2.0
// Floor 2. A blocked Cholesky factorisation in place, float or double, threaded with fixed tiles.
// Written on top of matmul.hpp's products rather than taken from Eigen or LAPACK: it works in the
// caller's memory, gives the same bytes at any thread count, uses BLAS when there is one, reports a
// lost pivot instead of returning noise, and compiles in a tenth of the time of Eigen's LLT.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include "fpq/core/hosted/parallel.hpp"
#include "fpq/core/view.hpp"
#include "fpq/linalg/matmul.hpp"

namespace fpq {

namespace detail {

inline constexpr std::size_t cholesky_block = 256;
inline constexpr std::size_t cholesky_tile = 512;
inline constexpr std::size_t cholesky_leaf = 16;

/// b = u^-T b, u (n, n) upper triangular, n <= cholesky_leaf; eight columns of b at a time in
/// loops of fixed length, which compilers vectorize.
template <class Scalar>
void solve_transposed_leaf(matrix_view<Scalar const> u, matrix_view<Scalar> b) {
    constexpr std::size_t columns_at_once = 8;
    std::size_t const n = u.rows;
    Scalar x[cholesky_leaf * columns_at_once] = {};
    for (std::size_t c = 0; c < b.cols; c += columns_at_once) {
        std::size_t const width = std::min(columns_at_once, b.cols - c);
        for (std::size_t i = 0; i < n; ++i) {
            std::copy_n(b.row(i) + c, width, x + i * columns_at_once);
        }
        for (std::size_t i = 0; i < n; ++i) {
            Scalar row[columns_at_once];
            std::copy_n(x + i * columns_at_once, columns_at_once, row);
            for (std::size_t p = 0; p < i; ++p) {
                Scalar const factor = u(p, i);
                for (std::size_t j = 0; j < columns_at_once; ++j) {
                    row[j] -= factor * x[p * columns_at_once + j];
                }
            }
            Scalar const pivot = u(i, i);
            for (std::size_t j = 0; j < columns_at_once; ++j) {
                x[i * columns_at_once + j] = row[j] / pivot;
            }
        }
        for (std::size_t i = 0; i < n; ++i) {
            std::copy_n(x + i * columns_at_once, width, b.row(i) + c);
        }
    }
}

/// b = u^-T b, u (n, n) upper triangular, b (n, cols); by halving, so that most of it is products.
template <class Scalar>
void solve_transposed(matrix_view<Scalar const> u, matrix_view<Scalar> b) {
    std::size_t const n = u.rows;
    if (n <= cholesky_leaf) {
        solve_transposed_leaf(u, b);
        return;
    }
    std::size_t const half = n / 2;
    auto const top = b.rows_at(0, half);
    auto const bottom = b.rows_at(half, n - half);
    solve_transposed<Scalar>(u.rows_at(0, half).cols_at(0, half), top);
    product(product_shape::tn, n - half, b.cols, half, Scalar{-1}, u.data + half, u.stride,
            static_cast<Scalar const*>(top.data), top.stride, bottom.data, bottom.stride, true);
    solve_transposed<Scalar>(u.rows_at(half, n - half).cols_at(half, n - half), bottom);
}

/// A diagonal block of at most cholesky_leaf columns, plain loops. `before` holds the diagonal of
/// the matrix before any update.
template <class Scalar>
bool cholesky_plain(matrix_view<Scalar> a, Scalar const* before) noexcept {
    std::size_t const n = a.rows;
    for (std::size_t j = 0; j < n; ++j) {
        Scalar* const pivot_row = a.row(j);
        Scalar const pivot = pivot_row[j];
        // Below the rounding error of its own diagonal element a pivot is noise.
        bool const good = pivot > std::numeric_limits<Scalar>::epsilon() * before[j] &&
                          pivot <= std::numeric_limits<Scalar>::max();
        if (!good) {
            return false;
        }
        Scalar const root = std::sqrt(pivot);
        pivot_row[j] = root;
        for (std::size_t k = j + 1; k < n; ++k) {
            pivot_row[k] /= root;
        }
        for (std::size_t i = j + 1; i < n; ++i) {
            Scalar const factor = pivot_row[i];
            Scalar* const row = a.row(i);
            for (std::size_t k = i; k < n; ++k) {
                row[k] -= factor * pivot_row[k];
            }
        }
    }
    return true;
}

/// A diagonal block, by halving: the left half, what it says of the right, the right half.
template <class Scalar>
bool cholesky_small(matrix_view<Scalar> a, Scalar const* before) {
    std::size_t const n = a.rows;
    if (n <= cholesky_leaf) {
        return cholesky_plain(a, before);
    }
    std::size_t const half = n / 2;
    auto const corner = a.rows_at(0, half).cols_at(0, half);
    auto const side = a.rows_at(0, half).cols_at(half, n - half);
    auto const rest = a.rows_at(half, n - half).cols_at(half, n - half);
    if (!cholesky_small(corner, before)) {
        return false;
    }
    solve_transposed<Scalar>(corner, side);
    product(product_shape::tn, rest.rows, rest.cols, half, Scalar{-1},
            static_cast<Scalar const*>(side.data), side.stride,
            static_cast<Scalar const*>(side.data), side.stride, rest.data, rest.stride, true);
    return cholesky_small(rest, before + half);
}

}  // namespace detail

/// Factors a symmetric positive definite a = u^T u in place: reads the upper half of a (n, n),
/// leaves u there; what lies below the diagonal is unspecified. Returns false when a pivot is not
/// finite or not above the rounding error of its diagonal element; a is then partly overwritten.
/// Sums in Scalar. Cost: n^3 / 3 operations, no allocation beyond n values.
/// Left-looking by block rows of 256 (Golub and Van Loan, section 4.2).
template <class Scalar>
[[nodiscard]] bool cholesky_upper(matrix_view<Scalar> a, int threads) {
    std::size_t const n = a.rows;
    std::vector<Scalar> before(n);
    for (std::size_t i = 0; i < n; ++i) {
        before[i] = a(i, i);
    }
    for (std::size_t k = 0; k < n; k += detail::cholesky_block) {
        std::size_t const height = std::min(detail::cholesky_block, n - k);
        auto const tiles = [&](std::size_t first, auto const& f) {
            std::size_t const count =
                (n - first + detail::cholesky_tile - 1) / detail::cholesky_tile;
            parallel_for(count, 1, threads, [&](std::size_t begin, std::size_t end) {
                for (std::size_t t = begin; t < end; ++t) {
                    std::size_t const c = first + t * detail::cholesky_tile;
                    f(c, std::min(detail::cholesky_tile, n - c));
                }
            });
        };
        if (k > 0) {
            tiles(k, [&](std::size_t c, std::size_t width) {
                detail::product(product_shape::tn, height, width, k, Scalar{-1},
                                static_cast<Scalar const*>(a.data + k), a.stride,
                                static_cast<Scalar const*>(a.data + c), a.stride, a.row(k) + c,
                                a.stride, true);
            });
        }
        auto const corner = a.rows_at(k, height).cols_at(k, height);
        if (!detail::cholesky_small(corner, before.data() + k)) {
            return false;
        }
        if (k + height < n) {
            tiles(k + height, [&](std::size_t c, std::size_t width) {
                detail::solve_transposed<Scalar>(corner, a.rows_at(k, height).cols_at(c, width));
            });
        }
    }
    return true;
}

}  // namespace fpq
