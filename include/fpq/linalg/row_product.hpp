// SPDX-License-Identifier: Apache-2.0
// Floor 2. The product of a linear whose rows do not know each other: row i of the result has the
// same bits whatever other rows there are, and in whatever order. matmul.hpp does not promise that:
// few rows go another way there, and a library chooses its kernels by all sizes. For engines, which
// batch what belongs to different people.
#pragma once

#include <cstddef>
#include <string>

#include "fpq/core/hosted/simd_level.hpp"
#include "fpq/core/view.hpp"
#include "fpq/linalg/avx2_product.hpp"
#include "fpq/linalg/avx512_product.hpp"
#include "fpq/linalg/matmul.hpp"
#include "fpq/linalg/panel_product.hpp"
#include "fpq/linalg/plain_product.hpp"
#include "fpq/linalg/products.hpp"

namespace fpq {

namespace detail {

/// c (m, n) = a b^T by panels of Kernel, however few rows there are: the sums of a row are taken in
/// an order that depends on k alone (product_by_panels).
template <template <class> class Kernel>
void panels_of_rows(std::size_t m, std::size_t n, std::size_t k, float const* a, std::size_t lda,
                    float const* b, std::size_t ldb, float* c, std::size_t ldc) {
    kernels::product_by_panels<Kernel<float>, float>(m, n, k, 1.0F, {a, lda, 1}, {b, 1, ldb}, c,
                                                     ldc, false);
}

using row_product_function = void (*)(std::size_t m, std::size_t n, std::size_t k, float const* a,
                                      std::size_t lda, float const* b, std::size_t ldb, float* c,
                                      std::size_t ldc);

inline row_product_function row_product() noexcept {
#if FPQ_X86_KERNELS
    switch (own_product_level()) {
        case simd_level::avx512:
            return &panels_of_rows<kernels::avx512_panels>;
        case simd_level::avx2:
            return &panels_of_rows<kernels::avx2_panels>;
        case simd_level::generic:
            break;
    }
#endif
    return &panels_of_rows<kernels::plain_panels>;
}

}  // namespace detail

/// y = x w^T: x (m, k), w (n, k), y (m, n), all row-major and k at least 1. float32 sums; a row of
/// y depends on its row of x, on w and on the processor's kernels, on nothing else. y must not
/// overlap x or w. Throws fpq::error (usage) when the shapes disagree. Cost: 2 m n k operations,
/// and a copy of w, so that one row takes as long as a dozen.
inline void matmul_rows(matrix_view<float const> x, matrix_view<float const> w,
                        matrix_view<float> y, int threads) {
    detail::require_shape(x.cols == w.cols && y.rows == x.rows && y.cols == w.rows && x.cols != 0,
                          "matmul_rows", detail::shape_text(x.rows, w.rows) + " from equal widths",
                          detail::shape_text(y.rows, y.cols) + " from widths " +
                              std::to_string(x.cols) + " and " + std::to_string(w.cols));
    detail::row_product_function const product = detail::row_product();
    detail::for_each_tile(y.rows, y.cols, threads, [&](auto i, auto rows, auto j, auto cols) {
        product(rows, cols, x.cols, x.row(i), x.stride, w.row(j), w.stride, y.row(i) + j, y.stride);
    });
}

}  // namespace fpq
