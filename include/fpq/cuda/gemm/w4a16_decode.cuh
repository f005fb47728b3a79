// SPDX-License-Identifier: Apache-2.0
// Wing cuda. What a W4A16 kernel needs of a weight format and an activation type, as one small
// struct of static functions each: decode a word, read multipliers, multiply.
#pragma once

#include <cstdint>

#include "fpq/core/half.hpp"
#include "fpq/cuda/gemm/w4a16_decode.hpp"
#include "fpq/cuda/ptx/half_mma.cuh"
#include "fpq/cuda/ptx/mma.cuh"

namespace fpq::cuda {

/// 16-bit activations: how codes become that type and how tiles are multiplied.
struct bf16_math {
    using storage = bf16;
    static __device__ __forceinline__ four_pairs decode(std::uint32_t word) {
        return e2m1_to_bf16_pairs(word);
    }
    static __device__ __forceinline__ std::uint32_t multiply(std::uint32_t a, std::uint32_t b) {
        return ptx::mul_bf16x2(a, b);
    }
    static __device__ __forceinline__ void mma(float (&d)[4], std::uint32_t const (&a)[4],
                                               std::uint32_t b0, std::uint32_t b1) {
        half_mma<bf16>::add(d, a[0], a[1], a[2], a[3], b0, b1);
    }
    /// The multipliers of two E4M3 bytes, one a half: scale * 2^118.
    static __device__ __forceinline__ std::uint32_t from_e4m3(std::uint32_t two_bytes) {
        // E4M3 bits 4 places up are bf16 of scale * 2^-120; then 2^127 and 2^111, both exact.
        std::uint32_t const small = __byte_perm(two_bytes, 0, 0x4140) << 4;
        return multiply(multiply(small, 0x7F007F00u), 0x77007700u);
    }
    static __device__ __forceinline__ std::uint32_t from_e8m0(std::uint32_t byte) {
        return e8m0_to_bf16_multiplier(byte);
    }
    /// For scales that multiply sums: codes times lifted activations are value * 2^single_shift.
    static constexpr int single_shift = -126 + 48;
    /// Times 2^48: sums of tiny codes come to the middle of float32. From 2^80 on infinite.
    static __device__ __forceinline__ std::uint32_t lifted(std::uint32_t pair) {
        return multiply(pair, 0x57805780u);
    }
    static constexpr decode_range nvfp4_range = nvfp4_bf16_range;
    static constexpr decode_range mxfp4_range = mxfp4_bf16_range;
};

struct fp16_math {
    using storage = fp16;
    static __device__ __forceinline__ four_pairs decode(std::uint32_t word) {
        return e2m1_to_fp16_pairs(word);
    }
    static __device__ __forceinline__ std::uint32_t multiply(std::uint32_t a, std::uint32_t b) {
        return ptx::mul_fp16x2(a, b);
    }
    static __device__ __forceinline__ void mma(float (&d)[4], std::uint32_t const (&a)[4],
                                               std::uint32_t b0, std::uint32_t b1) {
        half_mma<fp16>::add(d, a[0], a[1], a[2], a[3], b0, b1);
    }
    /// The multipliers of two E4M3 bytes, one a half: scale * 2^7.
    static __device__ __forceinline__ std::uint32_t from_e4m3(std::uint32_t two_bytes) {
        // E4M3 bits 7 places up are fp16 of scale * 2^-8; then 2^15, exact.
        std::uint32_t const small = __byte_perm(two_bytes, 0, 0x1404) >> 1;
        return multiply(small, 0x78007800u);
    }
    static __device__ __forceinline__ std::uint32_t from_e8m0(std::uint32_t byte) {
        return e8m0_to_fp16_multiplier(byte);
    }
    /// As bf16_math has them; nothing needs lifting.
    static constexpr int single_shift = -14;
    static __device__ __forceinline__ std::uint32_t lifted(std::uint32_t pair) { return pair; }
    static constexpr decode_range nvfp4_range = nvfp4_fp16_range;
    static constexpr decode_range mxfp4_range = mxfp4_fp16_range;
};

/// The scales of 32 consecutive weights: two bytes (NVFP4) or one (MXFP4), and their multipliers
/// for the first and the last 16 of them.
struct nvfp4_weight {
    using raw_scale = std::uint16_t;
    /// The first group of the word that has the scales of 32 columns from `column` on, those of
    /// lane t of a chunk; and they of that word.
    static __device__ __forceinline__ unsigned first_group(unsigned column, int t) {
        return column / 16 - 2u * static_cast<unsigned>(t % 2);
    }
    static __device__ __forceinline__ raw_scale own(std::uint32_t word, int t) {
        return static_cast<raw_scale>(word >> (16 * (t % 2)));
    }
    template <class Math>
    static constexpr int shift = Math::nvfp4_range.shift;
    template <class Math>
    static __device__ __forceinline__ void multipliers(raw_scale raw, std::uint32_t (&m)[2]) {
        std::uint32_t const both = Math::from_e4m3(raw);
        m[0] = __byte_perm(both, 0, 0x1010);
        m[1] = __byte_perm(both, 0, 0x3232);
    }
};

struct mxfp4_weight {
    using raw_scale = std::uint8_t;
    static __device__ __forceinline__ unsigned first_group(unsigned column, int t) {
        return column / 32 - static_cast<unsigned>(t);
    }
    static __device__ __forceinline__ raw_scale own(std::uint32_t word, int t) {
        return static_cast<raw_scale>(word >> (8 * t));
    }
    template <class Math>
    static constexpr int shift = Math::mxfp4_range.shift;
    template <class Math>
    static __device__ __forceinline__ void multipliers(raw_scale raw, std::uint32_t (&m)[2]) {
        m[0] = m[1] = Math::from_e8m0(raw);
    }
};

}  // namespace fpq::cuda
