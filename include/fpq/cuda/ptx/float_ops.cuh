// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Float operations beside those of core/rounded.hpp, the same on host and device.
#pragma once

#include <cstdint>

#include "fpq/core/bits.hpp"
#include "fpq/core/config.hpp"
#include "fpq/core/rounded.hpp"

namespace fpq::cuda {

using fpq::add_rn;
using fpq::div_rn;
using fpq::mul_rn;
using fpq::sqrt_rn;

/// fl(a * b + c).
FPQ_HD inline float fma_rn(float a, float b, float c) noexcept {
#if defined(__CUDA_ARCH__)
    return __fmaf_rn(a, b, c);
#else
    return __builtin_fmaf(a, b, c);
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
