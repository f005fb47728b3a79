// SPDX-License-Identifier: Apache-2.0
// Floor 2. The mse search of eight E2M1 groups, AVX2: a table of lower bounds (mse_bounds.hpp) says
// which candidates can win, and only those get exact errors.
#pragma once

#include "fpq/core/hosted/simd_level.hpp"

#if FPQ_X86_KERNELS

#include <immintrin.h>

#include <bit>
#include <cstddef>
#include <cstdint>

#include "fpq/format/minifloat.hpp"
#include "fpq/quant/kernels/avx2_scales.hpp"
#include "fpq/quant/kernels/group_pairs.hpp"
#include "fpq/quant/kernels/lane_errors.hpp"
#include "fpq/quant/kernels/mse_bounds.hpp"

FPQ_INTRINSICS_BEGIN

namespace fpq::kernels {

/// Sums of lower bounds of one group, 16 candidates a vector.
struct mse_sums {
    __m256i part[2];
};
FPQ_AVX2 [[gnu::always_inline]] inline unsigned mask_of(__m256i a, __m256i b) noexcept {
    return static_cast<unsigned>(_mm256_movemask_epi8(_mm256_packs_epi16(a, b)));
}
/// Candidates, as bits, whose sum is at most `limit`.
FPQ_AVX2 [[gnu::always_inline]] inline unsigned candidates_below(mse_sums const& s,
                                                                 int limit) noexcept {
    __m256i const most = _mm256_set1_epi16(static_cast<short>(limit));
    return mask_of(_mm256_cmpeq_epi16(_mm256_min_epu16(s.part[0], most), s.part[0]),
                   _mm256_cmpeq_epi16(_mm256_min_epu16(s.part[1], most), s.part[1]));
}
FPQ_AVX2 [[gnu::always_inline]] inline int least_of(mse_sums const& s) noexcept {
    __m256i const both = _mm256_min_epu16(s.part[0], s.part[1]);
    __m128i const eight =
        _mm_min_epu16(_mm256_castsi256_si128(both), _mm256_extracti128_si256(both, 1));
    return _mm_extract_epi16(_mm_minpos_epu16(eight), 0);
}

/// The winners of eight groups x (8 Group): unrounded scales, and the maxima that these stand for.
/// Returns the groups, as bits, that are left to scale_search: zeros, the ends of float's range,
/// and where candidates beyond the table may win.
template <std::size_t Group>
FPQ_AVX2 inline unsigned mse_8_groups(mse_bounds const& bounds, float const* x, float* scale,
                                      float* amax) noexcept {
    bounded_maxima const most = bounded(largest_of_8<Group>(x));
    unsigned left = most.left;
    alignas(32) float unit[8];
    alignas(32) float to_cell[8];
    alignas(32) float to_units[8];
    __m256 const base = _mm256_div_ps(_mm256_castsi256_ps(most.bits), _mm256_set1_ps(e2m1::max));
    __m256 const scaled = _mm256_mul_ps(base, most.unit);
    lanes_of<8>::f32 loss = scaled;
    power_2_4_lanes<8>(loss);
    _mm256_storeu_ps(amax, _mm256_castsi256_ps(most.bits));
    _mm256_storeu_ps(scale, base);
    _mm256_store_ps(unit, most.unit);
    _mm256_store_ps(to_cell, _mm256_div_ps(_mm256_set1_ps(mse_bounds::cells / e2m1::max), scaled));
    _mm256_store_ps(to_units,
                    _mm256_div_ps(_mm256_set1_ps(mse_bounds::unit * mse_bounds::slack), loss));
    alignas(32) float values[8 * Group];
    mse_sums sums[8];
    int best_index[8];
    group_pair pairs[8 * mse_bounds::candidates + 1];
    float errors[8 * mse_bounds::candidates + 1];
    for (unsigned l = 0; l < 8; ++l) {
        float* const w = values + l * Group;
        alignas(32) std::int32_t cell[Group];
        bool const skip = (left >> l & 1u) != 0;
        cells_of_group<Group>(x + l * Group, skip ? 0.0F : unit[l], to_cell[l], w, cell);
        mse_sums s{{_mm256_setzero_si256(), _mm256_setzero_si256()}};
        for (std::size_t i = 0; i < Group; ++i) {
            auto const* const row = reinterpret_cast<__m256i const*>(
                bounds.rows[static_cast<std::size_t>(cell[i])].data());
            s.part[0] = _mm256_adds_epu16(s.part[0], _mm256_load_si256(row));
            s.part[1] = _mm256_adds_epu16(s.part[1], _mm256_load_si256(row + 1));
        }
        sums[l] = s;
        int const index = std::countr_zero(candidates_below(s, least_of(s)));
        pairs[l] = {w, 0.0F, l, index};
        pairs[l].step = scale[l] * bounds.factor[static_cast<std::size_t>(index)] * unit[l];
    }
    pair_errors<Group, true>(pairs, 8, errors);
    float best[8];
    for (unsigned l = 0; l < 8; ++l) {
        best[l] = errors[l];
        best_index[l] = pairs[l].candidate;
    }
    std::size_t count = 0;
    for (unsigned l = 0; l < 8; ++l) {
        float const limit = best[l] * to_units[l];
        if (!(limit < bounds.beyond)) {
            left |= 1u << l;
            continue;
        }
        for (unsigned c =
                 candidates_below(sums[l], static_cast<int>(limit) + 1) & ~(1u << best_index[l]);
             c != 0; c &= c - 1) {
            int const index = std::countr_zero(c);
            pairs[count++] = {values + l * Group,
                              scale[l] * bounds.factor[static_cast<std::size_t>(index)] * unit[l],
                              l, index};
        }
    }
    pair_errors<Group, true>(pairs, count, errors);
    for (std::size_t i = 0; i < count; ++i) {
        unsigned const l = pairs[i].group;
        int const index = pairs[i].candidate;
        bool const better = errors[i] < best[l] || (errors[i] == best[l] && index < best_index[l]);
        best[l] = better ? errors[i] : best[l];
        best_index[l] = better ? index : best_index[l];
    }
    for (unsigned l = 0; l < 8; ++l) {
        float const f = bounds.factor[static_cast<std::size_t>(best_index[l])];
        scale[l] *= f;
        amax[l] *= f;
    }
    return left;
}

}  // namespace fpq::kernels

FPQ_INTRINSICS_END

#endif
