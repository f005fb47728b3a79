// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Codes and scales back to bf16, fp16 or fp32: fl(code * fl(scale / G)), then nearest.
// A thread decodes 16 values (8 for fp32): 8 bytes of codes in, 32 bytes out.
#pragma once

#include "fpq/cuda/half_words.cuh"
#include "fpq/cuda/quantize_work.cuh"
#include "fpq/format/pack.hpp"

namespace fpq::cuda {

struct dequantize_work {
    std::uint8_t const* codes = nullptr;
    std::uint8_t const* scales = nullptr;
    void* out = nullptr;
    std::size_t cols = 0;
    std::size_t stride = 0;  // of out, values
    std::size_t groups = 0;
    float global = 1.0F;
    float const* global_at = nullptr;
    segment_map map{};

    __device__ float global_scale() const { return global_at == nullptr ? global : *global_at; }
    __device__ std::size_t scale_index(std::uint32_t row, std::uint32_t group) const {
        return map.swizzled ? swizzled_scales{groups}(row, group)
                            : row_major_scales{groups}(row, group);
    }
};

/// Value of a stored scale byte.
template <block_format Format>
__device__ float stored_value(std::uint32_t byte) {
    if constexpr (Format == block_format::nvfp4) {
#if __CUDA_ARCH__ >= 890
        std::uint32_t pair;
        asm("cvt.rn.f16x2.e4m3x2 %0, %1;" : "=r"(pair) : "h"(static_cast<std::uint16_t>(byte)));
        return half_words<fp16>::low(pair);
#else
        return e4m3::decode(static_cast<std::uint8_t>(byte));
#endif
    } else {
        return byte == 0 || byte == 255 ? e8m0::decode(static_cast<std::uint8_t>(byte))
                                        : bits_of<float>(byte << 23);
    }
}

/// fl(stored / G): by the reciprocal and one exact remainder where nothing can be subnormal.
struct step_divider {
    float global;
    float inverse;
    bool plain;

    __device__ explicit step_divider(float g)
        : global(g), inverse(div_rn(1.0F, g)), plain(is_plain_global(g)) {}
    __device__ float operator()(float stored) const {
        if (!(plain && stored >= 0x1p-60F && stored <= 0x1p100F)) {
            return div_rn(stored, global);
        }
        float const q = mul_rn(stored, inverse);
        return fma_rn(fma_rn(-q, global, stored), inverse, q);
    }
};

/// 2^-126 times the value of the E2M1 code in bits 4i .. 4i + 3 of `word`: its magnitude bits moved
/// to the exponent field of a float.
__device__ inline float e2m1_scaled(std::uint32_t word, int i) {
    auto const top = static_cast<std::int32_t>(word << (28 - 4 * i));
    return bits_of<float>(static_cast<std::uint32_t>(top >> 6) & 0x81C00000u);
}

template <class Out>
struct store_words {
    /// 8 values as four words, or for float as eight.
    __device__ static void store(Out* to, float const* v) {
        using op = half_words<Out>;
        *reinterpret_cast<uint4*>(to) = {op::pack(v[0], v[1]), op::pack(v[2], v[3]),
                                         op::pack(v[4], v[5]), op::pack(v[6], v[7])};
    }
};
template <>
struct store_words<float> {
    __device__ static void store(float* to, float const* v) {
        reinterpret_cast<float4*>(to)[0] = {v[0], v[1], v[2], v[3]};
        reinterpret_cast<float4*>(to)[1] = {v[4], v[5], v[6], v[7]};
    }
};

/// 16 decoded values of one segment.
template <block_format Format>
__device__ void decode_segment(uint4 w, float s, float (&v)[16]) {
    std::uint32_t const word[4] = {w.x, w.y, w.z, w.w};
    FPQ_UNROLL
    for (int i = 0; i < 16; ++i) {
        if constexpr (Format == block_format::mxfp8) {
            std::uint32_t const byte = (word[i / 4] >> (8 * (i % 4))) & 0xFFu;
            v[i] = mul_rn(stored_value<block_format::nvfp4>(byte), s);
        } else {
            v[i] = mul_rn(e2m1_scaled(word[i / 8], i % 8) * 0x1p126F, s);
        }
    }
}

/// Turns segments of 16 values a thread.
template <class Out, block_format Format, int Turns>
__global__ void __launch_bounds__(256) dequantize_segments(dequantize_work const work) {
    constexpr unsigned wide = Format == block_format::nvfp4 ? 0u : 1u;
    std::uint32_t const first = blockIdx.x * (256 * Turns) + threadIdx.x;
    step_divider const divide(work.global_scale());
    segment_place place[Turns];
    bool inside[Turns];
    uint4 word[Turns];
    std::uint32_t byte[Turns];
    FPQ_UNROLL
    for (int k = 0; k < Turns; ++k) {
        std::uint32_t const unit = first + k * 256;
        place[k] = work.map.place<false>(unit);  // along the rows, wherever the scales are
        auto const [row, seg, in_order] = place[k];
        inside[k] = unit < work.map.units;
        if (inside[k]) {
            std::uint32_t const scale =
                work.map.swizzled ? work.map.swizzled_scale(row, seg >> wide) : in_order;
            std::size_t const at = row * static_cast<std::size_t>(work.map.segs) + seg;
            if constexpr (Format == block_format::mxfp8) {
                word[k] = __ldg(reinterpret_cast<uint4 const*>(work.codes) + at);
            } else {
                uint2 const w = __ldg(reinterpret_cast<uint2 const*>(work.codes) + at);
                word[k] = {w.x, w.y, 0, 0};
            }
            byte[k] = __ldg(work.scales + scale);
        }
    }
    FPQ_UNROLL
    for (int k = 0; k < Turns; ++k) {
        if (inside[k]) {
            float v[16];
            decode_segment<Format>(word[k], divide(stored_value<Format>(byte[k])), v);
            Out* const out =
                static_cast<Out*>(work.out) + place[k].row * work.stride + place[k].seg * segment;
            store_words<Out>::store(out, v);
            store_words<Out>::store(out + 8, v + 8);
        }
    }
}

/// The plain version: one value a thread, any width and alignment.
template <class Out>
__global__ void __launch_bounds__(256)
    dequantize_general(dequantize_work const work, block_format format, std::size_t rows) {
    std::size_t const i = std::size_t{blockIdx.x} * 256 + threadIdx.x;
    if (i >= rows * work.cols) {
        return;
    }
    std::size_t const row = i / work.cols;
    std::size_t const col = i % work.cols;
    std::uint32_t const group = static_cast<std::uint32_t>(col / group_of(format));
    float const s =
        step_of(format, work.scales[work.scale_index(static_cast<std::uint32_t>(row), group)],
                work.global_scale());
    std::size_t const row_bytes = (work.cols * static_cast<std::size_t>(code_bits(format)) + 7) / 8;
    std::uint8_t const code = packed_code(code_bits(format), work.codes + row * row_bytes, col);
    float const element = format == block_format::mxfp8 ? e4m3::decode(code) : e2m1::decode(code);
    float const value = mul_rn(element, s);
    Out* const out = static_cast<Out*>(work.out) + row * work.stride + col;
    if constexpr (sizeof(Out) == 4) {
        *out = value;
    } else {
        out->bits = static_cast<std::uint16_t>(half_words<Out>::pack(value, 0.0F));
    }
}

}  // namespace fpq::cuda
