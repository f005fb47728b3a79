// SPDX-License-Identifier: Apache-2.0
// Wing cuda. A warp's 16 blocks times the unnormalised Hadamard matrix of 16, 32, 64 or 128, on the
// tensor cores; lanes and columns as rotation_map.cuh has them. Device.
//
// Products with +-1 are exact and sums are float32, in the order of the instruction; the caller
// multiplies by 1 / sqrt(size).
#pragma once

#include "fpq/cuda/half_mma.cuh"
#include "fpq/cuda/rotation_map.cuh"

namespace fpq::cuda {

/// Halves of a block row: 64 columns each.
template <int Size>
inline constexpr int rotation_halves = Size == 128 ? 2 : 1;

/// The B operand: entries of the mma's matrix for this lane.
template <class Half, int Size>
struct rotation_operand {
    std::uint32_t word[2][4][2];  // step, tile, register

    __device__ void prepare(std::uint32_t lane) {
        std::uint32_t const n = lane >> 2;
        std::uint32_t const t = lane & 3u;
        FPQ_UNROLL
        for (std::uint32_t s = 0; s < 2; ++s) {
            FPQ_UNROLL
            for (std::uint32_t j = 0; j < 4; ++j) {
                FPQ_UNROLL
                for (std::uint32_t i = 0; i < 2; ++i) {
                    std::uint32_t const out = column_of_n(j, n);
                    auto const entry = [out](std::uint32_t in) {
                        int const sign = mma_sign(Size, in, out);
                        return sign == 0 ? 0u : half_mma<Half>::one | (sign < 0 ? 0x8000u : 0u);
                    };
                    std::uint32_t const k = 8 * i + 2 * t;
                    word[s][j][i] = entry(column_of_k(s, k)) | (entry(column_of_k(s, k + 1)) << 16);
                }
            }
        }
    }
};

/// What a lane holds of one 64-column half: rows q = lane / 4 and q + 8, 16 columns each.
struct rotated_half {
    float value[2][16];  // row, column
};

/// x[row][word]: 16 values of rows q and q + 8, packed. Returns their half times the mma's matrix,
/// chunks combined.
template <class Half, int Size>
__device__ void rotate_half(std::uint32_t const (&x)[2][8],
                            rotation_operand<Half, Size> const& operand, rotated_half& out) {
    FPQ_UNROLL
    for (int j = 0; j < 4; ++j) {
        float c[2][4] = {};
        FPQ_UNROLL
        for (int chunk = 0; chunk < 2; ++chunk) {
            FPQ_UNROLL
            for (int s = 0; s < 2; ++s) {
                int const w = 4 * chunk + 2 * s;
                half_mma<Half>::add(c[chunk], x[0][w], x[1][w], x[0][w + 1], x[1][w + 1],
                                    operand.word[s][j][0], operand.word[s][j][1]);
            }
        }
        FPQ_UNROLL
        for (int i = 0; i < 4; ++i) {
            int const row = i / 2;
            int const column = 2 * j + i % 2;
            out.value[row][column] = c[0][i] + c[1][i];
            out.value[row][column + 8] = c[0][i] - c[1][i];
        }
    }
}

/// The last stage of size 128: a, b = a + b, a - b.
__device__ inline void join_halves(rotated_half& a, rotated_half& b) {
    FPQ_UNROLL
    for (int row = 0; row < 2; ++row) {
        FPQ_UNROLL
        for (int i = 0; i < 16; ++i) {
            float const low = a.value[row][i];
            float const high = b.value[row][i];
            a.value[row][i] = low + high;
            b.value[row][i] = low - high;
        }
    }
}

}  // namespace fpq::cuda
