// SPDX-License-Identifier: Apache-2.0
// Floor 2. Products of a few rows, where copies into panels cost more than they save: dot
// products where b is turned, else rows of b added up. One body a level.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "fpq/core/hosted/simd_level.hpp"
#include "fpq/linalg/product_table.hpp"
#include "fpq/linalg/vector_type.hpp"

namespace fpq::kernels {

/// What a thin product multiplies; element (i, p) of a lies at a[i * a_down + p * a_across].
template <class Scalar>
struct thin_operands {
    std::size_t m, n, k;
    Scalar alpha;
    Scalar const* a;
    std::size_t a_down, a_across;
    Scalar const* b;
    std::size_t ldb;
    Scalar* c;
    std::size_t ldc;
    bool add;
};

/// c = alpha * a b^T: b (n, k); a's rows are contiguous. Vectors of Bytes, four sums of them.
template <int Bytes, class Scalar>
[[gnu::always_inline]] inline void thin_turned_body(thin_operands<Scalar> const& o) noexcept {
    using vector = vector_of<Scalar, Bytes>;
    constexpr std::size_t width = Bytes / sizeof(Scalar);
    constexpr std::size_t step = 4 * width;
    auto const add_product = [](vector& sum, Scalar const* x, Scalar const* y) {
        vector left;
        vector right;
        std::memcpy(&left, x, sizeof left);
        std::memcpy(&right, y, sizeof right);
        sum += left * right;
    };
    for (std::size_t j = 0; j < o.n; ++j) {
        Scalar const* const right = o.b + j * o.ldb;
        for (std::size_t i = 0; i < o.m; ++i) {
            Scalar const* const left = o.a + i * o.a_down;
            vector sum0{};
            vector sum1{};
            vector sum2{};
            vector sum3{};
            std::size_t p = 0;
            for (; p + step <= o.k; p += step) {
                add_product(sum0, left + p, right + p);
                add_product(sum1, left + p + width, right + p + width);
                add_product(sum2, left + p + 2 * width, right + p + 2 * width);
                add_product(sum3, left + p + 3 * width, right + p + 3 * width);
            }
            sum0 = (sum0 + sum1) + (sum2 + sum3);
            Scalar lane[width];
            std::memcpy(lane, &sum0, sizeof lane);
            Scalar total = 0;
            for (; p < o.k; ++p) {
                total += left[p] * right[p];
            }
            for (Scalar const part : lane) {
                total += part;
            }
            Scalar& to = o.c[i * o.ldc + j];
            to = (o.add ? to : Scalar{0}) + o.alpha * total;
        }
    }
}

/// c = alpha * a b: b (k, n). Four rows of b at a time, each added in turn.
template <int Bytes, class Scalar>
[[gnu::always_inline]] inline void thin_body(thin_operands<Scalar> const& o) noexcept {
    using vector = vector_of<Scalar, Bytes>;
    constexpr std::size_t width = Bytes / sizeof(Scalar);
    constexpr std::size_t rows = 4;
    auto const add_row = [](vector& sum, Scalar factor, Scalar const* from) {
        vector row;
        std::memcpy(&row, from, sizeof row);
        sum += factor * row;
    };
    for (std::size_t i = 0; !o.add && i < o.m; ++i) {
        std::fill_n(o.c + i * o.ldc, o.n, Scalar{0});
    }
    for (std::size_t p = 0; p < o.k; p += rows) {
        std::size_t const some = std::min(rows, o.k - p);
        Scalar const* const from = o.b + p * o.ldb;
        for (std::size_t i = 0; i < o.m; ++i) {
            Scalar factor[rows] = {};
            for (std::size_t r = 0; r < some; ++r) {
                factor[r] = o.alpha * o.a[i * o.a_down + (p + r) * o.a_across];
            }
            Scalar* const to = o.c + i * o.ldc;
            std::size_t j = 0;
            for (; some == rows && j + width <= o.n; j += width) {
                vector sum;
                std::memcpy(&sum, to + j, sizeof sum);
                add_row(sum, factor[0], from + j);
                add_row(sum, factor[1], from + o.ldb + j);
                add_row(sum, factor[2], from + 2 * o.ldb + j);
                add_row(sum, factor[3], from + 3 * o.ldb + j);
                std::memcpy(to + j, &sum, sizeof sum);
            }
            for (; j < o.n; ++j) {
                Scalar sum = to[j];
                for (std::size_t r = 0; r < some; ++r) {
                    sum += factor[r] * from[r * o.ldb + j];
                }
                to[j] = sum;
            }
        }
    }
}

template <class Scalar>
void thin_plain(thin_operands<Scalar> const& o, bool turned) noexcept {
    turned ? thin_turned_body<16>(o) : thin_body<16>(o);
}
#if FPQ_X86_KERNELS
template <class Scalar>
FPQ_AVX2 void thin_avx2(thin_operands<Scalar> const& o, bool turned) noexcept {
    turned ? thin_turned_body<32>(o) : thin_body<32>(o);
}
#endif

/// c (m, n) = alpha * op(a) op(b), as product_functions has it.
template <class Scalar>
void thin_product([[maybe_unused]] simd_level level, product_shape shape, std::size_t m,
                  std::size_t n, std::size_t k, Scalar alpha, Scalar const* a, std::size_t lda,
                  Scalar const* b, std::size_t ldb, Scalar* c, std::size_t ldc, bool add) {
    bool const a_turned = shape == product_shape::tn;
    thin_operands<Scalar> const o{m, n,   k, alpha, a,  a_turned ? 1 : lda, a_turned ? lda : 1,
                                  b, ldb, c, ldc,   add};
#if FPQ_X86_KERNELS
    if (level != simd_level::generic) {
        thin_avx2(o, shape == product_shape::nt);
        return;
    }
#endif
    thin_plain(o, shape == product_shape::nt);
}

}  // namespace fpq::kernels
