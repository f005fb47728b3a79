// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Packed E2M1 weights to bf16 or fp16 without their global scale, which the matrix
// product that follows applies to its sums: element * scale is exact in bf16 for every E4M3 scale
// and all but the outermost E8M0 scales, and in fp16 for every E4M3 scale; fp16 from E8M0 is
// rounded. A thread decodes eight codes in each of two rows, so that a warp stores 512 bytes at
// once; bandwidth sets the limit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "fpq/core/half.hpp"
#include "fpq/cuda/gemm/w4a16_args.hpp"
#include "fpq/cuda/gemm/w4a16_decode.hpp"
#include "fpq/cuda/ptx/mma.cuh"
#include "fpq/format/minifloat.hpp"

namespace fpq::cuda {

namespace detail {

/// The scale of a byte, twice, in the 16-bit type; exact for E4M3 and, in bf16, for E8M0.
template <class Storage, bool Nv>
__device__ __forceinline__ std::uint32_t scale_pair(std::uint32_t byte) {
    if constexpr (std::is_same_v<Storage, bf16>) {
        if constexpr (Nv) {  // E4M3 bits 4 places up are bf16 of scale * 2^-120
            return ptx::mul_bf16x2(ptx::mul_bf16x2(byte * 0x00100010u, 0x7F007F00u), 0x3C003C00u);
        }
        return (bits_of<std::uint32_t>(e8m0::decode(static_cast<std::uint8_t>(byte))) >> 16) *
               0x10001u;
    } else {  // E4M3 bits 7 places up are fp16 of scale * 2^-8
        return ptx::mul_fp16x2(byte * 0x00800080u, 0x5C005C00u);
    }
}

/// Eight codes to eight consecutive values of element * scale.
template <class Storage, bool Nv>
__device__ __forceinline__ uint4 dequantize_word(std::uint32_t word, std::uint8_t byte) {
    if constexpr (!Nv && std::is_same_v<Storage, fp16>) {
        float const scale = e8m0::decode(byte);
        std::uint32_t out[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            auto const pair = static_cast<std::uint8_t>(word >> (8 * i));
            std::uint32_t const low = to_fp16(e2m1::decode(pair & 15u) * scale).bits;
            std::uint32_t const high = to_fp16(e2m1::decode(pair >> 4) * scale).bits;
            out[i] = low | (high << 16);
        }
        return {out[0], out[1], out[2], out[3]};
    } else {
        std::uint32_t const scale = scale_pair<Storage, Nv>(byte);
        four_pairs p;
        if constexpr (std::is_same_v<Storage, bf16>) {
            p = e2m1_to_bf16_pairs(word);
#pragma unroll
            for (std::uint32_t& pair : p.pair) {
                pair = ptx::mul_bf16x2(ptx::mul_bf16x2(pair, 0x7E807E80u), scale);  // 2^126
            }
        } else {
            p = e2m1_to_fp16_pairs(word);
#pragma unroll
            for (std::uint32_t& pair : p.pair) {
                pair = ptx::mul_fp16x2(ptx::mul_fp16x2(pair, 0x74007400u), scale);  // 2^14
            }
        }
        return {
            __byte_perm(p.pair[0], p.pair[1], 0x5410), __byte_perm(p.pair[2], p.pair[3], 0x5410),
            __byte_perm(p.pair[0], p.pair[1], 0x7632), __byte_perm(p.pair[2], p.pair[3], 0x7632)};
    }
}

}  // namespace detail

/// Rows that one thread decodes before it moves on.
inline constexpr unsigned dequantize_rows = 2;

/// Grid (ceil(k / 2048), at most ceil(n / dequantize_rows)). The first thread also writes factors =
/// {alpha, beta}.
template <class Storage, bool Nv>
__global__ void __launch_bounds__(256)
    w4a16_dequantize_kernel(w4a16_args const p, Storage* to, float* factors) {
    unsigned const col = (blockIdx.x * 256 + threadIdx.x) * 8;
    if (col == 0 && blockIdx.y == 0) {
        factors[0] = p.scale_of_output();
        factors[1] = p.bias != nullptr ? 1.0F : 0.0F;
    }
    if (col >= p.k) {
        return;
    }
    unsigned const scale_column = p.scales_at.column(col / (Nv ? 16 : 32));
    for (unsigned first = blockIdx.y * dequantize_rows; first < p.n;
         first += gridDim.y * dequantize_rows) {
        std::uint32_t word[dequantize_rows];
        std::uint8_t byte[dequantize_rows];
#pragma unroll
        for (unsigned r = 0; r < dequantize_rows; ++r) {
            unsigned const row = min(first + r, p.n - 1);
            word[r] =
                *reinterpret_cast<std::uint32_t const*>(p.codes + (row * p.row_bytes + col / 2));
            byte[r] = p.scales[p.scales_at.row(row) + scale_column];
        }
#pragma unroll
        for (unsigned r = 0; r < dequantize_rows; ++r) {
            if (first + r < p.n) {
                *reinterpret_cast<uint4*>(to + (std::size_t{first + r} * p.k + col)) =
                    detail::dequantize_word<Storage, Nv>(word[r], byte[r]);
            }
        }
    }
}

}  // namespace fpq::cuda
