// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Packed E2M1 weights to bf16 or fp16 without their global scale, which the matrix
// product that follows applies to its sums: element * scale is exact in bf16 for every E4M3 scale
// and all but the outermost E8M0 scales. A thread decodes 16 codes; bandwidth sets the limit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "fpq/core/half.hpp"
#include "fpq/cuda/ptx_mma.cuh"
#include "fpq/cuda/store_output.cuh"
#include "fpq/cuda/w4a16_args.hpp"
#include "fpq/cuda/w4a16_decode.hpp"
#include "fpq/format/minifloat.hpp"

namespace fpq::cuda {

/// Eight codes to eight consecutive bf16 of element * scale; `multiplier` is the scale, twice.
__device__ __forceinline__ uint4 dequantize_word(std::uint32_t word, std::uint32_t multiplier,
                                                 bf16) {
    four_pairs p = e2m1_to_bf16_pairs(word);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        p.pair[i] = ptx::mul_bf16x2(ptx::mul_bf16x2(p.pair[i], 0x7E807E80u), multiplier);  // 2^126
    }
    return {__byte_perm(p.pair[0], p.pair[1], 0x5410), __byte_perm(p.pair[2], p.pair[3], 0x5410),
            __byte_perm(p.pair[0], p.pair[1], 0x7632), __byte_perm(p.pair[2], p.pair[3], 0x7632)};
}

/// The same in fp16, rounded to nearest; scales beyond fp16 take part as float32.
__device__ __forceinline__ uint4 dequantize_word(std::uint32_t word, float scale, fp16) {
    std::uint32_t out[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        std::uint32_t const low = to_fp16(e2m1::decode(word >> (8 * i) & 15u) * scale).bits;
        std::uint32_t const high = to_fp16(e2m1::decode(word >> (8 * i + 4) & 15u) * scale).bits;
        out[i] = low | (high << 16);
    }
    return {out[0], out[1], out[2], out[3]};
}

template <class Storage, bool Nv>
__global__ void __launch_bounds__(256) w4a16_dequantize_kernel(w4a16_args const p, Storage* to) {
    unsigned const per_row = p.k / 16;
    unsigned const i = blockIdx.x * 256 + threadIdx.x;
    unsigned const row = i / per_row;
    unsigned const col = i % per_row * 16;
    if (row >= p.n) {
        return;
    }
    std::uint8_t const byte =
        p.scales[p.scales_at.row(row) + p.scales_at.column(col / (Nv ? 16 : 32))];
    float const scale = Nv ? e4m3::decode(byte) : e8m0::decode(byte);
    auto const codes = *reinterpret_cast<uint2 const*>(p.codes + row * p.row_bytes + col / 2);
    auto* const out = reinterpret_cast<uint4*>(to + std::size_t{row} * p.k + col);
    if constexpr (std::is_same_v<Storage, bf16>) {
        std::uint32_t const bits = bits_of<std::uint32_t>(scale) >> 16;
        out[0] = dequantize_word(codes.x, bits * 0x10001u, bf16{});
        out[1] = dequantize_word(codes.y, bits * 0x10001u, bf16{});
    } else {
        out[0] = dequantize_word(codes.x, scale, fp16{});
        out[1] = dequantize_word(codes.y, scale, fp16{});
    }
}

/// The obvious W4A16 product, the oracle of the fast ones and the path of shapes they refuse: one
/// thread an output, float32 sums in order of k.
template <class Storage, bool Nv>
__global__ void __launch_bounds__(256) w4a16_reference_kernel(w4a16_args const p) {
    std::size_t const i = static_cast<std::size_t>(blockIdx.x) * 256 + threadIdx.x;
    if (i >= std::size_t{p.m} * p.n) {
        return;
    }
    auto const token = static_cast<unsigned>(i / p.n);
    auto const row = static_cast<unsigned>(i % p.n);
    auto const* const x = static_cast<Storage const*>(p.x) + token * p.x_stride;
    float sum = 0.0F;
    for (unsigned j = 0; j < p.k; ++j) {
        std::uint8_t const byte =
            p.scales[p.scales_at.row(row) + p.scales_at.column(j / (Nv ? 16 : 32))];
        std::uint8_t const code = p.codes[row * p.row_bytes + j / 2] >> (j % 2 * 4) & 15u;
        sum += e2m1::decode(code) * (Nv ? e4m3::decode(byte) : e8m0::decode(byte)) * to_float(x[j]);
    }
    float const value = p.scale_of_output() * sum + (p.bias != nullptr ? p.bias[row] : 0.0F);
    store_output(p.out, p.out_type, i, value);
}

}  // namespace fpq::cuda
