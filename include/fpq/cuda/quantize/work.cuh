// SPDX-License-Identifier: Apache-2.0
// Wing cuda. The arguments of the quantize kernels, and what a thread does with a finished group:
// its step, its scale byte and its codes. Device.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fpq/cuda/ptx/reciprocal.cuh"
#include "fpq/cuda/quantize/group.cuh"
#include "fpq/cuda/quantize/segment_map.cuh"
#include "fpq/format/scale_layout.hpp"

namespace fpq::cuda {

/// What quantizing and dequantizing have in common: where scales are and what they are divided by.
struct scaled_work {
    std::size_t cols = 0;
    std::size_t groups = 0;  // of a row
    float global = 1.0F;
    float const* global_at = nullptr;
    segment_map map{};

    __device__ float global_scale() const { return global_at == nullptr ? global : *global_at; }
    __device__ std::size_t scale_index(std::uint32_t row, std::uint32_t group) const {
        return map.swizzled ? swizzled_scales{groups}(row, group)
                            : row_major_scales{groups}(row, group);
    }
};

struct quantize_work : scaled_work {
    void const* x = nullptr;
    std::size_t stride = 0;  // of x, values
    std::uint8_t* codes = nullptr;
    std::uint8_t* scales = nullptr;
    scale_rule method = scale_rule::minmax;
};

/// The step of every stored byte as a half_reciprocal: a table in shared memory for E4M3 (each
/// block fills it once), powers of two times a constant for E8M0.
template <class Block>
struct step_source;

template <>
struct step_source<nvfp4_block> {
    half_reciprocal* table;  // (128), shared

    /// All threads of the block call it, then synchronise.
    __device__ void prepare(float global) {
        for (unsigned byte = threadIdx.x; byte < 127; byte += blockDim.x) {
            float const s = step_of(scale_kind::e4m3, static_cast<std::uint8_t>(byte), global);
            table[byte] = byte == 0 ? half_reciprocal{0.0F, 0.0F} : half_reciprocal_of(s);
        }
    }
    __device__ half_reciprocal operator()(std::uint32_t byte) const { return table[byte]; }
};

/// MX: step = 2^(byte - 127) * fl(1 / G), exactly, while nothing is subnormal.
template <>
struct step_source<mxfp4_block> {
    half_reciprocal base;

    __device__ void prepare(float global) { base = half_reciprocal_of(div_rn(1.0F, global)); }
    __device__ half_reciprocal operator()(std::uint32_t byte) const {
        float const power = bits_of<float>((254u - byte) << 23);
        return {mul_rn(base.hi, power), mul_rn(base.lo, power)};
    }
};
template <>
struct step_source<mxfp8_e4m3_block> : step_source<mxfp4_block> {};

/// Scale byte of a group from its maximum for the plain rules, without branches; the caller has
/// checked is_plain_maximum and is_plain_global.
template <class Block>
struct plain_byte;

template <>
struct plain_byte<nvfp4_block> {
    float global;
    std::uint32_t zero;   // byte of an all-zero group
    std::uint32_t least;  // byte of the smallest other group

    __device__ plain_byte(scale_rule method, float g)
        : global(g),
          zero(method == scale_rule::abs_max ? 0u : std::uint32_t{nvfp_zero_group}),
          least(method == scale_rule::abs_max ? 0u : 1u) {}
    __device__ std::uint32_t operator()(float a) const {
        std::uint32_t const byte = e4m3_byte(mul_rn(sixth_of(a), global));
        return a == 0.0F ? zero : max(byte, least);
    }
};

template <>
struct plain_byte<mxfp4_block> {
    mx_rule_constants rule;

    __device__ plain_byte(scale_rule method, float g) : rule(mx_constants(method, false, g)) {}
    __device__ std::uint32_t operator()(float a) const { return mx_byte_in_range(rule, a); }
};

template <>
struct plain_byte<mxfp8_e4m3_block> {
    mx_rule_constants rule;

    __device__ plain_byte(scale_rule method, float g) : rule(mx_constants(method, true, g)) {}
    __device__ std::uint32_t operator()(float a) const { return mx_byte_in_range(rule, a); }
};

/// What the threads of a fast kernel have ready before they walk the matrix.
template <class Block>
struct plain_rule {
    static constexpr int table_entries = Block::has_global_scale ? 128 : 1;

    float global;
    step_source<Block> steps{};
    plain_byte<Block> byte_of;
    bool plain_global;

    /// All threads of the block call it; `table` (table_entries) is shared.
    __device__ plain_rule(quantize_work const& work, scale_rule method, half_reciprocal* table)
        : global(work.global_scale()),
          byte_of(method, global),
          plain_global(is_plain_global(global)) {
        if constexpr (Block::has_global_scale) {
            steps.table = table;
            steps.prepare(global);
            __syncthreads();
        } else {
            steps.prepare(global);
        }
    }
};

/// Two E4M3 codes, a in the low byte.
__device__ inline std::uint32_t e4m3_pair(float a, float b) {
#if __CUDA_ARCH__ >= 890
    std::uint16_t pair;
    asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(b), "f"(a));
    return pair;
#else
    return e4m3::encode(a) | (std::uint32_t{e4m3::encode(b)} << 8);
#endif
}

}  // namespace fpq::cuda
