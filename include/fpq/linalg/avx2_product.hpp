// SPDX-License-Identifier: Apache-2.0
// Floor 2. The kernel of a matrix product, AVX2 with fused multiply-add: 6 rows by two vectors
// of sums stay in registers (panel_product.hpp).
#pragma once

#include "fpq/core/hosted/simd_level.hpp"

#if FPQ_X86_KERNELS

#include <immintrin.h>

#include <cstddef>

// Where one thing is fused everything may be: nothing but sums is compiled with this.
#define FPQ_AVX2_FMA [[gnu::target("avx2,fma")]]

FPQ_INTRINSICS_BEGIN

namespace fpq::kernels {

/// The vector of a type and what the product does with it.
template <class Scalar>
struct avx2_vector;
template <>
struct avx2_vector<float> {
    using type = __m256;
    FPQ_AVX2_FMA [[gnu::always_inline]] static type zero() noexcept { return _mm256_setzero_ps(); }
    FPQ_AVX2_FMA [[gnu::always_inline]] static type load(float const* p) noexcept {
        return _mm256_loadu_ps(p);
    }
    FPQ_AVX2_FMA [[gnu::always_inline]] static void store(float* p, type v) noexcept {
        _mm256_storeu_ps(p, v);
    }
    FPQ_AVX2_FMA [[gnu::always_inline]] static type add(float a, type b, type c) noexcept {
        return _mm256_fmadd_ps(_mm256_set1_ps(a), b, c);
    }
};
template <>
struct avx2_vector<double> {
    using type = __m256d;
    FPQ_AVX2_FMA [[gnu::always_inline]] static type zero() noexcept { return _mm256_setzero_pd(); }
    FPQ_AVX2_FMA [[gnu::always_inline]] static type load(double const* p) noexcept {
        return _mm256_loadu_pd(p);
    }
    FPQ_AVX2_FMA [[gnu::always_inline]] static void store(double* p, type v) noexcept {
        _mm256_storeu_pd(p, v);
    }
    FPQ_AVX2_FMA [[gnu::always_inline]] static type add(double a, type b, type c) noexcept {
        return _mm256_fmadd_pd(_mm256_set1_pd(a), b, c);
    }
};

/// Sums of Rows rows by two vectors. A chain of members: compilers leave arrays in memory.
template <class Scalar, std::size_t Rows>
struct avx2_sums {
    using vector = avx2_vector<Scalar>;
    static constexpr std::size_t width = 32 / sizeof(Scalar);
    typename vector::type low;
    typename vector::type high;
    avx2_sums<Scalar, Rows - 1> rest;

    FPQ_AVX2_FMA [[gnu::always_inline]] void clear() noexcept {
        low = vector::zero();
        high = vector::zero();
        rest.clear();
    }
    /// Row r += a[r] * (b_low, b_high).
    FPQ_AVX2_FMA [[gnu::always_inline]] void add(Scalar const* a, typename vector::type b_low,
                                                 typename vector::type b_high) noexcept {
        low = vector::add(a[0], b_low, low);
        high = vector::add(a[0], b_high, high);
        rest.add(a + 1, b_low, b_high);
    }
    /// Row r of c = alpha * sums, added to what is there when `more`.
    FPQ_AVX2_FMA [[gnu::always_inline]] void store(Scalar alpha, Scalar* c, std::size_t ldc,
                                                   bool more) const noexcept {
        vector::store(c, vector::add(alpha, low, more ? vector::load(c) : vector::zero()));
        vector::store(c + width,
                      vector::add(alpha, high, more ? vector::load(c + width) : vector::zero()));
        rest.store(alpha, c + ldc, ldc, more);
    }
};
template <class Scalar>
struct avx2_sums<Scalar, 0> {
    using vector = avx2_vector<Scalar>;
    FPQ_AVX2_FMA [[gnu::always_inline]] void clear() noexcept {}
    FPQ_AVX2_FMA [[gnu::always_inline]] void add(Scalar const* /*a*/, typename vector::type /*low*/,
                                                 typename vector::type /*high*/) noexcept {}
    FPQ_AVX2_FMA [[gnu::always_inline]] void store(Scalar /*alpha*/, Scalar* /*c*/,
                                                   std::size_t /*ldc*/,
                                                   bool /*more*/) const noexcept {}
};

/// The kernel of product_by_panels.
template <class Scalar>
struct avx2_panels {
    static constexpr std::size_t rows = 6;                    // of a panel of a
    static constexpr std::size_t cols = 64 / sizeof(Scalar);  // of a panel of b
    static constexpr std::size_t thin = 12;  // fewer rows than these go without panels
    FPQ_AVX2_FMA static void multiply(Scalar const* a, Scalar const* b, std::size_t depth,
                                      Scalar alpha, Scalar* c, std::size_t ldc,
                                      bool more) noexcept {
        using vector = avx2_vector<Scalar>;
        avx2_sums<Scalar, rows> sums;
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

#undef FPQ_AVX2_FMA

#endif
