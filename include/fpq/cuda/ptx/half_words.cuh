// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Words of two bf16 or fp16 values: unpacking, largest magnitudes, and packing. Device.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

#include "fpq/core/bits.hpp"
#include "fpq/core/half.hpp"

namespace fpq::cuda {

/// What kernels ask of a 16-bit float type.
template <class Half>
struct half_words;

template <>
struct half_words<bf16> {
    __device__ static float low(std::uint32_t w) { return bits_of<float>(w << 16); }
    __device__ static float high(std::uint32_t w) { return bits_of<float>(w & 0xFFFF0000u); }
    /// Larger magnitudes of both halves, with signs of no meaning; NaN wins.
    __device__ static std::uint32_t max_magnitude(std::uint32_t a, std::uint32_t b) {
        std::uint32_t out;
#if __CUDA_ARCH__ >= 860
        asm("max.NaN.xorsign.abs.bf16x2 %0, %1, %2;" : "=r"(out) : "r"(a), "r"(b));
#else
        asm("max.NaN.bf16x2 %0, %1, %2;" : "=r"(out) : "r"(a & 0x7FFF7FFFu), "r"(b & 0x7FFF7FFFu));
#endif
        return out;
    }
    /// Nearest of lo and hi in one word.
    __device__ static std::uint32_t pack(float lo, float hi) {
        std::uint32_t out;
        asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(out) : "f"(hi), "f"(lo));
        return out;
    }
};

template <>
struct half_words<fp16> {
    __device__ static float low(std::uint32_t w) {
        return __half2float(__ushort_as_half(static_cast<unsigned short>(w)));
    }
    __device__ static float high(std::uint32_t w) {
        return __half2float(__ushort_as_half(static_cast<unsigned short>(w >> 16)));
    }
    __device__ static std::uint32_t max_magnitude(std::uint32_t a, std::uint32_t b) {
        std::uint32_t out;
#if __CUDA_ARCH__ >= 860
        asm("max.NaN.xorsign.abs.f16x2 %0, %1, %2;" : "=r"(out) : "r"(a), "r"(b));
#else
        asm("max.NaN.f16x2 %0, %1, %2;" : "=r"(out) : "r"(a & 0x7FFF7FFFu), "r"(b & 0x7FFF7FFFu));
#endif
        return out;
    }
    __device__ static std::uint32_t pack(float lo, float hi) {
        std::uint32_t out;
        asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(out) : "f"(hi), "f"(lo));
        return out;
    }
};

}  // namespace fpq::cuda
