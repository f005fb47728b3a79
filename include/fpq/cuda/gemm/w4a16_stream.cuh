// SPDX-License-Identifier: Apache-2.0
// Wing cuda. W4A16 for few tokens: out (m, n) = alpha * x (m, k) * w (n, k)^T + bias, w packed
// E2M1 row-major. Every weight byte is read once, straight into registers.
//
// Grid (ctas, k windows, token blocks of 8 or 16); 16 warps a CTA, one CTA a multiprocessor. A
// warp keeps the activations of its 256 columns of k in registers for its whole life and walks
// down the rows of w, 16 at a time. The weights are the A operand of mma.m16n8k16, so 2 to 8
// tokens cost the same (one has w4a16_single.cuh). A lane reads 32 consecutive codes of a row;
// which k of the instruction they stand for does not matter, since the activations are permuted
// alike. The 16 partial sums of a row tile meet in shared memory and are added in the order of
// the warps; k windows are added in order by the CTA that finishes last: the result does not
// depend on timing. Memory bandwidth sets the limit.
//
//          k: |warp 0: 2 x 128|warp 1|  ...  |warp 15|        lane 4g + t: rows g and g + 8,
//   16 rows   |               |      |       |       |        codes 32t .. 32t + 31 of each 128
#pragma once

#include <cstddef>
#include <cstdint>

#include "fpq/cuda/gemm/w4a16_args.hpp"
#include "fpq/cuda/gemm/w4a16_decode.cuh"
#include "fpq/cuda/gemm/w4a16_finish.cuh"

namespace fpq::cuda {

namespace detail {

/// Shared memory of the row tile's partial sums; 20 floats a token keep stores free of conflicts.
inline constexpr int stream_sum_stride = 20;

template <int TokenTiles>
struct stream_sums {
    float at[2][w4a16_stream::warps][8 * TokenTiles][stream_sum_stride];
};

/// One lane's weights of a row tile: codes of 2 rows x 2 chunks and their scales.
template <class Weight>
struct stream_fragment {
    uint4 codes[2][2];
    typename Weight::raw_scale scales[2][2];
};

/// Eight activations from k on, zero past the end; rows need not be aligned.
template <class Math>
__device__ __forceinline__ uint4 load_activations(w4a16_args const& p, unsigned token, unsigned k) {
    auto const* from = static_cast<typename Math::storage const*>(p.x) + (token * p.x_stride + k);
    if (p.x_aligned) {
        return *reinterpret_cast<uint4 const*>(from);
    }
    std::uint32_t word[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        word[i] = from[2 * i].bits | (static_cast<std::uint32_t>(from[2 * i + 1].bits) << 16);
    }
    return {word[0], word[1], word[2], word[3]};
}

}  // namespace detail

/// Ahead: row tiles that are on their way while one is multiplied.
template <class Math, class Weight, int TokenTiles, int Ahead>
__global__ void __launch_bounds__(w4a16_stream::threads, 1)
    w4a16_stream_kernel(w4a16_args const p, w4a16_ahead const ahead) {
    using fragment = detail::stream_fragment<Weight>;
    __shared__ detail::stream_sums<TokenTiles> sums;
    int const lane = static_cast<int>(threadIdx.x) % 32;
    int const warp = static_cast<int>(threadIdx.x) / 32;
    int const g = lane / 4;
    int const t = lane % 4;
    unsigned const first_token = blockIdx.z * (8u * TokenTiles);
    int const tokens = min(static_cast<int>(p.m - first_token), 8 * TokenTiles);
    int const tiles = static_cast<int>((p.n + 15) / 16);

    // This lane's place in k: the first column of its 32-code vector in each of two chunks. Offsets
    // are 32 bits wide: registers are what this kernel is short of.
    int const chunk = 2 * warp;
    unsigned const column = (blockIdx.y * p.chunks_per_window + chunk) * 128u + 32u * t;
    bool const in_k[2] = {chunk < p.chunks_per_window && column < p.k,
                          chunk + 1 < p.chunks_per_window && column + 128 < p.k};
    unsigned const code_column = column / 2;
    unsigned const scale_column = p.scales_at.column(column / p.group);
    unsigned const scale_chunk = p.scales_at.column(128 / p.group);  // from one chunk to the next

    int const step = static_cast<int>(gridDim.x);
    // A row tile's codes and scales; past the last tile nothing is read.
    auto const load_tile = [&](fragment& f, int tile) {
        if (tile >= tiles) {
            return;
        }
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            unsigned const row = min(16u * tile + g + 8 * r, p.n - 1);
            std::uint8_t const* const codes = p.codes + (row * p.row_bytes + code_column);
            std::uint8_t const* const scales = p.scales + (p.scales_at.row(row) + scale_column);
#pragma unroll
            for (int i = 0; i < 2; ++i) {
                if (in_k[i]) {
                    f.codes[r][i] = ptx::load_stream_16(codes + 64 * i);
                    f.scales[r][i] = *reinterpret_cast<typename Weight::raw_scale const*>(
                        scales + scale_chunk * i);
                }
            }
        }
    };

