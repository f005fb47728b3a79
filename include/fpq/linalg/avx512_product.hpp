// SPDX-License-Identifier: Apache-2.0
// Floor 2. A matrix product of one thread, AVX-512 with fused multiply-add: what linalg/matmul.hpp
// takes without a BLAS, where Eigen has only the instructions that the program was compiled for.
// Both operands are copied into panels that the inner loop reads in order; 12 rows by two vectors
// of sums stay in registers.
#pragma once

#include "fpq/core/hosted/simd_level.hpp"

#if FPQ_X86_KERNELS

#include <immintrin.h>

#include <algorithm>
#include <cstddef>
#include <vector>

FPQ_INTRINSICS_BEGIN

namespace fpq::kernels {

/// An operand as it is read: element (i, j) lies at data[i * down + j * across].
template <class Scalar>
struct strided {
    Scalar const* data;
    std::size_t down;
    std::size_t across;
};

/// The vector of a type and what the product does with it.
template <class Scalar>
struct vector_of;
template <>
struct vector_of<float> {
    using type = __m512;
    FPQ_AVX512 [[gnu::always_inline]] static type zero() noexcept { return _mm512_setzero_ps(); }
    FPQ_AVX512 [[gnu::always_inline]] static type load(float const* p) noexcept {
        return _mm512_loadu_ps(p);
    }
    FPQ_AVX512 [[gnu::always_inline]] static void store(float* p, type v) noexcept {
        _mm512_storeu_ps(p, v);
    }
    FPQ_AVX512 [[gnu::always_inline]] static type add(float a, type b, type c) noexcept {
        return _mm512_fmadd_ps(_mm512_set1_ps(a), b, c);
    }
};
template <>
struct vector_of<double> {
    using type = __m512d;
    FPQ_AVX512 [[gnu::always_inline]] static type zero() noexcept { return _mm512_setzero_pd(); }
    FPQ_AVX512 [[gnu::always_inline]] static type load(double const* p) noexcept {
        return _mm512_loadu_pd(p);
    }
    FPQ_AVX512 [[gnu::always_inline]] static void store(double* p, type v) noexcept {
        _mm512_storeu_pd(p, v);
    }
    FPQ_AVX512 [[gnu::always_inline]] static type add(double a, type b, type c) noexcept {
        return _mm512_fmadd_pd(_mm512_set1_pd(a), b, c);
    }
};

/// Sums of Rows rows by two vectors. A chain of members: compilers leave arrays in memory.
template <class Scalar, std::size_t Rows>
struct product_sums {
    using vector = vector_of<Scalar>;
    static constexpr std::size_t width = 64 / sizeof(Scalar);
    typename vector::type low;
    typename vector::type high;
    product_sums<Scalar, Rows - 1> rest;

