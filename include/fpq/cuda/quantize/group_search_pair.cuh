// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Arithmetic on two fp16 numbers in a word, one rounding an operation, with a host twin
// for tests (whose fused multiply-add may round twice).
#pragma once

#if defined(__CUDA_ARCH__)
#include <cuda_fp16.h>
#endif

#include <cstdint>

#include "fpq/core/bits.hpp"
#include "fpq/core/config.hpp"
#include "fpq/core/half.hpp"

namespace fpq::cuda {

/// Nearest fp16 of `low` and `high` in one word.
FPQ_HD inline std::uint32_t pair_of(float low, float high) noexcept {
#if defined(__CUDA_ARCH__)
    std::uint32_t out;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(out) : "f"(high), "f"(low));
    return out;
#else
    return to_fp16(low).bits | (std::uint32_t{to_fp16(high).bits} << 16);
#endif
}

/// One value of a pair.
FPQ_HD inline float low_of_pair(std::uint32_t p) noexcept {
#if defined(__CUDA_ARCH__)
    return __half2float(__ushort_as_half(static_cast<unsigned short>(p)));
#else
    return to_float(fp16{static_cast<std::uint16_t>(p)});
#endif
}
FPQ_HD inline float high_of_pair(std::uint32_t p) noexcept { return low_of_pair(p >> 16); }

/// a * b, a * b + c, a + b and min(a, b) of both halves.
FPQ_HD inline std::uint32_t pair_mul(std::uint32_t a, std::uint32_t b) noexcept {
#if defined(__CUDA_ARCH__)
    std::uint32_t out;
    asm("mul.rn.f16x2 %0, %1, %2;" : "=r"(out) : "r"(a), "r"(b));
    return out;
#else
    return pair_of(low_of_pair(a) * low_of_pair(b), high_of_pair(a) * high_of_pair(b));
#endif
}
FPQ_HD inline std::uint32_t pair_fma(std::uint32_t a, std::uint32_t b, std::uint32_t c) noexcept {
#if defined(__CUDA_ARCH__)
    std::uint32_t out;
    asm("fma.rn.f16x2 %0, %1, %2, %3;" : "=r"(out) : "r"(a), "r"(b), "r"(c));
    return out;
#else
    return pair_of(__builtin_fmaf(low_of_pair(a), low_of_pair(b), low_of_pair(c)),
                   __builtin_fmaf(high_of_pair(a), high_of_pair(b), high_of_pair(c)));
#endif
}
FPQ_HD inline std::uint32_t pair_add(std::uint32_t a, std::uint32_t b) noexcept {
#if defined(__CUDA_ARCH__)
    std::uint32_t out;
    asm("add.rn.f16x2 %0, %1, %2;" : "=r"(out) : "r"(a), "r"(b));
    return out;
#else
    return pair_of(low_of_pair(a) + low_of_pair(b), high_of_pair(a) + high_of_pair(b));
#endif
}
FPQ_HD inline std::uint32_t pair_min(std::uint32_t a, std::uint32_t b) noexcept {
#if defined(__CUDA_ARCH__)
    std::uint32_t out;
    asm("min.f16x2 %0, %1, %2;" : "=r"(out) : "r"(a), "r"(b));
    return out;
#else
    return pair_of(__builtin_fminf(low_of_pair(a), low_of_pair(b)),
                   __builtin_fminf(high_of_pair(a), high_of_pair(b)));
#endif
}

/// 0xFFFF in a half where a <= b.
FPQ_HD inline std::uint32_t pair_at_most(std::uint32_t a, std::uint32_t b) noexcept {
#if defined(__CUDA_ARCH__)
    std::uint32_t out;
    asm("set.le.u32.f16x2 %0, %1, %2;" : "=r"(out) : "r"(a), "r"(b));
    return out;
#else
    return (low_of_pair(a) <= low_of_pair(b) ? 0xFFFFu : 0u) |
           (high_of_pair(a) <= high_of_pair(b) ? 0xFFFF0000u : 0u);
#endif
}

}  // namespace fpq::cuda
