// SPDX-License-Identifier: Apache-2.0
// Wing cuda. The error of 16 FP4 values under one step, twice: exactly as the CPU path sums it, and
// fast, within `search_slack`. A search scores by the fast one and asks the exact one only where
// two candidates are closer than the slack, so its choice is the CPU path's.
//
// Values are |w| times a power of two that brings the group's maximum into [1, 2).
#pragma once

#include "fpq/cuda/e2m1_codes.cuh"
#include "fpq/cuda/reciprocal.cuh"

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

/// Sum of 16 lanes in the CPU path's order: halves added to halves.
FPQ_HD inline float sum_of_lanes(float (&lane)[16]) noexcept {
    FPQ_UNROLL
    for (int l = 0; l < 8; ++l) {
        lane[l] = add_rn(lane[l], lane[l + 8]);
    }
    FPQ_UNROLL
    for (int l = 0; l < 4; ++l) {
        lane[l] = add_rn(lane[l], lane[l + 4]);
    }
    return add_rn(add_rn(lane[0], lane[2]), add_rn(lane[1], lane[3]));
}

/// How far the values reach, in steps: to 4.5, to 6.5, or anywhere.
enum class search_reach { short_of_five, within, beyond };

/// Sum of squared errors over step^2, roughly: quotients by one product, any order of sums.
template <search_reach Reach>
FPQ_HD inline float quick_error(float const (&x)[16], float reciprocal) noexcept {
    float sum = 0.0F;
    FPQ_UNROLL
    for (int i = 0; i < 16; ++i) {
        if constexpr (Reach == search_reach::beyond) {
            float const q = mul_rn(x[i], reciprocal);
            float const d = add_rn(q, -e2m1_nearest(0.5F * q));
            sum = fma_rn(d, d, sum);
        } else {
            // Right below 4.5; from there on it rounds to 5 what belongs to 4 or 6.
            float const value = add_rn(fma_rn(x[i], reciprocal, e2m1_origin), -e2m1_origin);
            float const d = fma_rn(x[i], reciprocal, -value);
            sum = fma_rn(d, d, sum);
            if constexpr (Reach == search_reach::within) {
                // (1 - |q - 5|)^2 - (q - 5)^2 = 1 - 2 |q - 5| between 4.5 and 5.5.
                float const away = fma_rn(x[i], 2.0F * reciprocal, -10.0F);
                sum = add_rn(sum, saturate(add_rn(1.0F, -absolute(away))));
            }
        }
    }
    return sum;
}

/// Errors (times step^2) closer than this to `error` are settled exactly. Maximum in [1, 2).
FPQ_HD inline float search_slack(float error) noexcept { return fma_rn(error, 1e-5F, 1e-6F); }

}  // namespace fpq::cuda