    fragment held[Ahead] = {};  // of the next row tiles; outside k all zero for ever
#pragma unroll
    for (int s = 0; s < Ahead; ++s) {
        load_tile(held[s], static_cast<int>(blockIdx.x) + s * step);
    }
    ptx::allow_next_kernel();
    ptx::wait_for_previous_kernel();  // weights are constant; activations come from that kernel

    // b[token tile][chunk][word][pair]: activations k and k + 4 of a word, as the decoder pairs.
    std::uint32_t b[TokenTiles][2][4][4];
#pragma unroll
    for (int n = 0; n < TokenTiles; ++n) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
#pragma unroll
            for (int q = 0; q < 4; ++q) {
                uint4 v = make_uint4(0, 0, 0, 0);
                if (in_k[i] && g + 8 * n < tokens) {
                    v = detail::load_activations<Math>(p, first_token + g + 8 * n,
                                                       column + 128 * i + 8 * q);
                }
                b[n][i][q][0] = __byte_perm(v.x, v.z, 0x5410);
                b[n][i][q][1] = __byte_perm(v.x, v.z, 0x7632);
                b[n][i][q][2] = __byte_perm(v.y, v.w, 0x5410);
                b[n][i][q][3] = __byte_perm(v.y, v.w, 0x7632);
            }
        }
    }

    // Multiplies a row tile and refills its registers with the tile `refill` as soon as they
    // have been read.
    auto const multiply_tile = [&](fragment& f, float(&acc)[TokenTiles][4], int refill) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            std::uint32_t scale[2][2];
            Weight::template multipliers<Math>(f.scales[0][i], scale[0]);
            Weight::template multipliers<Math>(f.scales[1][i], scale[1]);
            std::uint32_t const word[2][4] = {
                {f.codes[0][i].x, f.codes[0][i].y, f.codes[0][i].z, f.codes[0][i].w},
                {f.codes[1][i].x, f.codes[1][i].y, f.codes[1][i].z, f.codes[1][i].w}};
            if (i == 1) {
                load_tile(f, refill);
            }
#pragma unroll
            for (int q = 0; q < 4; ++q) {
                four_pairs const upper = Math::decode(word[0][q]);
                four_pairs const lower = Math::decode(word[1][q]);
#pragma unroll
                for (int h = 0; h < 2; ++h) {
                    std::uint32_t const a[4] = {
                        Math::multiply(upper.pair[2 * h], scale[0][q / 2]),
                        Math::multiply(lower.pair[2 * h], scale[1][q / 2]),
                        Math::multiply(upper.pair[2 * h + 1], scale[0][q / 2]),
                        Math::multiply(lower.pair[2 * h + 1], scale[1][q / 2])};
#pragma unroll
                    for (int n = 0; n < TokenTiles; ++n) {
                        Math::mma(acc[n], a, b[n][i][q][2 * h], b[n][i][q][2 * h + 1]);
                    }
                }
            }
        }
    };

    float const alpha = p.scale_of_output();
    auto const one_tile = [&](fragment& f, int tile, int turn) {
        float acc[TokenTiles][4] = {};
        multiply_tile(f, acc, tile + Ahead * step);

        // Two buffers: whoever still adds up this tile is past it before anyone writes it again.
        auto& partial = sums.at[turn % 2];
#pragma unroll
        for (int n = 0; n < TokenTiles; ++n) {
            float* const own = &partial[warp][8 * n + 2 * t][g];
            own[0] = acc[n][0];
            own[detail::stream_sum_stride] = acc[n][1];
            own[8] = acc[n][2];
            own[detail::stream_sum_stride + 8] = acc[n][3];
        }
        __syncthreads();
        // The adding moves on by four warps a tile.
        int const e = (static_cast<int>(threadIdx.x) + 128 * turn) % w4a16_stream::threads;
        unsigned const row = 16u * tile + e % 16;
        if (e < 16 * tokens && row < p.n) {
            float sum = 0.0F;
#pragma unroll
            for (int w = 0; w < w4a16_stream::warps; ++w) {
                sum += partial[w][e / 16][e % 16];
            }
            detail::store_window_sum(p, alpha, first_token + e / 16, row, sum);
        }
    };
    int turn = 0;
    for (int tile = static_cast<int>(blockIdx.x); tile < tiles;) {
#pragma unroll
        for (int s = 0; s < Ahead; ++s) {
            if (tile < tiles) {
                one_tile(held[s], tile, turn);
            }
            tile += step;
            ++turn;
        }
    }
    detail::ask_ahead(ahead);
    detail::add_windows(p, alpha, first_token, static_cast<unsigned>(tokens));
}

}  // namespace fpq::cuda
