// SPDX-License-Identifier: Apache-2.0
// Floor 2. Minmax scale bytes of 16 groups at once, AVX-512: the largest magnitudes by a tree that
// ends with one group a lane, then the arithmetic of scale_rule.hpp in 16 lanes.
#pragma once

#include "fpq/core/hosted/simd_level.hpp"

#if FPQ_X86_KERNELS

#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "fpq/core/half.hpp"
#include "fpq/quant/kernels/scale_lanes.hpp"

FPQ_INTRINSICS_BEGIN

namespace fpq::kernels {

struct alignas(64) dwords16 {
    std::int32_t at[16];
};

/// Lane l of a two-source permute: a[l + distance] where the bit is clear, b[l - distance] else.
template <int Distance>
inline constexpr dwords16 partner_lanes = [] {
    dwords16 t{};
    for (int l = 0; l < 16; ++l) {
        t.at[l] = (l ^ Distance) | ((l & Distance) != 0 ? 16 : 0);
    }
    return t;
}();

/// The lanes whose bit Distance is set.
template <int Distance>
inline constexpr __mmask16 upper_lanes = Distance == 8   ? 0xFF00
                                         : Distance == 4 ? 0xF0F0
                                         : Distance == 2 ? 0xCCCC
                                                         : 0xAAAA;

/// The larger magnitudes, of floats (or bf16, fp16) without their signs: ordered as integers.
template <class T>
FPQ_AVX512 [[gnu::always_inline]] inline __m512i max_sizes(__m512i a, __m512i b) noexcept {
    return sizeof(T) == 4 ? _mm512_max_epu32(a, b) : _mm512_max_epu16(a, b);
}

/// 64 bytes of values without their signs.
template <class T>
FPQ_AVX512 [[gnu::always_inline]] inline __m512i sizes_of(T const* x) noexcept {
    __m512i const mask = sizeof(T) == 4 ? _mm512_set1_epi32(0x7FFFFFFF) : _mm512_set1_epi16(0x7FFF);
    return _mm512_and_si512(_mm512_loadu_si512(x), mask);
}

/// One level of a tree: lane l of a (b) is joined with its lane l ^ Distance and ends in the lane
/// whose bit Distance is clear (set). Lanes are dwords: 16-bit values stay in pairs.
template <int Distance, class T>
FPQ_AVX512 [[gnu::always_inline]] inline __m512i join_max(__m512i a, __m512i b) noexcept {
    __m512i const kept = _mm512_mask_blend_epi32(upper_lanes<Distance>, a, b);
    __m512i const from = _mm512_load_si512(partner_lanes<Distance>.at);
    return max_sizes<T>(kept, _mm512_permutex2var_epi32(a, from, b));
}

/// A leaf of the tree: two groups, the even one in lanes 0 to 7.
template <std::size_t Group, class T>
FPQ_AVX512 [[gnu::always_inline]] inline __m512i pair_sizes(T const* x) noexcept {
    if constexpr (sizeof(T) * Group == 32) {  // both lie in one vector
        return sizes_of(x);
    } else if constexpr (sizeof(T) * Group == 64) {
        // The outer halves of the two, and from between them the inner ones, need no permute.
        __m512i const outer =
            _mm512_mask_blend_epi32(upper_lanes<8>, sizes_of(x), sizes_of(x + Group));
        return max_sizes<T>(outer, sizes_of(x + Group / 2));
    } else {
        return join_max<8, T>(max_sizes<T>(sizes_of(x), sizes_of(x + 16)),
                              max_sizes<T>(sizes_of(x + 32), sizes_of(x + 48)));
    }
}

template <std::size_t Group, class T>
FPQ_AVX512 [[gnu::always_inline]] inline __m512i quarter_sizes(T const* x) noexcept {
    return join_max<4, T>(pair_sizes<Group>(x), pair_sizes<Group>(x + 8 * Group));
}

/// Lane k: the largest magnitude of group k of x (16 * Group), as float32 bits.
template <std::size_t Group, class T>
FPQ_AVX512 [[gnu::always_inline]] inline __m512i largest_of_16(T const* x) noexcept {
    __m512i sizes = join_max<1, T>(
        join_max<2, T>(quarter_sizes<Group>(x), quarter_sizes<Group>(x + 4 * Group)),
        join_max<2, T>(quarter_sizes<Group>(x + 2 * Group), quarter_sizes<Group>(x + 6 * Group)));
    // Lane 8 h + v holds group 2 v + h.
    sizes = _mm512_permutexvar_epi32(
        _mm512_set_epi32(15, 7, 14, 6, 13, 5, 12, 4, 11, 3, 10, 2, 9, 1, 8, 0), sizes);
    if constexpr (sizeof(T) == 2) {
        sizes = _mm512_max_epu16(sizes, _mm512_slli_epi32(sizes, 16));
        if constexpr (std::is_same_v<T, bf16>) {
            sizes = _mm512_and_si512(sizes, _mm512_set1_epi32(0x7FFF0000));
        } else {
            sizes = _mm512_castps_si512(
                _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32(sizes, 16))));
        }
    }
    return sizes;
}

