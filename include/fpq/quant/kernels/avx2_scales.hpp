// SPDX-License-Identifier: Apache-2.0
// Floor 2. Maxima and scale bytes of eight groups at once, AVX2: the arithmetic of scale_bytes.hpp
// and of scale_lanes.hpp in eight lanes.
#pragma once

#include "fpq/core/hosted/simd_level.hpp"

#if FPQ_X86_KERNELS

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "fpq/core/bits.hpp"
#include "fpq/format/minifloat.hpp"
#include "fpq/format/scale_bytes.hpp"
#include "fpq/quant/kernels/scale_lanes.hpp"

FPQ_INTRINSICS_BEGIN

namespace fpq::kernels {

/// Lane k: the largest magnitude of group k of x (8 Group), as bits: NaN is the largest.
template <std::size_t Group>
FPQ_AVX2 [[gnu::always_inline]] inline __m256i largest_of_8(float const* x) noexcept {
    __m256i const kept = _mm256_set1_epi32(0x7FFFFFFF);
    __m256i most[8];
    for (std::size_t k = 0; k < 8; ++k) {
        most[k] = _mm256_setzero_si256();
        for (std::size_t i = 0; i < Group; i += 8) {
            auto const* const from = reinterpret_cast<__m256i const*>(x + k * Group + i);
            most[k] = _mm256_max_epu32(most[k], _mm256_and_si256(_mm256_loadu_si256(from), kept));
        }
    }
    __m256i pairs[4];
    for (std::size_t k = 0; k < 4; ++k) {
        pairs[k] = _mm256_max_epu32(_mm256_unpacklo_epi32(most[2 * k], most[2 * k + 1]),
                                    _mm256_unpackhi_epi32(most[2 * k], most[2 * k + 1]));
    }
    __m256i fours[2];
    for (std::size_t k = 0; k < 2; ++k) {
        fours[k] = _mm256_max_epu32(_mm256_unpacklo_epi64(pairs[2 * k], pairs[2 * k + 1]),
                                    _mm256_unpackhi_epi64(pairs[2 * k], pairs[2 * k + 1]));
    }
    return _mm256_max_epu32(_mm256_permute2x128_si256(fours[0], fours[1], 0x20),
                            _mm256_permute2x128_si256(fours[0], fours[1], 0x31));
}

/// Unrounded minmax scales and maxima of eight groups x (8 Group). Returns the groups, as bits,
/// that are left to others: zeros, infinities and NaN.
template <std::size_t Group>
FPQ_AVX2 inline unsigned minmax_8_groups(float const* x, float* scale, float* amax) noexcept {
    __m256i const largest = largest_of_8<Group>(x);
    __m256i const strange =
        _mm256_or_si256(_mm256_cmpeq_epi32(largest, _mm256_setzero_si256()),
                        _mm256_cmpgt_epi32(largest, _mm256_set1_epi32(0x7F7FFFFF)));
    __m256 const most = _mm256_castsi256_ps(largest);
    _mm256_storeu_ps(amax, most);
    _mm256_storeu_ps(scale, _mm256_div_ps(most, _mm256_set1_ps(e2m1::max)));
    return static_cast<unsigned>(_mm256_movemask_ps(_mm256_castsi256_ps(strange)));
}

/// nv_byte(scale, global) of eight scales.
FPQ_AVX2 [[gnu::always_inline]] inline __m256i nv_bytes_of_8(__m256 scale, float global) noexcept {
    __m256 const product = _mm256_mul_ps(scale, _mm256_set1_ps(global));
    __m256 const kept = _mm256_min_ps(product, _mm256_set1_ps(e4m3::max));  // NaN too
    __m256i const bits = _mm256_castps_si256(kept);
    constexpr int drop = 23 - e4m3::mantissa_bits;
    __m256i const rebased =
        _mm256_sub_epi32(bits, _mm256_set1_epi32((127 + e4m3::min_exponent - 1) << 23));
    __m256i const odd = _mm256_and_si256(_mm256_srli_epi32(rebased, drop), _mm256_set1_epi32(1));
    __m256i const half = _mm256_set1_epi32((1 << (drop - 1)) - 1);
    __m256i const normal =
        _mm256_srli_epi32(_mm256_add_epi32(_mm256_add_epi32(rebased, half), odd), drop);
    constexpr float magic = exp2_int(23 + e4m3::min_exponent - e4m3::mantissa_bits);
    __m256i const subnormal = _mm256_and_si256(
        _mm256_castps_si256(_mm256_add_ps(kept, _mm256_set1_ps(magic))), _mm256_set1_epi32(0xFF));
    __m256i const small =
        _mm256_cmpgt_epi32(_mm256_set1_epi32(bits_of<std::int32_t>(e4m3::min_normal)), bits);
    return _mm256_max_epi32(_mm256_blendv_epi8(normal, subnormal, small), _mm256_set1_epi32(1));
}

/// mx_scale_byte of eight positive maxima by the constants of a rule; strange: left to it.
FPQ_AVX2 [[gnu::always_inline]] inline __m256i mx_bytes_of_8(__m256 amax, scale_lanes const& rule,
                                                             __m256i& strange) noexcept {
    __m256i const stored = _mm256_castps_si256(_mm256_mul_ps(amax, _mm256_set1_ps(rule.factor)));
    __m256i const carried = _mm256_add_epi32(stored, _mm256_set1_epi32(rule.carry));
    __m256i const bytes =
        _mm256_add_epi32(_mm256_srli_epi32(carried, 23), _mm256_set1_epi32(rule.exponent_offset));
    // No subnormals, no infinities; and the bytes that the constants are for.
    __m256i const out =
        _mm256_or_si256(_mm256_or_si256(_mm256_cmpgt_epi32(_mm256_set1_epi32(0x00800000), stored),
                                        _mm256_cmpgt_epi32(stored, _mm256_set1_epi32(0x7F7FFFFF))),
                        _mm256_or_si256(_mm256_cmpgt_epi32(_mm256_set1_epi32(rule.low), bytes),
                                        _mm256_cmpgt_epi32(bytes, _mm256_set1_epi32(rule.high))));
    strange = _mm256_or_si256(strange, out);
    return bytes;
}

}  // namespace fpq::kernels

FPQ_INTRINSICS_END

#endif
