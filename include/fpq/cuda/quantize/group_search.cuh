// SPDX-License-Identifier: Apache-2.0
// Wing cuda. The error of a group under one step, twice: exactly as the CPU path sums it, and fast,
// two candidates at a time in pairs of fp16. A search scores all candidates by the fast one, keeps
// those that may still be best within its error bound, and lets the exact one decide among them, so
// that its choice is the CPU path's.
//
// Values are |w| times a power of two that brings the group's maximum a into [1, 2). With E the
// true error of a step s and u = 2^-11, half an ulp of fp16, the fast one differs from it by
//   misplaced codes     at most 45 u E, upwards only; 34 u E for steps that are fp16 numbers. A
//                       quotient is off by u of itself (0.63 u) and half an ulp; a value next to a
//                       midpoint between neighbours g apart, by d, loses 8 d / g of its own error.
//   the rounded step    at most 2 u sqrt(E) |v| s, where v are the codes' values, and |v| s is at
//                       most |w| + sqrt(E); none for steps that are fp16 numbers.
//   differences, sums   at most 8 u E, and 10^-6 for what is subnormal.
#pragma once

#include <cstdint>

#include "fpq/cuda/ptx/reciprocal.cuh"
#include "fpq/cuda/quantize/e2m1_codes.cuh"
#include "fpq/cuda/quantize/group_search_pair.cuh"

namespace fpq::cuda {

/// A step for a normalised group: its size, and half its reciprocal in two floats.
struct search_step {
    float size;
    half_reciprocal half;
};

/// The E2M1 value nearest to 2 * half >= 0, ties to the even code; saturates at 6.
FPQ_HD inline float e2m1_nearest(float half) noexcept {
    constexpr float whole = 12582912.0F;  // 1.5 * 2^23: floats around it are spaced by one
    float const low = saturate(mul_rn(half, 0.5F));
    float const high = saturate(add_rn(half, -2.0F));
    float const below = add_rn(fma_rn(low, 4.0F, e2m1_origin), -e2m1_origin);
    float const above = add_rn(add_rn(high, whole), -whole);
    return fma_rn(above, 2.0F, below);
}

/// fl(d * d) of one value, d = x - fl(value * step), as the CPU path has it. For values of at most
/// 11 significant bits.
FPQ_HD inline float exact_loss(float x, search_step const& step) noexcept {
    float const value = mul_rn(e2m1_nearest(half_quotient(x, step.half)), step.size);
    float const d = add_rn(x, -value);
    return mul_rn(d, d);
}

/// Two steps, s and t, for the fast errors, as pairs: -s 2^14, -t 2^14; and 2^-14 / s, 2^-14 / t.
struct step_pair {
    std::uint32_t size;
    std::uint32_t reciprocal;
};

FPQ_HD inline step_pair pair_of_steps(search_step const& low, search_step const& high) noexcept {
    return {pair_of(low.size * -0x1p14F, high.size * -0x1p14F),
            pair_of(low.half.hi * 0x1p-13F, high.half.hi * 0x1p-13F)};
}

/// a + b. On the device, of blocks of one dimension, it is a multiply-add: that leaves the pipe of
/// the integers, the busier one here, to others.
FPQ_HD inline std::uint32_t add_as_product(std::uint32_t a, std::uint32_t b) noexcept {
#if defined(__CUDA_ARCH__)
    std::uint32_t out;
    asm("mad.lo.u32 %0, %1, %2, %3;" : "=r"(out) : "r"(a), "r"(blockDim.y), "r"(b));
    return out;
#else
    return a + b;
#endif
}

/// How far quotients reach: to 4.5, to 6.9 (8 would be nearer than 6 from 7 on), or anywhere.
enum class search_reach { short_of_five, within, beyond };
inline constexpr float unclipped_reach = 6.9F;

/// The errors of 16 values, each twice in its pair, under two steps; see the head of the file.
///
/// Short of five, rounding is an addition of e2m1_origin's fp16 sibling. Further on, quotients
/// times 2^-14 are rounded by two integer operations: E2M1's values times 2^-14 are the fp16
/// numbers of one bit of significand, subnormals below one included.
template <search_reach Reach>
FPQ_HD inline std::uint32_t quick_errors(std::uint32_t const (&x)[16], step_pair step) noexcept {
    constexpr std::uint32_t octaves = 14u * 0x04000400u;  // what 2^14 adds to both exponents
    std::uint32_t sum[4] = {};
    FPQ_UNROLL
    for (int i = 0; i < 16; ++i) {
        std::uint32_t d;
        if constexpr (Reach == search_reach::short_of_five) {
            constexpr std::uint32_t origin = 0x63FC63FCu;  // 2^10 - 2
            std::uint32_t const at = pair_fma(x[i], step.reciprocal + octaves, origin);
            std::uint32_t const value = pair_add(at, origin | 0x80008000u);
            d = pair_fma(value, step.size - octaves, x[i]);
        } else {
            std::uint32_t const up = add_as_product(pair_mul(x[i], step.reciprocal), 0x01000100u);
            std::uint32_t value = up & 0xFE00FE00u;
            if constexpr (Reach == search_reach::beyond) {
                value = pair_min(value, 0x0E000E00u);
            }
            d = pair_fma(value, step.size, x[i]);
        }
        sum[i % 4] = pair_fma(d, d, sum[i % 4]);
    }
    return pair_add(pair_add(sum[0], sum[2]), pair_add(sum[1], sum[3]));
}

/// What a fast error must exceed to lose for certain against another, as a function of the other:
/// error * factor + margin.
struct search_limit {
    float factor;
    float margin;