    FPQ_AVX512 [[gnu::always_inline]] void clear() noexcept {
        low = vector::zero();
        high = vector::zero();
        rest.clear();
    }
    /// Row r += a[r] * (b_low, b_high).
    FPQ_AVX512 [[gnu::always_inline]] void add(Scalar const* a, typename vector::type b_low,
                                               typename vector::type b_high) noexcept {
        low = vector::add(a[0], b_low, low);
        high = vector::add(a[0], b_high, high);
        rest.add(a + 1, b_low, b_high);
    }
    /// Row r of c = alpha * sums, added to what is there when `more`.
    FPQ_AVX512 [[gnu::always_inline]] void store(Scalar alpha, Scalar* c, std::size_t ldc,
                                                 bool more) const noexcept {
        vector::store(c, vector::add(alpha, low, more ? vector::load(c) : vector::zero()));
        vector::store(c + width,
                      vector::add(alpha, high, more ? vector::load(c + width) : vector::zero()));
        rest.store(alpha, c + ldc, ldc, more);
    }
};
template <class Scalar>
struct product_sums<Scalar, 0> {
    using vector = vector_of<Scalar>;
    FPQ_AVX512 [[gnu::always_inline]] void clear() noexcept {}
    FPQ_AVX512 [[gnu::always_inline]] void add(Scalar const* /*a*/, typename vector::type /*low*/,
                                               typename vector::type /*high*/) noexcept {}
    FPQ_AVX512 [[gnu::always_inline]] void store(Scalar /*alpha*/, Scalar* /*c*/,
                                                 std::size_t /*ldc*/,
                                                 bool /*more*/) const noexcept {}
};

inline constexpr std::size_t product_rows = 12;  // of a panel of a
template <class Scalar>
inline constexpr std::size_t product_cols = 128 / sizeof(Scalar);  // of a panel of b

/// Copies x (depth, count) to panels of Side: for every depth Side values, zeros past `count`.
template <std::size_t Side, class Scalar>
void pack_panels(strided<Scalar> x, std::size_t depth, std::size_t count, Scalar* to) {
    for (std::size_t first = 0; first < count; first += Side, to += Side * depth) {
        std::size_t const some = std::min(Side, count - first);
        Scalar const* const from = x.data + first * x.across;
        if (some < Side) {
            std::fill_n(to, Side * depth, Scalar{0});
        }
        if (x.across == 1) {
            for (std::size_t p = 0; p < depth; ++p) {
                std::copy_n(from + p * x.down, some, to + p * Side);
            }
            continue;
        }
        constexpr std::size_t step = 16;  // depths of one line of memory
        for (std::size_t p = 0; p < depth; p += step) {
            for (std::size_t s = 0; s < some; ++s) {
                for (std::size_t d = p; d < std::min(p + step, depth); ++d) {
                    to[d * Side + s] = from[d * x.down + s * x.across];
                }
            }
        }
    }
}

/// One block of sums: a panel of a against a panel of b.
template <class Scalar>
FPQ_AVX512 inline void multiply_panels(Scalar const* a, Scalar const* b, std::size_t depth,
                                       Scalar alpha, Scalar* c, std::size_t ldc,
                                       bool more) noexcept {
    using vector = vector_of<Scalar>;
    constexpr std::size_t cols = product_cols<Scalar>;
    product_sums<Scalar, product_rows> sums;
    sums.clear();
    for (std::size_t p = 0; p < depth; ++p) {
        sums.add(a + p * product_rows, vector::load(b + p * cols),
                 vector::load(b + p * cols + cols / 2));
    }
    sums.store(alpha, c, ldc, more);
}

/// c (m, n) = alpha * a b, added to c when `more`; a is (m, k), b is (k, n), c is row-major. None
/// of the sizes is 0. The order of the sums depends on k alone.
template <class Scalar>
void product_avx512(std::size_t m, std::size_t n, std::size_t k, Scalar alpha, strided<Scalar> a,
                    strided<Scalar> b, Scalar* c, std::size_t ldc, bool more) {
    // A panel of b stays in the first cache, the blocks of a and b in the second.
    constexpr std::size_t depth_block = 1024 / sizeof(Scalar);
    constexpr std::size_t row_block = 20 * product_rows;
    constexpr std::size_t col_block = 16 * product_cols<Scalar>;
    constexpr std::size_t cols = product_cols<Scalar>;
    auto const whole = [](std::size_t size, std::size_t side) {
        return (size + side - 1) / side * side;
    };
    std::size_t const deepest = std::min(k, depth_block);
    std::vector<Scalar> a_panels(whole(std::min(m, row_block), product_rows) * deepest);
    std::vector<Scalar> b_panels(whole(std::min(n, col_block), cols) * deepest);
    Scalar edge[product_rows * cols];
    for (std::size_t p = 0; p < k; p += depth_block) {
        std::size_t const depth = std::min(depth_block, k - p);
        bool const add = more || p > 0;
        for (std::size_t j = 0; j < n; j += col_block) {
            std::size_t const wide = std::min(col_block, n - j);
            pack_panels<cols>(strided<Scalar>{b.data + p * b.down + j * b.across, b.down, b.across},
                              depth, wide, b_panels.data());
            for (std::size_t i = 0; i < m; i += row_block) {
                std::size_t const high = std::min(row_block, m - i);
                pack_panels<product_rows>(
                    strided<Scalar>{a.data + i * a.down + p * a.across, a.across, a.down}, depth,
                    high, a_panels.data());
                for (std::size_t jj = 0; jj < wide; jj += cols) {
                    for (std::size_t ii = 0; ii < high; ii += product_rows) {
                        Scalar const* const left = a_panels.data() + ii * depth;
                        Scalar const* const right = b_panels.data() + jj * depth;
                        Scalar* const out = c + (i + ii) * ldc + j + jj;
                        if (high - ii >= product_rows && wide - jj >= cols) {
                            multiply_panels(left, right, depth, alpha, out, ldc, add);
                            continue;
                        }
                        multiply_panels(left, right, depth, alpha, edge, cols, false);
                        for (std::size_t r = 0; r < std::min(product_rows, high - ii); ++r) {
                            for (std::size_t s = 0; s < std::min(cols, wide - jj); ++s) {
                                Scalar const sum = edge[r * cols + s];
                                out[r * ldc + s] = add ? out[r * ldc + s] + sum : sum;
                            }
                        }
                    }
                }
            }
        }
    }
}

}  // namespace fpq::kernels

FPQ_INTRINSICS_END

#endif
