// SPDX-License-Identifier: Apache-2.0
// Floor 2. The butterfly of fpq::hadamard_in_place in AVX-512 registers, the same additions in the
// same order: four stages inside a vector, three across eight of them, the rest over memory.
#pragma once

#include "fpq/core/hosted/simd_level.hpp"

#if FPQ_X86_KERNELS

#include <immintrin.h>

#include <cstddef>

#include "fpq/quant/kernels/avx512_prefetch.hpp"

FPQ_INTRINSICS_BEGIN

namespace fpq::kernels {

/// Stages of distance 1, 2, 4 and 8 within 16 values: a + b below, a - b above. The product with
/// 1 or -1 is exact, so that the fused sum is the plain one. Memory doubles even and odd values for
/// the first stage: loads are free where shuffles are not.
FPQ_AVX512 [[gnu::always_inline]] inline __m512 hadamard_16(float const* from) noexcept {
    __m512 const one = _mm512_set1_ps(1.0F);
    __m512 const minus = _mm512_set1_ps(-1.0F);
    __m512 const s1 = _mm512_mask_blend_ps(0xAAAA, one, minus);
    __m512 const s2 = _mm512_mask_blend_ps(0xCCCC, one, minus);
    __m512 const s4 = _mm512_mask_blend_ps(0xF0F0, one, minus);
    __m512 const s8 = _mm512_mask_blend_ps(0xFF00, one, minus);
    __m512 x = _mm512_fmadd_ps(_mm512_movehdup_ps(_mm512_loadu_ps(from)), s1,
                               _mm512_moveldup_ps(_mm512_loadu_ps(from)));
    x = _mm512_fmadd_ps(x, s2, _mm512_permute_ps(x, 0x4E));
    x = _mm512_fmadd_ps(x, s4, _mm512_shuffle_f32x4(x, x, 0xB1));
    return _mm512_fmadd_ps(x, s8, _mm512_shuffle_f32x4(x, x, 0x4E));
}

FPQ_AVX512 [[gnu::always_inline]] inline void butterfly(__m512& a, __m512& b) noexcept {
    __m512 const low = _mm512_add_ps(a, b);
    b = _mm512_sub_ps(a, b);
    a = low;
}

/// 128 values, from x to y (may be the same); Scaled: times `scale`.
template <bool Scaled>
FPQ_AVX512 [[gnu::always_inline]] inline void hadamard_128(float const* x, float* y,
                                                           float scale) noexcept {
    __m512 a = hadamard_16(x);
    __m512 b = hadamard_16(x + 16);
    __m512 c = hadamard_16(x + 32);
    __m512 d = hadamard_16(x + 48);
    __m512 e = hadamard_16(x + 64);
    __m512 f = hadamard_16(x + 80);
    __m512 g = hadamard_16(x + 96);
    __m512 h = hadamard_16(x + 112);
    butterfly(a, b);
    butterfly(c, d);
    butterfly(e, f);
    butterfly(g, h);
    butterfly(a, c);
    butterfly(b, d);
    butterfly(e, g);
    butterfly(f, h);
    butterfly(a, e);
    butterfly(b, f);
    butterfly(c, g);
    butterfly(d, h);
    if constexpr (Scaled) {
        __m512 const s = _mm512_set1_ps(scale);
        a = _mm512_mul_ps(a, s);
        b = _mm512_mul_ps(b, s);
        c = _mm512_mul_ps(c, s);
        d = _mm512_mul_ps(d, s);
        e = _mm512_mul_ps(e, s);
        f = _mm512_mul_ps(f, s);
        g = _mm512_mul_ps(g, s);
        h = _mm512_mul_ps(h, s);
    }
    _mm512_storeu_ps(y, a);
    _mm512_storeu_ps(y + 16, b);
    _mm512_storeu_ps(y + 32, c);
    _mm512_storeu_ps(y + 48, d);
    _mm512_storeu_ps(y + 64, e);
    _mm512_storeu_ps(y + 80, f);
    _mm512_storeu_ps(y + 96, g);
    _mm512_storeu_ps(y + 112, h);
}

/// n values in blocks of g, from x to y (may be the same): g a power of two, at least 16; n a
/// multiple.
FPQ_AVX512 inline void hadamard_avx512(float const* x, float* y, std::size_t n, std::size_t g,
                                       float scale) noexcept {
    bool const scaled = scale != 1.0F;
    if (g == 128) {
        for (std::size_t at = 0; at < n; at += 128) {
            prefetch_ahead(x + at, 512);
            if (scaled) {
                hadamard_128<true>(x + at, y + at, scale);
            } else {
                hadamard_128<false>(x + at, y + at, scale);
            }
        }
        return;
    }
    for (std::size_t at = 0; at < n; at += g) {
        float* const block = y + at;
        // The first four stages, or seven; then one pass a stage over a block in the cache.
        std::size_t half = 16;
        if (g > 128) {
            for (std::size_t i = 0; i < g; i += 128) {
                prefetch_ahead(x + at + i, 512);
                hadamard_128<false>(x + at + i, block + i, 1.0F);
            }
            half = 128;
        } else {
            for (std::size_t i = 0; i < g; i += 16) {
                _mm512_storeu_ps(block + i, hadamard_16(x + at + i));
            }
        }
        for (; half < g; half *= 2) {
            for (std::size_t base = 0; base < g; base += 2 * half) {
                for (std::size_t i = base; i < base + half; i += 16) {
                    __m512 a = _mm512_loadu_ps(block + i);
                    __m512 b = _mm512_loadu_ps(block + i + half);
                    butterfly(a, b);
                    _mm512_storeu_ps(block + i, a);
                    _mm512_storeu_ps(block + i + half, b);
                }
            }
        }
        for (std::size_t i = 0; scaled && i < g; i += 16) {
            _mm512_storeu_ps(block + i,
                             _mm512_mul_ps(_mm512_loadu_ps(block + i), _mm512_set1_ps(scale)));
        }
    }
}

}  // namespace fpq::kernels

FPQ_INTRINSICS_END

#endif
