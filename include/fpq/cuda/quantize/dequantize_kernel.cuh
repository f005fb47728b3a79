// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Codes and scales back to bf16, fp16 or fp32: fl(code * fl(scale / G)), then nearest.
// A thread decodes 8 neighbouring values of two rows, or of the four rows 32 apart whose scales are
// neighbours in the swizzle, so that a warp stores whole lines and has several loads under way.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fpq/cuda/ptx/half_words.cuh"
#include "fpq/cuda/quantize/work.cuh"
#include "fpq/format/pack.hpp"

namespace fpq::cuda {

struct dequantize_work : scaled_work {
    std::uint8_t const* codes = nullptr;
    std::uint8_t const* scales = nullptr;
    void* out = nullptr;
    std::size_t stride = 0;  // of out, values
    std::uint32_t rows = 0;
    std::uint32_t pieces = 0;  // of 8 values, of a row
    fast_divisor blocks{};     // of a row
};

/// Value of a stored scale byte.
template <class Block>
__device__ float stored_value(std::uint32_t byte) {
    if constexpr (Block::has_global_scale) {
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

/// 8 codes of FP4, or of 8 bits.
template <class Block>
struct code_piece {
    std::uint32_t word;  // value i in bits 4 i .. 4 i + 3
    __device__ float operator[](int i) const { return e2m1_scaled(word, i) * 0x1p126F; }
};
template <>
struct code_piece<mxfp8_e4m3_block> {
    uint2 word;
    __device__ float operator[](int i) const {
        std::uint32_t const four = i < 4 ? word.x : word.y;
        return stored_value<nvfp4_block>((four >> (8 * (i % 4))) & 0xFFu);
    }
};

/// Rows that a thread decodes: with swizzled scales those whose bytes are in its 16.
FPQ_HD constexpr int dequantize_rows_each(bool swizzled) { return swizzled ? 4 : 2; }

/// A block a row (or Swizzled: a row of each quarter of 128) and blockDim.x pieces of it.
template <class Out, class Block, bool Swizzled>
__global__ void __launch_bounds__(256) dequantize_pieces(dequantize_work const work) {
    constexpr int count = dequantize_rows_each(Swizzled);
    constexpr std::uint32_t apart = Swizzled ? 32 : 1;
    using piece = code_piece<Block>;
    std::uint32_t const unit = work.blocks.divide(blockIdx.x);
    std::uint32_t const at = (blockIdx.x - unit * work.blocks.divisor) * blockDim.x + threadIdx.x;
    if (at >= work.pieces) {
        return;
    }
    std::uint32_t const row = Swizzled ? (unit >> 5) * 128 + (unit & 31u) : unit * count;
    std::uint32_t const group = Block::has_global_scale ? at >> 1 : at >> 2;
    piece codes[count];
    std::uint32_t byte[count];
    FPQ_UNROLL
    for (int k = 0; k < count; ++k) {
        std::uint32_t const r = min(row + k * apart, work.rows - 1);
        codes[k].word = __ldg(reinterpret_cast<decltype(codes->word) const*>(work.codes) +
                              (r * static_cast<std::size_t>(work.pieces) + at));
        if constexpr (!Swizzled) {
            byte[k] = __ldg(work.scales + (r * work.groups + group));
        }
    }
    if constexpr (Swizzled) {
        uint4 const four = __ldg(reinterpret_cast<uint4 const*>(
            work.scales + swizzled_scales{work.groups}(row, group & ~3u)));
        std::uint32_t const word[4] = {four.x, four.y, four.z, four.w};
        FPQ_UNROLL
        for (int k = 0; k < count; ++k) {
            byte[k] = (word[k] >> (8 * (group & 3u))) & 0xFFu;
        }
    }
    step_divider const divide(work.global_scale());
    FPQ_UNROLL
    for (int k = 0; k < count; ++k) {
        std::uint32_t const r = row + k * apart;
        if (r < work.rows) {
            float const s = divide(stored_value<Block>(byte[k]));
            float v[8];
            FPQ_UNROLL
            for (int i = 0; i < 8; ++i) {
                v[i] = mul_rn(codes[k][i], s);
            }
            store_words<Out>::store(static_cast<Out*>(work.out) + (r * work.stride + at * 8u), v);
        }
    }
}

/// The plain version: one value a thread, any width and alignment.
template <class Out>
__global__ void __launch_bounds__(256)
    dequantize_general(dequantize_work const work, quant_format format, std::size_t rows) {
    std::size_t const i = std::size_t{blockIdx.x} * 256 + threadIdx.x;
    if (i >= rows * work.cols) {
        return;
    }
    std::size_t const row = i / work.cols;
    std::size_t const col = i % work.cols;
    std::uint32_t const group = static_cast<std::uint32_t>(col / format.group);
    float const s =
        step_of(format.scale, work.scales[work.scale_index(static_cast<std::uint32_t>(row), group)],
                work.global_scale());
    std::size_t const row_bytes =
        (work.cols * static_cast<std::size_t>(element_bits(format.element)) + 7) / 8;
    std::uint8_t const code =
        packed_code(element_bits(format.element), work.codes + row * row_bytes, col);
    float const element =
        format.element == element_kind::e4m3 ? e4m3::decode(code) : e2m1::decode(code);
    float const value = mul_rn(element, s);
    Out* const out = static_cast<Out*>(work.out) + row * work.stride + col;
    if constexpr (sizeof(Out) == 4) {
        *out = value;
    } else {
        out->bits = static_cast<std::uint16_t>(half_words<Out>::pack(value, 0.0F));
    }
}

}  // namespace fpq::cuda
