// SPDX-License-Identifier: Apache-2.0
// Floor 0. Single-rounding float operations, which device code never contracts: what decides a
// scale or a code on both sides is built from these alone. Host code relies on -ffp-contract=off
// where there are fused instructions.
#pragma once

#include "fpq/core/config.hpp"

namespace fpq {

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
/// fl(a / b), subnormals and infinities as IEEE has them.
FPQ_HD inline float div_rn(float a, float b) noexcept {
#if defined(__CUDA_ARCH__)
    return __fdiv_rn(a, b);
#else
    return a / b;
#endif
}
/// The nearest integer, ties to even.
FPQ_HD inline float nearest_rn(float a) noexcept {
#if defined(__CUDA_ARCH__)
    return rintf(a);
#else
    return __builtin_nearbyintf(a);
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

}  // namespace fpq