/// What 16 lanes of scales came to.
struct scale_lanes_512 {
    __m512i bytes;       // one a dword
    __mmask16 strange;   // not finite, or no row of the table: for the plain loops
    __mmask16 clipping;  // |w| / s may be e2m1_signed_end or more
};

/// nv_byte(amax / 6, global) of 16 maxima (float bits); an all-zero group has byte 0x38.
FPQ_AVX512 [[gnu::always_inline]] inline scale_lanes_512 e4m3_lanes(
    __m512i amax, scale_lanes const& rule) noexcept {
    __m512 const scale = _mm512_div_ps(_mm512_castsi512_ps(amax), _mm512_set1_ps(e2m1::max));
    __m512 const product = _mm512_mul_ps(scale, _mm512_set1_ps(rule.global_scale));
    __m512 const kept = _mm512_min_ps(product, _mm512_set1_ps(e4m3::max));
    __m512i const bits = _mm512_castps_si512(kept);
    constexpr int drop = 23 - e4m3::mantissa_bits;
    __m512i const rebased =
        _mm512_sub_epi32(bits, _mm512_set1_epi32((127 + e4m3::min_exponent - 1) << 23));
    __m512i const odd = _mm512_and_si512(_mm512_srli_epi32(rebased, drop), _mm512_set1_epi32(1));
    __m512i const normal = _mm512_srli_epi32(
        _mm512_add_epi32(_mm512_add_epi32(rebased, _mm512_set1_epi32((1 << (drop - 1)) - 1)), odd),
        drop);
    constexpr float magic = exp2_int(23 + e4m3::min_exponent - e4m3::mantissa_bits);
    __m512i const subnormal = _mm512_and_si512(
        _mm512_castps_si512(_mm512_add_ps(kept, _mm512_set1_ps(magic))), _mm512_set1_epi32(0xFF));
    __mmask16 const is_small =
        _mm512_cmplt_epu32_mask(bits, _mm512_set1_epi32(bits_of<std::int32_t>(e4m3::min_normal)));
    __m512i bytes = _mm512_mask_mov_epi32(normal, is_small, subnormal);
    bytes = _mm512_max_epu32(bytes, _mm512_set1_epi32(1));
    bytes = _mm512_mask_mov_epi32(bytes, _mm512_testn_epi32_mask(amax, amax),
                                  _mm512_set1_epi32(nvfp_zero_group));
    __mmask16 const infinite = _mm512_cmpge_epu32_mask(amax, _mm512_set1_epi32(0x7F800000));
    // The rounded scale is at most 1/16 below the product from byte 8 on, a fifth from byte 2 on (6
    // / 0.8 = 7.5), unless it saturates.
    __mmask16 const clipping = static_cast<__mmask16>(
        _mm512_cmp_ps_mask(product, _mm512_set1_ps(1.25F * e4m3::max), _CMP_NLE_UQ) |
        _mm512_cmpeq_epi32_mask(bytes, _mm512_set1_epi32(1)));
    __mmask16 const strange = static_cast<__mmask16>(
        infinite | _mm512_cmpge_epu32_mask(_mm512_sub_epi32(bytes, _mm512_set1_epi32(rule.low)),
                                           _mm512_set1_epi32(rule.high - rule.low + 1)));
    return {bytes, strange, clipping};
}

/// mx_scale_byte of 16 maxima (float bits).
FPQ_AVX512 [[gnu::always_inline]] inline scale_lanes_512 e8m0_lanes(
    __m512i amax, scale_lanes const& rule) noexcept {
    __m512i const zero_as = _mm512_set1_epi32(bits_of<std::int32_t>(rule.zero_as));
    __m512i const used = _mm512_mask_mov_epi32(amax, _mm512_testn_epi32_mask(amax, amax), zero_as);
    __m512i const stored =
        _mm512_castps_si512(_mm512_mul_ps(_mm512_castsi512_ps(used), _mm512_set1_ps(rule.factor)));
    // The carry of the exponent, by the mantissa alone.
    __m512i const carried = _mm512_add_epi32(stored, _mm512_set1_epi32(rule.carry));
    __m512i const bytes =
        _mm512_add_epi32(_mm512_srli_epi32(carried, 23), _mm512_set1_epi32(rule.exponent_offset));
    __mmask16 const strange = static_cast<__mmask16>(
        _mm512_cmpge_epu32_mask(amax, _mm512_set1_epi32(0x7F800000)) |
        _mm512_cmpge_epu32_mask(_mm512_sub_epi32(stored, _mm512_set1_epi32(0x00800000)),
                                _mm512_set1_epi32(0x7F800000 - 0x00800000)) |
        _mm512_cmpge_epu32_mask(_mm512_sub_epi32(bytes, _mm512_set1_epi32(rule.low)),
                                _mm512_set1_epi32(rule.high - rule.low + 1)));
    return {bytes, strange, static_cast<__mmask16>(rule.clips ? 0xFFFF : 0)};
}

}  // namespace fpq::kernels

FPQ_INTRINSICS_END

#endif