    /// norm: sum of squares of the group, at most 1 % too small; exact: all steps are fp16 numbers.
    FPQ_HD search_limit(float norm, bool exact) noexcept {
        // Both errors are off: 2 * 2 u sqrt(E N) <= 4 u (7 E + N / 28).
        float const k = exact ? 0x1p-20F : 0x1.1p-9F;
        factor = (exact ? 1.0255F : 1.0325F) + 7.0F * k;
        margin = fma_rn(norm, k / 28.0F, 5e-6F);
    }
    FPQ_HD float operator()(float error) const noexcept { return fma_rn(error, factor, margin); }
};

/// The error of 16 values under one step in float32: within half of fine_limit's excess of the
/// exact one. Rounds as quick_errors does.
FPQ_HD inline float fine_error(float const (&x)[16], search_step const& step) noexcept {
    float const r = 2.0F * 0x1p-126F * step.half.hi;
    float const s = -0x1p126F * step.size;
    float sum = 0.0F;
    FPQ_UNROLL
    for (int i = 0; i < 16; ++i) {
        std::uint32_t const q = bits_of<std::uint32_t>(mul_rn(x[i], r));
        std::uint32_t const value = (q + 0x00200000u) & 0xFFC00000u;
        float const d = fma_rn(min_number(bits_of<float>(value), 6.0F * 0x1p-126F), s, x[i]);
        sum = fma_rn(d, d, sum);
    }
    return sum;
}

/// What a fine error must exceed to lose for certain against `error`.
FPQ_HD inline float fine_limit(float error) noexcept { return fma_rn(error, 1.00001F, 1e-6F); }

/// Candidates are counted from a start; a set of them is a word. The pair of offsets 2 i - 15 and
/// 2 i - 14 has bits i and i + 16.
inline constexpr int lowest_offset = -15;

FPQ_HD inline constexpr int offset_of_bit(int bit) noexcept {
    return 2 * (bit & 15) + (bit >> 4) + lowest_offset;
}
FPQ_HD inline constexpr std::uint32_t bit_of_offset(int offset) noexcept {
    int const i = offset - lowest_offset;
    return 1u << ((i >> 1) + (i & 1) * 16);
}
/// All offsets up to `offset`, -15 .. 15.
FPQ_HD inline constexpr std::uint32_t bits_up_to(int offset) noexcept {
    int const i = offset - lowest_offset;
    std::uint32_t const even = (2u << (i >> 1)) - 1u;
    std::uint32_t const odd = (1u << ((i + 1) >> 1)) - 1u;
    return (even & 0xFFFFu) | (odd << 16);
}
/// The order in which equal errors are settled: the start, those below, those above.
FPQ_HD inline constexpr int rank_of_offset(int offset) noexcept {
    return offset <= 0 ? -offset : offset - lowest_offset;
}

/// Maxima of fewer steps than this, 3.5, do as well with half the step.
inline constexpr float least_useful = 3.4999F;

inline constexpr std::uint32_t infinite_pair = 0x7C007C00u;

/// True where a lane of the warp has `wanted`; on the host there is one.
FPQ_HD inline bool any_lane(bool wanted) noexcept {
#if defined(__CUDA_ARCH__)
    return __any_sync(0xFFFFFFFFu, wanted) != 0;
#else
    return wanted;
#endif
}

/// What the maximum a alone loses to clipping is not more than `at_most`.
FPQ_HD inline bool may_clip(float a, float size, float at_most) noexcept {
    float const over = fma_rn(size, -6.0F, a);
    return !(over > 0.0F && over * over > at_most);
}

/// Which of Count pairs of errors are within the limit of the least; `bits` are their candidates.
template <int Count>
FPQ_HD std::uint32_t close_to_least(std::uint32_t const (&e)[Count],
                                    std::uint32_t const (&bits)[Count], search_limit const& limit,
                                    float& at_most) noexcept {
    std::uint32_t least = e[0];
    FPQ_UNROLL
    for (int i = 1; i < Count; ++i) {
        least = pair_min(least, e[i]);
    }
    float const low = low_of_pair(least);
    float const high = high_of_pair(least);
    at_most = limit(low < high ? low : high);
    std::uint32_t const both = pair_of(at_most, at_most);
    std::uint32_t open = 0;
    FPQ_UNROLL
    for (int i = 0; i < Count; ++i) {
        open |= pair_at_most(e[i], both) & bits[i];
    }
    return open;
}

}  // namespace fpq::cuda
