// SPDX-License-Identifier: Apache-2.0
// Floor 2. The sweep of NVFP4 and MXFP4 groups, AVX-512: the squared errors of many candidates,
// each a vector, are summed by one tree in the order of sum_lanes, so that lane k is candidate k.
#pragma once

#include "fpq/core/hosted/simd_level.hpp"

#if FPQ_X86_KERNELS

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "fpq/format/minifloat.hpp"
#include "fpq/quant/kernels/avx512_minmax.hpp"
#include "fpq/quant/kernels/scale_lanes.hpp"
#include "fpq/quant/kernels/sweep_table.hpp"

FPQ_INTRINSICS_BEGIN

namespace fpq::kernels {

/// Bounds and errors are rounded differently: a bound excludes only what is clearly beyond.
inline constexpr float sweep_slack = 1.0F + 1e-5F;

/// Lane l of a (b) plus its lane l ^ Distance, in the lanes whose bit Distance is clear (set).
template <int Distance>
FPQ_AVX512 [[gnu::always_inline]] inline __m512 join_add(__m512 a, __m512 b) noexcept {
    __m512i const from = _mm512_load_si512(partner_lanes<Distance>.at);
    return _mm512_add_ps(_mm512_mask_blend_ps(upper_lanes<Distance>, a, b),
                         _mm512_permutex2var_ps(a, from, b));
}

/// What the candidates of one group look at.
struct sweep_group {
    sweep_table const* table;
    float const* values;   // 16 a vector, largest magnitude in [1, 2), zero-padded
    float const* weights;  // beside them; null: all 1
};

/// Squared errors of 16 values under one row.
template <bool Weighted>
FPQ_AVX512 [[gnu::always_inline]] inline __m512 sweep_errors(sweep_group const& g, int row,
                                                             std::size_t at) noexcept {
    auto const r = static_cast<std::size_t>(row);
    sweep_row const& t = g.table->rows[r];
    __m512 const size = _mm512_abs_ps(_mm512_loadu_ps(g.values + at));
    __m512 const cell =
        _mm512_fmadd_round_ps(size, _mm512_set1_ps(g.table->cell_unit[r]), _mm512_set1_ps(2.0F),
                              _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
    __m512i const index =
        _mm512_min_epu32(_mm512_castps_si512(cell), _mm512_set1_epi32(0x4000000F));
    __m512i const threshold =
        _mm512_permutexvar_epi32(index, _mm512_load_si512(t.threshold.data()));
    __mmask16 const up = _mm512_cmpge_epi32_mask(_mm512_castps_si512(size), threshold);
    __m512 const below = _mm512_permutexvar_ps(index, _mm512_load_ps(t.below.data()));
    __m512 const value =
        _mm512_mask_permutexvar_ps(below, up, index, _mm512_load_ps(t.above.data()));
    __m512 const d = _mm512_sub_ps(size, value);
    __m512 loss = _mm512_mul_ps(d, d);
    if constexpr (Weighted) {
        loss = _mm512_mul_ps(loss, _mm512_loadu_ps(g.weights + at));
    }
    return loss;
}

/// A product that no later addition may be fused with.
FPQ_AVX512 [[gnu::always_inline]] inline __m512 rounded(__m512 x) noexcept {
    __asm__("" : "+v"(x));
    return x;
}

/// The lower bounds of group_error.hpp, term by term.
template <bool Weighted>
FPQ_AVX512 [[gnu::always_inline]] inline __m512 clipped_beyond(sweep_group const& g,
                                                               int row) noexcept {
    __m512 const top = _mm512_set1_ps(g.table->step[static_cast<std::size_t>(row)] * e2m1::max);
    __m512 const over = _mm512_sub_ps(_mm512_abs_ps(_mm512_loadu_ps(g.values)), top);
    __m512 const cut = _mm512_max_ps(over, _mm512_setzero_ps());
    __m512 const loss = _mm512_mul_ps(cut, cut);
    return Weighted ? _mm512_mul_ps(loss, _mm512_loadu_ps(g.weights)) : loss;
}
template <bool Weighted>
FPQ_AVX512 [[gnu::always_inline]] inline __m512 vanished_below(sweep_group const& g,
                                                               int row) noexcept {
    __m512 const least =
        _mm512_set1_ps(g.table->step[static_cast<std::size_t>(row)] * e2m1::min_subnormal);
    __m512 const size = _mm512_abs_ps(_mm512_loadu_ps(g.values));
    __m512 const near = _mm512_max_ps(_mm512_sub_ps(least, size), _mm512_setzero_ps());
    __m512 const d = _mm512_min_ps(size, near);
    __m512 const loss = _mm512_mul_ps(d, d);
    return Weighted ? _mm512_mul_ps(loss, _mm512_loadu_ps(g.weights)) : loss;
}

/// Candidates of one round of the NVFP4 sweep; two more lanes hold the bounds beyond both ends.
inline constexpr int sweep_round = 14;
/// Candidates at or below the minmax byte in the first round: most winners of Gaussian groups lie
/// from 3 below it to 10 above.
inline constexpr int sweep_down = 4;

/// Which byte lane K of a round tries, counted from the round's byte. First: in the walk's order,
/// start and down, then up; the last two lanes are the bytes beyond both ends.
template <bool First>
constexpr int sweep_byte(int k) noexcept {
    if (First) {
        return k < sweep_down
                   ? -k
                   : (k == sweep_round ? -sweep_down : k - sweep_down + 1 - (k > sweep_round));
    }
    return k == sweep_round ? -1 : k - (k > sweep_round);
}
static_assert(sweep_byte<true>(3) == -3 && sweep_byte<true>(4) == 1 && sweep_byte<true>(13) == 10);
static_assert(sweep_byte<true>(14) == -4 && sweep_byte<true>(15) == 11);
static_assert(sweep_byte<false>(13) == 13 && sweep_byte<false>(15) == 14);

/// One round: the position of its byte and what makes a row of it.
struct sweep_rows {
    std::int32_t const* position;
    int offset;
};

/// Leaf K of the tree: candidate K, or a bound.
template <bool Weighted, bool First, int K>
FPQ_AVX512 [[gnu::always_inline]] inline __m512 sweep_leaf(sweep_group const& g,
                                                           sweep_rows r) noexcept {
    int const row = r.position[sweep_byte<First>(K)] + r.offset;
    if constexpr (K < sweep_round) {
        return sweep_errors<Weighted>(g, row, 0);
    } else if constexpr (K == sweep_round) {
        return clipped_beyond<Weighted>(g, row);
    } else {
        return vanished_below<Weighted>(g, row);
    }
}
template <bool Weighted, bool First, int K>
FPQ_AVX512 [[gnu::always_inline]] inline __m512 sweep_quarter(sweep_group const& g,
                                                              sweep_rows r) noexcept {
    return join_add<4>(
        join_add<8>(sweep_leaf<Weighted, First, K>(g, r), sweep_leaf<Weighted, First, K + 8>(g, r)),
        join_add<8>(sweep_leaf<Weighted, First, K + 4>(g, r),
                    sweep_leaf<Weighted, First, K + 12>(g, r)));
}

/// How far the sweep of one NVFP4 group has come.
struct sweep_state {
    int best = 0;  // byte
    float error = 0.0F;
    int next = 0;          // the first byte above those that were tried
    bool walk = false;     // only the walk of scale_search can tell
    bool further = false;  // bytes from `next` on may win
};

/// One round. First: around the minmax byte; else the bytes from `byte` on. g was multiplied by
/// 2^-e.
template <bool Weighted, bool First>
FPQ_AVX512 [[gnu::always_inline]] inline void sweep_round_e4m3(sweep_group const& g, int byte,
                                                               int e, sweep_state& state) noexcept {
    sweep_table const& table = *g.table;
    sweep_rows const r{table.position(byte), table.offset(e)};
    if (r.position[sweep_byte<First>(sweep_round)] + r.offset < 0 ||
        r.position[sweep_byte<First>(sweep_round + 1)] + r.offset >= table.row_count()) {
        state.walk = true;
        return;
    }
    __m512 const sums = join_add<1>(join_add<2>(sweep_quarter<Weighted, First, 0>(g, r),
                                                sweep_quarter<Weighted, First, 2>(g, r)),
                                    join_add<2>(sweep_quarter<Weighted, First, 1>(g, r),
                                                sweep_quarter<Weighted, First, 3>(g, r)));
    constexpr __mmask16 candidates = (1u << sweep_round) - 1u;
    float const least = _mm512_mask_reduce_min_ps(candidates, sums);
    unsigned const equal =
        _mm512_mask_cmp_ps_mask(candidates, sums, _mm512_set1_ps(least), _CMP_EQ_OQ);
    bool const strange = _mm512_mask_cmp_ps_mask(candidates, sums, sums, _CMP_UNORD_Q) != 0;
    // The first of equals, in the order of the lanes.
    int const at = __builtin_ctz(equal | 0x10000u);
    if (First || least < state.error) {
        state.best = byte + (First && at < sweep_down ? -at : at - (First ? sweep_down - 1 : 0));
        state.error = least;
    }
    unsigned const open =
        _mm512_cmp_ps_mask(sums, _mm512_set1_ps(state.error * sweep_slack), _CMP_LT_OQ);
    int const next = byte + sweep_byte<First>(sweep_round + 1);
    unsigned const down = First && byte > sweep_down ? open >> sweep_round & 1u : 0u;
    state.walk = strange | (down != 0);
    // From 11 above a normal minmax byte on, no magnitude exceeds 3 s: half such a scale has all
    // its values and more, and is tried before it. Only subnormal bytes have no half.
    bool const halves = First && byte >= 1 << e4m3::mantissa_bits;
    state.further = !halves & (next <= e4m3::max_code) & ((open >> (sweep_round + 1)) != 0);
    state.next = next;
}

/// Rounds above the first until nothing further can win.
template <bool Weighted>
FPQ_AVX512 inline void sweep_on_e4m3(sweep_group const& g, int e, sweep_state& state) noexcept {
    while (state.further && !state.walk) {
        sweep_round_e4m3<Weighted, false>(g, state.next, e, state);
    }
}

/// What the sweeps of 16 groups begin with.
struct sweep_start {
    alignas(64) std::int32_t byte[16];      // by minmax
    alignas(64) std::int32_t exponent[16];  // e: the largest magnitude lies in [2^e, 2^(e + 1))
    alignas(64) float unit[16];             // 2^-e
    unsigned walk;  // bits of the groups that 2^-e is not for: zeros, the ends of float's range
};
template <std::size_t Group>
FPQ_AVX512 [[gnu::always_inline]] inline sweep_start start_sweep(float const* x,
                                                                 scale_lanes const& rule) noexcept {
    __m512i const amax = largest_of_16<Group>(x);
    scale_lanes_512 const found = Group == 16 ? e4m3_lanes(amax, rule) : e8m0_lanes(amax, rule);
    __m512i const biased = _mm512_srli_epi32(amax, 23);
    sweep_start start;
    _mm512_store_si512(start.byte, found.bytes);
    _mm512_store_si512(start.exponent, _mm512_sub_epi32(biased, _mm512_set1_epi32(127)));
    _mm512_store_si512(start.unit,
                       _mm512_slli_epi32(_mm512_sub_epi32(_mm512_set1_epi32(254), biased), 23));
    __mmask16 const odd = _mm512_cmpge_epu32_mask(_mm512_sub_epi32(biased, _mm512_set1_epi32(2)),
                                                  _mm512_set1_epi32(250));
    start.walk = static_cast<unsigned>(found.strange | odd);
    return start;
}

/// The sweep of 16 NVFP4 groups x (256), weights beside them or null: bytes (16). Returns the
/// groups, as bits, that are left to the walk of scale_search. All first rounds come first: which
/// groups need more is not foreseeable, and a wrong guess would cost as much as a round.
template <bool Weighted>
FPQ_AVX512 inline unsigned sweep_16_groups(sweep_table const& table, scale_lanes const& rule,
                                           float const* x, float const* weights,
                                           std::uint8_t* bytes) noexcept {
    sweep_start const start = start_sweep<16>(x, rule);
    alignas(64) float scaled[256];
    unsigned walk = start.walk;
    sweep_state state[16];
    unsigned waiting[16];
    unsigned count = 0;
    for (unsigned k = 0; k < 16; ++k) {
        if ((walk >> k & 1u) != 0) {
            continue;
        }
        _mm512_store_ps(scaled + 16 * k,
                        _mm512_mul_ps(_mm512_loadu_ps(x + 16 * k), _mm512_set1_ps(start.unit[k])));
        sweep_group const g{&table, scaled + 16 * k, Weighted ? weights + 16 * k : nullptr};
        sweep_round_e4m3<Weighted, true>(g, start.byte[k], start.exponent[k], state[k]);
        waiting[count] = k;
        count +=
            static_cast<unsigned>(state[k].further) & ~static_cast<unsigned>(state[k].walk) & 1u;
    }
    for (unsigned i = 0; i < count; ++i) {
        unsigned const k = waiting[i];
        sweep_group const g{&table, scaled + 16 * k, Weighted ? weights + 16 * k : nullptr};
        sweep_on_e4m3<Weighted>(g, start.exponent[k], state[k]);
    }
    for (unsigned k = 0; k < 16; ++k) {
        walk |= static_cast<unsigned>(state[k].walk) << k;
        // Candidates beyond either end repeated the last byte.
        int const low = state[k].best > 1 ? state[k].best : 1;
        bytes[k] = static_cast<std::uint8_t>(low < e4m3::max_code ? low : e4m3::max_code);
    }
    return walk;
}

/// Errors of an MXFP4 group of 32 under one row: the sums of both halves, lane by lane.
template <bool Weighted>
FPQ_AVX512 [[gnu::always_inline]] inline __m512 sweep_pair(sweep_group const& g, int row) noexcept {
    return _mm512_add_ps(rounded(sweep_errors<Weighted>(g, row, 0)),
                         rounded(sweep_errors<Weighted>(g, row, 16)));
}

/// The best of the bytes start - 2 .. start + 3 of an MXFP4 group of 32, as the walk finds it;
/// -1: the walk has to do it.
template <bool Weighted>
FPQ_AVX512 inline int sweep_e8m0_avx512(sweep_group const& g, int start, int e) noexcept {
    int const row = g.table->row_of(start, e);
    if (start < 2 || start + 3 > e8m0::max_code || row < 2 || row + 3 >= g.table->row_count()) {
        return -1;
    }
    // Lanes 0, 8, 4, 12, 2 and 10: start - 2 .. start + 3.
    __m512 const a =
        join_add<8>(sweep_pair<Weighted>(g, row - 2), sweep_pair<Weighted>(g, row - 1));
    __m512 const b = join_add<8>(sweep_pair<Weighted>(g, row), sweep_pair<Weighted>(g, row + 1));
    __m512 const c =
        join_add<8>(sweep_pair<Weighted>(g, row + 2), sweep_pair<Weighted>(g, row + 3));
    __m512 const half = join_add<2>(join_add<4>(a, b), join_add<4>(c, c));
    __m512 const sums = join_add<1>(half, half);
    alignas(64) float lane[16];
    _mm512_store_ps(lane, sums);
    // The walk's order: start, down, up; the first of equals stays.
    int best = start;
    float error = lane[4];
    auto const take = [&](int at, int byte) {
        if (lane[at] < error) {
            error = lane[at];
            best = byte;
        }
    };
    take(8, start - 1);
    take(0, start - 2);
    take(12, start + 1);
    take(2, start + 2);
    take(10, start + 3);
    return best;
}

/// sweep_16_groups for MXFP4: x (512). `rule` has the constants of scale_rule::floor.
template <bool Weighted>
FPQ_AVX512 inline unsigned sweep_16_wide_groups(sweep_table const& table, scale_lanes const& rule,
                                                float const* x, float const* weights,
                                                std::uint8_t* bytes) noexcept {
    sweep_start const start = start_sweep<32>(x, rule);
    alignas(64) float scaled[32];
    unsigned walk = start.walk;
    for (unsigned k = 0; k < 16; ++k) {
        if ((walk >> k & 1u) != 0) {
            continue;
        }
        float const* const from = x + std::size_t{32} * k;
        __m512 const by = _mm512_set1_ps(start.unit[k]);
        _mm512_store_ps(scaled, _mm512_mul_ps(_mm512_loadu_ps(from), by));
        _mm512_store_ps(scaled + 16, _mm512_mul_ps(_mm512_loadu_ps(from + 16), by));
        sweep_group const g{&table, scaled, Weighted ? weights + std::size_t{32} * k : nullptr};
        int const best = sweep_e8m0_avx512<Weighted>(g, start.byte[k], start.exponent[k]);
        walk |= (best < 0 ? 1u : 0u) << k;
        bytes[k] = static_cast<std::uint8_t>(best);
    }
    return walk;
}

}  // namespace fpq::kernels

FPQ_INTRINSICS_END

#endif
