// SPDX-License-Identifier: Apache-2.0
// Floor 2. E2M1 rows to packed codes and back, AVX2: 32 values a step, without FMA.
#pragma once

#include "fpq/core/hosted/simd_level.hpp"

#if FPQ_X86_KERNELS

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "fpq/core/bits.hpp"
#include "fpq/format/minifloat.hpp"

FPQ_INTRINSICS_BEGIN

namespace fpq::kernels {

/// Codes of eight quotients, plus 254, in dwords. No signs; NaN is the largest code.
FPQ_AVX2 [[gnu::always_inline]] inline __m256i e2m1_sizes(__m256 quotient) noexcept {
    __m256 const size = _mm256_and_ps(quotient, _mm256_castsi256_ps(_mm256_set1_epi32(INT32_MAX)));
    __m256 const clamped = _mm256_min_ps(size, _mm256_set1_ps(e2m1::max));
    __m256 const octave = _mm256_max_ps(clamped, _mm256_set1_ps(e2m1::min_normal));
    // 1.5 * 2^23 spacings of the octave: the sum's last bits count them (snap of rounding.hpp).
    __m256i const exponent =
        _mm256_and_si256(_mm256_castps_si256(octave), _mm256_set1_epi32(0x7F800000));
    constexpr std::int32_t spacing = (23 - e2m1::mantissa_bits) << 23 | 0x00400000;
    __m256i const magic = _mm256_add_epi32(exponent, _mm256_set1_epi32(spacing));
    __m256i const sum = _mm256_castps_si256(_mm256_add_ps(clamped, _mm256_castsi256_ps(magic)));
    // An octave has two codes.
    return _mm256_add_epi32(_mm256_sub_epi32(sum, magic), _mm256_srli_epi32(exponent, 22));
}

/// Dwords whose sign is that of a quotient, -0.0's too; NaN has none.
FPQ_AVX2 [[gnu::always_inline]] inline __m256i e2m1_signs(__m256 quotient) noexcept {
    __m256 const number = _mm256_cmp_ps(quotient, quotient, _CMP_ORD_Q);
    return _mm256_castps_si256(_mm256_and_ps(quotient, number));
}

/// The codes of weights under a step, 16 bits each, those of a in the lower halves of both 128-bit
/// lanes.
FPQ_AVX2 [[gnu::always_inline]] inline __m256i e2m1_words(__m256 a, __m256 b,
                                                          __m256 step) noexcept {
    a = _mm256_div_ps(a, step);
    b = _mm256_div_ps(b, step);
    __m256i const sizes =
        _mm256_sub_epi16(_mm256_packs_epi32(e2m1_sizes(a), e2m1_sizes(b)), _mm256_set1_epi16(254));
    __m256i const signs =
        _mm256_packs_epi32(e2m1_signs(a), e2m1_signs(b));  // saturation keeps them
    __m256i const sign = _mm256_and_si256(_mm256_srli_epi16(signs, 12), _mm256_set1_epi16(8));
    return _mm256_or_si256(sizes, sign);
}

/// packed (16) = the codes of x (32), 16 under each step.
FPQ_AVX2 [[gnu::always_inline]] inline void e2m1_encode_32(float const* x, float first,
                                                           float second,
                                                           std::uint8_t* packed) noexcept {
    __m256i const pairs = _mm256_set1_epi32(16 << 16 | 1);  // even value, odd value
    __m256i const low = _mm256_madd_epi16(
        e2m1_words(_mm256_loadu_ps(x), _mm256_loadu_ps(x + 8), _mm256_set1_ps(first)), pairs);
    __m256i const high = _mm256_madd_epi16(
        e2m1_words(_mm256_loadu_ps(x + 16), _mm256_loadu_ps(x + 24), _mm256_set1_ps(second)),
        pairs);
    __m256i const words = _mm256_packs_epi32(low, high);
    __m256i const bytes = _mm256_packus_epi16(words, words);
    // Every vector has two bytes in each half.
    _mm_storeu_si128(
        reinterpret_cast<__m128i*>(packed),
        _mm_unpacklo_epi16(_mm256_castsi256_si128(bytes), _mm256_extracti128_si256(bytes, 1)));
}

/// Codes of a leading part of x (n), a multiple of 32, whose length is returned; groups of 16, or
/// of a multiple of 32, with a positive step each.
FPQ_AVX2 inline std::size_t e2m1_codes_avx2(float const* x, std::size_t n, std::size_t group,
                                            float const* steps, std::uint8_t* packed) noexcept {
    std::size_t const whole = n / 32 * 32;
    if (group == 16) {
        for (std::size_t i = 0; i < whole; i += 32) {
            e2m1_encode_32(x + i, steps[i / 16], steps[i / 16 + 1], packed + i / 2);
        }
        return whole;
    }
    for (std::size_t first = 0; first < whole; first += group, ++steps) {
        std::size_t const last = first + group < whole ? first + group : whole;
        for (std::size_t i = first; i < last; i += 32) {
            e2m1_encode_32(x + i, *steps, *steps, packed + i / 2);
        }
    }
    return whole;
}

/// out (16) = the values of 8 bytes of codes times a step.
FPQ_AVX2 [[gnu::always_inline]] inline void e2m1_decode_16(std::uint8_t const* packed, float step,
                                                           float* out) noexcept {
    __m256 const sizes = _mm256_setr_ps(0.0F, 0.5F, 1.0F, 1.5F, 2.0F, 3.0F, 4.0F, 6.0F);
    __m128i const bytes = _mm_loadl_epi64(reinterpret_cast<__m128i const*>(packed));
    __m128i const nibbles = _mm_unpacklo_epi8(bytes, _mm_srli_epi16(bytes, 4));  // low bits count
    for (int half = 0; half < 2; ++half) {
        __m256i const codes =
            _mm256_cvtepu8_epi32(half == 0 ? nibbles : _mm_unpackhi_epi64(nibbles, nibbles));
        __m256i const sign =
            _mm256_and_si256(_mm256_slli_epi32(codes, 28), _mm256_set1_epi32(INT32_MIN));
        __m256 const size = _mm256_permutevar8x32_ps(sizes, codes);  // looks at three bits
        __m256 const value = _mm256_or_ps(size, _mm256_castsi256_ps(sign));
        _mm256_storeu_ps(out + 8 * half, _mm256_mul_ps(value, _mm256_set1_ps(step)));
    }
}

/// Values of a leading part of a row, a multiple of 16, whose length is returned; groups of a
/// multiple of 16, with a step each.
FPQ_AVX2 inline std::size_t e2m1_values_avx2(std::uint8_t const* packed, std::size_t n,
                                             std::size_t group, float const* steps,
                                             float* out) noexcept {
    std::size_t const whole = n / 16 * 16;
    for (std::size_t first = 0; first < whole; first += group, ++steps) {
        std::size_t const last = first + group < whole ? first + group : whole;
        for (std::size_t i = first; i < last; i += 16) {
            e2m1_decode_16(packed + i / 2, *steps, out + i);
        }
    }
    return whole;
}

}  // namespace fpq::kernels

FPQ_INTRINSICS_END

#endif
