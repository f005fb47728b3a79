// SPDX-License-Identifier: Apache-2.0
// Floor 2. Exact errors (group_error.hpp) of E2M1 groups under steps that a bound has left, AVX2:
// the same sums in the same order. Without FMA, so that nothing can be fused.
#pragma once

#include "fpq/core/hosted/simd_level.hpp"

#if FPQ_X86_KERNELS

#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "fpq/format/minifloat.hpp"
#include "fpq/quant/kernels/lane_errors.hpp"

FPQ_INTRINSICS_BEGIN

namespace fpq::kernels {

/// A group of a batch and one of its candidates.
struct group_pair {
    float const* x;  // magnitudes
    float step;
    unsigned group;
    int candidate;
};

/// sum += the losses of eight magnitudes under a step; Power: |d|^2.4, else d^2.
template <bool Power>
FPQ_AVX2 [[gnu::always_inline]] inline void add_pair_losses(float const* x,
                                                            lanes_of<8>::f32 const& step,
                                                            lanes_of<8>::f32& sum) noexcept {
    using f32 = lanes_of<8>::f32;
    using u32 = lanes_of<8>::u32;
    f32 v;
    std::memcpy(&v, x, sizeof v);
    f32 const q = v / step;
    f32 const high = f32{} + e2m1::max;
    f32 const normal = f32{} + e2m1::min_normal;
    f32 const clamped = q < high ? q : high;
    f32 const octave = clamped > normal ? clamped : normal;
    // snap of rounding.hpp.
    constexpr std::uint32_t spacing = static_cast<std::uint32_t>(23 - e2m1::mantissa_bits) << 23;
    u32 const spaced = (__builtin_bit_cast(u32, octave) & 0x7F800000u) + (spacing | 0x00400000u);
    f32 const magic = __builtin_bit_cast(f32, spaced);
    f32 loss = v - ((clamped + magic) - magic) * step;
    if constexpr (Power) {
        power_2_4_lanes<8>(loss);
    } else {
        loss = loss * loss;
    }
    sum = sum + loss;
}

/// The 16 lanes of sum_lanes.
struct pair_sum {
    lanes_of<8>::f32 half[2] = {};
};
template <std::size_t Group, bool Power>
FPQ_AVX2 [[gnu::always_inline]] inline void add_pair(group_pair const& pair,
                                                     pair_sum& sum) noexcept {
    lanes_of<8>::f32 const step = lanes_of<8>::f32{} + pair.step;
    for (std::size_t i = 0; i < Group; i += 16) {
        add_pair_losses<Power>(pair.x + i, step, sum.half[0]);
        add_pair_losses<Power>(pair.x + i + 8, step, sum.half[1]);
    }
}
/// Its tree.
FPQ_AVX2 [[gnu::always_inline]] inline float total_of(pair_sum const& sum) noexcept {
    lanes_of<8>::f32 const both = sum.half[0] + sum.half[1];
    auto const eight = __builtin_bit_cast(__m256, both);
    __m128 const four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    __m128 const two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

/// errors[i] of pairs[i], i < count; both have room for one more.
template <std::size_t Group, bool Power>
FPQ_AVX2 inline void pair_errors(group_pair* pairs, std::size_t count, float* errors) noexcept {
    if (count == 0) {
        return;
    }
    pairs[count] = pairs[count - 1];
    for (std::size_t i = 0; i < count; i += 2) {  // two hide each other's latency
        pair_sum sum[2];
        add_pair<Group, Power>(pairs[i], sum[0]);
        add_pair<Group, Power>(pairs[i + 1], sum[1]);
        errors[i] = total_of(sum[0]);
        errors[i + 1] = total_of(sum[1]);
    }
}

/// Magnitudes of a group times `unit` to w, and the cells of a table that they lie in.
template <std::size_t Group>
FPQ_AVX2 [[gnu::always_inline]] inline void cells_of_group(float const* x, float unit,
                                                           float to_cell, float* w,
                                                           std::int32_t* cells) noexcept {
    __m256 const sizes = _mm256_castsi256_ps(_mm256_set1_epi32(0x7FFFFFFF));
    for (std::size_t i = 0; i < Group; i += 8) {
        __m256 const v =
            _mm256_mul_ps(_mm256_and_ps(_mm256_loadu_ps(x + i), sizes), _mm256_set1_ps(unit));
        _mm256_storeu_ps(w + i, v);
        __m256i const cell = _mm256_cvttps_epi32(_mm256_mul_ps(v, _mm256_set1_ps(to_cell)));
        // NaN, in groups that are left to others, has no cell.
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(cells + i),
                            _mm256_max_epi32(cell, _mm256_setzero_si256()));
    }
}

/// The maxima of eight groups whose errors are bounded, from largest_of_8.
struct bounded_maxima {
    __m256i bits;   // 1 for groups that are left to others
    __m256 unit;    // 2^-floor(log2 maximum)
    unsigned left;  // these groups: maxima that are no number, below 2^-100 or above 2^100
};
FPQ_AVX2 [[gnu::always_inline]] inline bounded_maxima bounded(__m256i largest) noexcept {
    __m256i const strange =
        _mm256_or_si256(_mm256_cmpgt_epi32(_mm256_set1_epi32((127 - 100) << 23), largest),
                        _mm256_cmpgt_epi32(largest, _mm256_set1_epi32((127 + 100) << 23)));
    __m256i const bits = _mm256_blendv_epi8(largest, _mm256_set1_epi32(127 << 23), strange);
    __m256i const octave = _mm256_and_si256(bits, _mm256_set1_epi32(0x7F800000));
    return {bits, _mm256_castsi256_ps(_mm256_sub_epi32(_mm256_set1_epi32(254 << 23), octave)),
            static_cast<unsigned>(_mm256_movemask_ps(_mm256_castsi256_ps(strange)))};
}

}  // namespace fpq::kernels

FPQ_INTRINSICS_END

#endif
