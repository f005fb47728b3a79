// SPDX-License-Identifier: Apache-2.0
// Wing cuda. fl(w / s) / 2 without a division a value, for many w under one step s.
//
// For bf16 and fp16 values, w * hi + w * lo with hi + lo = 1 / 2s to 48 bits decides every E2M1
// code as the correctly rounded quotient does. It could differ only where w / s is within an ulp of
// a midpoint; the significands of all such pairs are few enough for a test to try every one.
#pragma once

#include "fpq/core/config.hpp"
#include "fpq/cuda/ptx/float_ops.cuh"

namespace fpq::cuda {

/// 1 / (2 s) in two floats.
struct half_reciprocal {
    float hi;
    float lo;
};

/// For s whose reciprocal and remainders are normal floats: 2^-96 <= s <= 2^96.
FPQ_HD inline half_reciprocal half_reciprocal_of(float s) noexcept {
    float const hi = div_rn(0.5F, s);
    return {hi, div_rn(fma_rn(-s, hi, 0.5F), s)};
}

/// w / (2 s) for w of at most 11 significant bits.
FPQ_HD inline float half_quotient(float w, half_reciprocal r) noexcept {
    return fma_rn(w, r.hi, mul_rn(w, r.lo));
}

/// a / 6 correctly rounded, for a = 0 or 2^-96 <= a <= 2^96.
FPQ_HD inline float sixth_of(float a) noexcept {
    constexpr float sixth = 1.0F / 6.0F;
    float const q = mul_rn(a, sixth);
    return fma_rn(fma_rn(-6.0F, q, a), sixth, q);
}

/// True for 0 and for maxima that the fast paths take; false for NaN.
FPQ_HD inline bool is_plain_maximum(float a) noexcept {
    return a == 0.0F || (a >= 0x1p-96F && a <= 0x1p96F);
}

/// True for global scales that the fast paths take.
FPQ_HD inline bool is_plain_global(float global) noexcept {
    return global >= 0x1p-20F && global <= 0x1p60F;
}

}  // namespace fpq::cuda
