// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Single-rounding float operations that no compiler flag contracts, the same on host and
// device: what decides a scale or a code is built from these alone.
#pragma once

#include <cstdint>

#include "fpq/core/bits.hpp"
#include "fpq/core/config.hpp"

namespace fpq::cuda {

/// fl(a * b), never fused with what follows.
FPQ_HD inline float mul_rn(float a, float b) noexcept {
#if defined(__CUDA_ARCH__)
    return __fmul_rn(a, b);
#else
    return a * b;
#endif
}
/// fl(a + b), never fused with what comes before.
FPQ_HD inline float add_rn(float a, float b) noexcept {
#if defined(__CUDA_ARCH__)
    return __fadd_rn(a, b);
#else
    return a + b;
#endif
}
/// fl(a * b + c).
FPQ_HD inline float fma_rn(float a, float b, float c) noexcept {
#if defined(__CUDA_ARCH__)
    return __fmaf_rn(a, b, c);
#else
    return __builtin_fmaf(a, b, c);
#endif
}
/// fl(a / b), subnormals and infinities as IEEE has them.
FPQ_HD inline float div_rn(float a, float b) noexcept {
#if defined(__CUDA_ARCH__)
    return __fdiv_rn(a, b);
#else
    return a / b;
#endif
}
/// fl(sqrt(a)).
FPQ_HD inline float sqrt_rn(float a) noexcept {
#if defined(__CUDA_ARCH__)
    return __fsqrt_rn(a);
#else
    return __builtin_sqrtf(a);
#endif
}
/// |x|; on the device a modifier of the instruction after it.
FPQ_HD inline float absolute(float x) noexcept {
#if defined(__CUDA_ARCH__)
    return fabsf(x);
#else
    return magnitude(x);
#endif
}
/// x clamped to [0, 1]; NaN gives 0. On the device it is a modifier of the instruction before it.
FPQ_HD inline float saturate(float x) noexcept {
#if defined(__CUDA_ARCH__)
    return __saturatef(x);
#else
    return x > 0.0F ? (x < 1.0F ? x : 1.0F) : 0.0F;
#endif
}
/// The larger of two numbers; a NaN loses.
FPQ_HD inline float max_number(float a, float b) noexcept {
#if defined(__CUDA_ARCH__)
    return fmaxf(a, b);
#else
    return __builtin_fmaxf(a, b);
#endif
}

/// The smaller of two numbers; a NaN loses.
FPQ_HD inline float min_number(float a, float b) noexcept {
#if defined(__CUDA_ARCH__)
    return fminf(a, b);
#else
    return __builtin_fminf(a, b);
#endif
}

}  // namespace fpq::cuda
