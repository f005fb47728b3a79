// SPDX-License-Identifier: Apache-2.0
// Wing cuda. A warp's 16 blocks times the unnormalised Hadamard matrix of 16, 32, 64 or 128, on the
// tensor cores; lanes and columns as rotation_map.cuh has them. Device.
//
// Products with +-1 are exact and sums are float32, in the order of the instruction; the caller
// multiplies by 1 / sqrt(size).
#pragma once

#include <cstdint>

#include "fpq/cuda/ptx/half_mma.cuh"
#include "fpq/cuda/quantize/rotation_map.cuh"

namespace fpq::cuda {

/// Halves of a block row: 64 columns each.
template <int Size>
inline constexpr int rotation_halves = Size == 128 ? 2 : 1;

/// The B operand: entries of the mma's matrix for this lane, and their negatives.
template <class Half, int Size>
struct rotation_operand {
    std::uint32_t plus[2][2];  // tile, register
    std::uint32_t minus[2][2];

    __device__ void prepare(std::uint32_t lane) {
        FPQ_UNROLL
        for (std::uint32_t j = 0; j < 2; ++j) {
            FPQ_UNROLL
            for (std::uint32_t i = 0; i < 2; ++i) {
                std::uint32_t const out = column_of_n(j, lane >> 2);
                auto const entry = [out](std::uint32_t in) {
                    int const sign = mma_sign(Size, in, out);
                    return sign == 0 ? 0u : half_mma<Half>::one | (sign < 0 ? 0x8000u : 0u);
                };
                std::uint32_t const k = 8 * i + 2 * (lane & 3u);
                plus[j][i] = entry(column_of_k(k)) | (entry(column_of_k(k + 1)) << 16);
                minus[j][i] = plus[j][i] ^ 0x80008000u;
            }
        }
    }
};

/// x (8 words: 16 values of a lane's block row) times the mma's matrix, chunks and word pairs
/// combined: out (16). All lanes of the warp enter.
template <class Half, int Size>
__device__ void rotate_segment(std::uint32_t const (&x)[8],
                               rotation_operand<Half, Size> const& operand, float (&out)[16]) {
    using mma = half_mma<Half>;
    FPQ_UNROLL
    for (int j = 0; j < 2; ++j) {
        std::uint32_t const(&p)[2] = operand.plus[j];
        std::uint32_t const(&m)[2] = operand.minus[j];
        float c[2][4] = {};
        mma::add(c[0], x[0], x[1], x[2], x[3], p[0], p[1]);
        mma::add(c[1], x[0], x[1], x[2], x[3], p[0], p[1]);
        mma::add(c[0], x[4], x[5], x[6], x[7], p[0], p[1]);
        mma::add(c[1], x[4], x[5], x[6], x[7], m[0], m[1]);
        FPQ_UNROLL
        for (int chunk = 0; chunk < 2; ++chunk) {
            FPQ_UNROLL
            for (int i = 0; i < 2; ++i) {
                int const at = 8 * chunk + 4 * j + i;
                out[at] = c[chunk][i] + c[chunk][i + 2];
                out[at + 2] = c[chunk][i] - c[chunk][i + 2];
            }
        }
    }
}

/// The last stage of size 128: a, b = a + b, a - b.
__device__ inline void join_halves(float (&a)[16], float (&b)[16]) {
    FPQ_UNROLL
    for (int i = 0; i < 16; ++i) {
        float const low = a[i];
        float const high = b[i];
        a[i] = low + high;
        b[i] = low - high;
    }
}

}  // namespace fpq::cuda
