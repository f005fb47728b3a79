// SPDX-License-Identifier: Apache-2.0
// Floor 2. The kernel of a matrix product, AVX-512 with fused multiply-add: 12 rows by two vectors
// of sums stay in registers (panel_product.hpp).
#pragma once

#include "fpq/core/hosted/simd_level.hpp"

#if FPQ_X86_KERNELS

#include <immintrin.h>

#include <cstddef>

FPQ_INTRINSICS_BEGIN

namespace fpq::kernels {

/// The vector of a type and what the product does with it.
template <class Scalar>
struct avx512_vector;
template <>
struct avx512_vector<float> {
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
struct avx512_vector<double> {
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
struct avx512_sums {
    using vector = avx512_vector<Scalar>;
    static constexpr std::size_t width = 64 / sizeof(Scalar);
    typename vector::type low;
    typename vector::type high;
    avx512_sums<Scalar, Rows - 1> rest;

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
struct avx512_sums<Scalar, 0> {
    using vector = avx512_vector<Scalar>;
    FPQ_AVX512 [[gnu::always_inline]] void clear() noexcept {}
    FPQ_AVX512 [[gnu::always_inline]] void add(Scalar const* /*a*/, typename vector::type /*low*/,
                                               typename vector::type /*high*/) noexcept {}
    FPQ_AVX512 [[gnu::always_inline]] void store(Scalar /*alpha*/, Scalar* /*c*/,
                                                 std::size_t /*ldc*/,
                                                 bool /*more*/) const noexcept {}
};

/// The kernel of product_by_panels.
template <class Scalar>
struct avx512_panels {
    static constexpr std::size_t rows = 12;                    // of a panel of a
    static constexpr std::size_t cols = 128 / sizeof(Scalar);  // of a panel of b
    static constexpr std::size_t thin = 12;  // fewer rows than these go without panels
    FPQ_AVX512 static void multiply(Scalar const* a, Scalar const* b, std::size_t depth,
                                    Scalar alpha, Scalar* c, std::size_t ldc, bool more) noexcept {
        using vector = avx512_vector<Scalar>;
        avx512_sums<Scalar, rows> sums;
        sums.clear();
        for (std::size_t p = 0; p < depth; ++p) {
            sums.add(a + p * rows, vector::load(b + p * cols),
                     vector::load(b + p * cols + cols / 2));
        }
        sums.store(alpha, c, ldc, more);
    }
};

}  // namespace fpq::kernels

FPQ_INTRINSICS_END

#endif
