// SPDX-License-Identifier: Apache-2.0
// Floor 2. The sweep of eight NVFP4 groups, AVX2: a table of lower bounds (sweep_bounds.hpp) says
// which bytes can win, and only those get exact errors.
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
#include "fpq/quant/kernels/sweep_bounds.hpp"

FPQ_INTRINSICS_BEGIN

namespace fpq::kernels {

/// 16 zeros, then 16 words that no sum is above: a window of them rules out the last candidates.
struct alignas(64) words32 {
    std::uint16_t at[32];
};
inline constexpr words32 ruled_out = [] {
    words32 t{};
    for (unsigned i = 16; i < 32; ++i) {
        t.at[i] = 0xFFFF;
    }
    return t;
}();

/// Candidates, as bits, whose sum is at most `limit`.
FPQ_AVX2 [[gnu::always_inline]] inline unsigned sweep_below(__m256i sums, int limit) noexcept {
    __m256i const most = _mm256_set1_epi16(static_cast<short>(limit));
    __m256i const found = _mm256_cmpeq_epi16(_mm256_min_epu16(sums, most), sums);
    return static_cast<unsigned>(_mm_movemask_epi8(
        _mm_packs_epi16(_mm256_castsi256_si128(found), _mm256_extracti128_si256(found, 1))));
}

/// When a candidate is tried: the minmax byte, those below it, those above it.
constexpr int sweep_turn(int candidate) noexcept {
    int const j = candidate - nvfp_sweep_bounds::down;
    return j <= 0 ? -j : nvfp_sweep_bounds::down + j;
}

/// The bytes of eight NVFP4 groups x (128). value: of every byte, over the global scale. Returns
/// the groups, as bits, that are left to others: zeros, the ends of float's range, bytes at the
/// ends of theirs, and where bytes beyond the table may win.
FPQ_AVX2 inline unsigned sweep_8_groups(nvfp_sweep_bounds const& bounds, float const* value,
                                        float global, float const* x,
                                        std::uint32_t* bytes) noexcept {
    using table = nvfp_sweep_bounds;
    bounded_maxima const most = bounded(largest_of_8<16>(x));
    unsigned left = most.left;
    alignas(32) float unit[8];
    alignas(32) std::int32_t start[8];
    __m256 const base = _mm256_div_ps(_mm256_castsi256_ps(most.bits), _mm256_set1_ps(e2m1::max));
    __m256i const byte = nv_bytes_of_8(base, global);
    // Two octaves of smaller bytes, and not saturated.
    __m256i const edge = _mm256_or_si256(
        _mm256_cmpgt_epi32(_mm256_set1_epi32(2 * table::octave), byte),
        _mm256_castps_si256(_mm256_cmp_ps(_mm256_mul_ps(base, _mm256_set1_ps(global)),
                                          _mm256_set1_ps(1.03F * e4m3::max), _CMP_NLE_UQ)));
    left |= static_cast<unsigned>(_mm256_movemask_ps(_mm256_castsi256_ps(edge)));
    _mm256_store_si256(reinterpret_cast<__m256i*>(start), byte);
    _mm256_store_ps(unit, most.unit);
    float values[8 * 16];
    __m256i sums[8];
    float to_units[8];
    float beyond[8];
    int best_at[8];
    group_pair pairs[8 * table::candidates + 1];
    float errors[8 * table::candidates + 1];
    for (unsigned l = 0; l < 8; ++l) {
        bool const skip = (left >> l & 1u) != 0;
        start[l] = skip ? 8 * table::octave : start[l];
        int const b = start[l];
        float const octaves = 1.0F + static_cast<float>(b % table::octave) / table::octave;
        float const scaled = skip ? 1.0F : value[b] * unit[l];
        float const per = octaves / scaled;  // octave units
        to_units[l] = per * per * (table::unit * table::slack);
        beyond[l] = octaves * octaves * (table::unit * table::beyond);
        float* const w = values + l * 16;
        std::int32_t cell[16];
        cells_of_group<16>(x + l * 16, skip ? 0.0F : unit[l], per * (table::cells / table::span), w,
                           cell);
        std::uint16_t const* const window = bounds.rows[0].data() + table::first(b);
        int const beyond_end = b + table::candidates - 1 - table::down - e4m3::max_code;
        __m256i sum = _mm256_loadu_si256(
            reinterpret_cast<__m256i const*>(ruled_out.at + (beyond_end > 0 ? beyond_end : 0)));
        for (int const i : cell) {
            sum = _mm256_adds_epu16(sum,
                                    _mm256_loadu_si256(reinterpret_cast<__m256i const*>(
                                        window + std::size_t{32} * static_cast<std::size_t>(i))));
        }
        sums[l] = sum;
        __m128i const eight =
            _mm_min_epu16(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
        int const least = _mm_extract_epi16(_mm_minpos_epu16(eight), 0);
        int const at = std::countr_zero(sweep_below(sum, least));
        best_at[l] = at;
        pairs[l] = {w, value[b - table::down + at] * unit[l], l, at};
    }
    pair_errors<16, false>(pairs, 8, errors);
    float best[8];
    std::size_t count = 0;
    for (unsigned l = 0; l < 8; ++l) {
        best[l] = errors[l];
        float const limit = best[l] * to_units[l];
        if (!(limit < beyond[l] && limit < 65000.0F)) {
            left |= 1u << l;
            continue;
        }
        for (unsigned c = sweep_below(sums[l], static_cast<int>(limit) + 1) & ~(1u << best_at[l]);
             c != 0; c &= c - 1) {
            int const at = std::countr_zero(c);
            pairs[count++] = {values + l * 16, value[start[l] - table::down + at] * unit[l], l, at};
        }
    }
    pair_errors<16, false>(pairs, count, errors);
    for (std::size_t i = 0; i < count; ++i) {
        unsigned const l = pairs[i].group;
        int const at = pairs[i].candidate;
        bool const better = errors[i] < best[l] ||
                            (errors[i] == best[l] && sweep_turn(at) < sweep_turn(best_at[l]));
        best[l] = better ? errors[i] : best[l];
        best_at[l] = better ? at : best_at[l];
    }
    for (unsigned l = 0; l < 8; ++l) {
        bytes[l] = static_cast<std::uint32_t>(start[l] - table::down + best_at[l]);
    }
    return left;
}

}  // namespace fpq::kernels

FPQ_INTRINSICS_END

#endif
