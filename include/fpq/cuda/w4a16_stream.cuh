// SPDX-License-Identifier: Apache-2.0
// Wing cuda. W4A16 for few tokens: out (m, n) = alpha * x (m, k) * w (n, k)^T + bias, w packed
// E2M1 row-major. Every weight byte is read once, straight into registers.
//
// Grid (ctas, k windows, token blocks of 8 or 16); 16 warps a CTA, one CTA a multiprocessor. The
// activations of the window lie in shared memory, permuted as the fragments want them. Four warps
// are a group and share a row tile of 16 rows, each with every fourth pair of chunks of 128
// columns; a warp's chunks form one stream with `Ahead` of them under way, across row tiles, and
// groups do not wait for each other. The weights are the A operand of mma.m16n8k16, so 1 to 8
// tokens cost the same. A lane reads 32 consecutive codes of a row; which k of the instruction they
// stand for does not matter, since the activations are permuted alike. The four sums of a row tile
// are added in the order of the warps, k windows in order by the CTA that finishes last: the result
// does not depend on timing. Memory bandwidth sets the limit, closely followed by the decoding.
//
//          k: |warp 0: 2 x 128|warp 1|warp 2|warp 3|warp 0| ...   lane 4g + t: rows g and g + 8,
//   16 rows   |               |      |      |      |      |       codes 32t .. 32t + 31 of each 128
#pragma once

#include <cstddef>
#include <cstdint>

#include "fpq/cuda/store_output.cuh"
#include "fpq/cuda/w4a16_args.hpp"
#include "fpq/cuda/w4a16_decode.cuh"

namespace fpq::cuda {

namespace detail {

/// Partial sums of a group's row tile, two tiles in turn; 20 floats a token keep stores free of
/// bank conflicts.
template <int TokenTiles>
struct stream_sums {
    static constexpr int stride = 20;
    float at[2][w4a16_stream::group_warps][8 * TokenTiles][stride];
};

/// One lane's weights of two chunks: 32 codes of two rows each, and their scale bytes.
struct stream_fragment {
    uint4 codes[2][2];  // chunk, row
    std::uint32_t scales[2][2];
};

/// Eight activations from k on; rows need not be aligned.
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

/// Fills shared memory with the window's activations in steps of eight chunks, zero beyond the
/// window, k and the last token: 16 bytes of
/// word q, lane 4 * (token % 8) + t, of a chunk hold the pairs (k, k + 4) of the eight columns
/// 32 t + 8 q of that chunk.
template <class Math, int TokenTiles>
__device__ __forceinline__ void stage_activations(w4a16_args const& p, std::uint8_t* staged,
                                                  unsigned first_token, int tokens,
                                                  unsigned first_chunk) {
    int const pieces = (p.chunks_per_window + 7) / 8 * 8 * 16;  // of eight columns
    for (int piece = static_cast<int>(threadIdx.x); piece < pieces;
         piece += w4a16_stream::threads) {
        int const chunk = piece / 16;
        int const t = piece / 4 % 4;
        int const q = piece % 4;
        unsigned const k = (first_chunk + chunk) * 128 + 32 * t + 8 * q;
        bool const there = chunk < p.chunks_per_window && k < p.k;
        std::uint8_t* const to = staged + chunk * (TokenTiles * w4a16_stream::x_bytes) +
                                 q * w4a16_stream::word_bytes + t * 16;
#pragma unroll 4
        for (int token = 0; token < 8 * TokenTiles; ++token) {
            uint4 v = make_uint4(0, 0, 0, 0);
            if (there && token < tokens) {
                v = load_activations<Math>(p, first_token + token, k);
            }
            uint4 const pairs = {__byte_perm(v.x, v.z, 0x5410), __byte_perm(v.x, v.z, 0x7632),
                                 __byte_perm(v.y, v.w, 0x5410), __byte_perm(v.y, v.w, 0x7632)};
            *reinterpret_cast<uint4*>(to + token / 8 * w4a16_stream::x_bytes + token % 8 * 64) =
                pairs;
        }
    }
}

}  // namespace detail

/// Ahead: pairs of chunks that are on their way while one is multiplied.
template <class Math, class Weight, int TokenTiles, int Ahead>
__global__ void __launch_bounds__(w4a16_stream::threads, 1)
    w4a16_stream_kernel(w4a16_args const p) {
    using fragment = detail::stream_fragment;
    using sums = detail::stream_sums<TokenTiles>;
    extern __shared__ __align__(128) std::uint8_t w4a16_shared[];
    int const lane = static_cast<int>(threadIdx.x) % 32;
    int const warp = static_cast<int>(threadIdx.x) / 32 % w4a16_stream::group_warps;
    int const group = static_cast<int>(threadIdx.x) / (32 * w4a16_stream::group_warps);
    int const g = lane / 4;
    int const t = lane % 4;
    std::uint8_t* const staged = w4a16_shared + w4a16_stream::groups * sizeof(sums);
    sums& partial = reinterpret_cast<sums*>(w4a16_shared)[group];
    unsigned const first_token = blockIdx.z * (8u * TokenTiles);
    int const tokens = min(static_cast<int>(p.m - first_token), 8 * TokenTiles);
    int const tiles = static_cast<int>((p.n + 15) / 16);
    unsigned const first_chunk = blockIdx.y * p.chunks_per_window;

    // Row tiles go round the CTAs first, then round the groups of a CTA. A warp's steps through a
    // row tile: a pair of chunks, then the pairs of the next three warps pass.
    int const step = static_cast<int>(gridDim.x) * w4a16_stream::groups;
    int const first_tile = static_cast<int>(blockIdx.x + gridDim.x * group);
    int const steps = (p.chunks_per_window + 7) / 8;
    unsigned const column = (first_chunk + 2 * warp) * 128 + 32 * t;
    unsigned const scale_chunk = p.scales_at.column(128 / p.group);  // from one chunk to the next
    // In how many of its steps this lane has weights in each chunk of the pair.
    int lane_steps[2];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
        int const in_window = (p.chunks_per_window - 2 * warp - i + 7) / 8;
        int const in_k =
            column + 128 * i < p.k ? static_cast<int>((p.k - column - 128 * i + 1023) / 1024) : 0;
        lane_steps[i] = max(min(in_window, in_k), 0);
    }

    // Where the stream of weights is read next.
    int fetch_tile = first_tile;
    int fetch_step = 0;
    std::uint8_t const* codes[2];
    std::uint8_t const* scales[2];
    auto const go_to_rows = [&] {
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            unsigned const row = min(16u * fetch_tile + g + 8 * r, p.n - 1);
            codes[r] = p.codes + (row * p.row_bytes + column / 2);
            scales[r] = p.scales + (p.scales_at.row(row) + p.scales_at.column(column / p.group));
        }
    };
    auto const fetch_chunk = [&](fragment& f, int i) {
        bool const there = fetch_step < lane_steps[i] && fetch_tile < tiles;
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            ptx::load_stream_16(f.codes[i][r], codes[r] + 64 * i, there);
            Weight::load(f.scales[i][r], scales[r] + scale_chunk * i, there);
        }
    };
    auto const advance = [&] {
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            codes[r] += 512;
            scales[r] += 8 * scale_chunk;
        }
        if (++fetch_step == steps) {
            fetch_step = 0;
            fetch_tile += step;
            go_to_rows();
        }
    };
    go_to_rows();
    fragment held[Ahead] = {};
#pragma unroll
    for (int s = 0; s < Ahead; ++s) {
        fetch_chunk(held[s], 0);
        fetch_chunk(held[s], 1);
        advance();
    }

    ptx::allow_next_kernel();
    ptx::wait_for_previous_kernel();  // weights are constant; activations come from that kernel
    detail::stage_activations<Math, TokenTiles>(p, staged, first_token, tokens, first_chunk);
    __syncthreads();

    float acc[TokenTiles][4] = {};
    // Chunk i of a fragment; codes that are left over from another chunk meet a scale of zero and
    // activations of zero.
    auto const multiply_chunk = [&](fragment const& f, int i, bool there, std::uint8_t const* x) {
        uint4 const& up = f.codes[i][0];
        uint4 const& low = f.codes[i][1];
        std::uint32_t scale[2][2];
        Weight::template multipliers<Math>(there ? f.scales[i][0] : 0, scale[0]);
        Weight::template multipliers<Math>(there ? f.scales[i][1] : 0, scale[1]);
        std::uint32_t const word[2][4] = {{up.x, up.y, up.z, up.w}, {low.x, low.y, low.z, low.w}};
#pragma unroll
        for (int q = 0; q < 4; ++q) {
            uint4 b[TokenTiles];
#pragma unroll
            for (int n = 0; n < TokenTiles; ++n) {
                b[n] = *reinterpret_cast<uint4 const*>(x + n * w4a16_stream::x_bytes +
                                                       q * w4a16_stream::word_bytes);
            }
            four_pairs const upper = Math::decode(word[0][q]);
            four_pairs const lower = Math::decode(word[1][q]);
#pragma unroll
            for (int h = 0; h < 2; ++h) {
                std::uint32_t const a[4] = {Math::multiply(upper.pair[2 * h], scale[0][q / 2]),
                                            Math::multiply(lower.pair[2 * h], scale[1][q / 2]),
                                            Math::multiply(upper.pair[2 * h + 1], scale[0][q / 2]),
                                            Math::multiply(lower.pair[2 * h + 1], scale[1][q / 2])};
#pragma unroll
                for (int n = 0; n < TokenTiles; ++n) {
                    Math::mma(acc[n], a, h == 0 ? b[n].x : b[n].z, h == 0 ? b[n].y : b[n].w);
                }
            }
        }
    };

    float const alpha = p.scale_of_output();
    auto const finish = [&](unsigned token, unsigned row, float sum) {
        float const bias = p.bias != nullptr ? p.bias[row] : 0.0F;
        store_output(p.out, p.out_type, std::size_t{token} * p.n + row, alpha * sum + bias);
    };
    bool const split = gridDim.y > 1;

    // Adds the four warps' sums of a row tile. Two buffers: whoever still adds up one tile is past
    // it before anyone of the group writes that buffer again.
    auto const add_up = [&](int tile, int turn) {
        auto& own = partial.at[turn];
#pragma unroll
        for (int n = 0; n < TokenTiles; ++n) {
            float* const to = &own[warp][8 * n + 2 * t][g];
            to[0] = acc[n][0];
            to[sums::stride] = acc[n][1];
            to[8] = acc[n][2];
            to[sums::stride + 8] = acc[n][3];
            acc[n][0] = acc[n][1] = acc[n][2] = acc[n][3] = 0.0F;
        }
        ptx::barrier(1 + group, 32 * w4a16_stream::group_warps);
        for (int e = 32 * warp + lane; e < 16 * tokens; e += 32 * w4a16_stream::group_warps) {
            unsigned const row = 16u * tile + e % 16;
            unsigned const token = first_token + e / 16;
            if (row < p.n) {
                float sum = 0.0F;
#pragma unroll
                for (int w = 0; w < w4a16_stream::group_warps; ++w) {
                    sum += own[w][e / 16][e % 16];
                }
                if (split) {
                    p.partials[(std::size_t{blockIdx.y} * p.m + token) * p.n + row] = sum;
                } else {
                    finish(token, row, sum);
                }
            }
        }
    };

    constexpr int x_chunk = TokenTiles * w4a16_stream::x_bytes;
    std::uint8_t const* const own_x = staged + 2 * warp * x_chunk + lane * 16;
    int tile = first_tile;
    int at_step = 0;
    int turn = 0;
    std::uint8_t const* x = own_x;
    // One step of the warp; false after its last.
    auto const one_step = [&](fragment& f) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            multiply_chunk(f, i, at_step < lane_steps[i], x + i * x_chunk);
            fetch_chunk(f, i);
        }
        advance();
        x += 8 * x_chunk;
        if (++at_step == steps) {
            add_up(tile, turn);
            at_step = 0;
            turn ^= 1;
            x = own_x;
            tile += step;
        }
        return tile < tiles;
    };
    // Written out: fragments in a loop would be copied, and a copy waits for the loads.
    if (tile < tiles) {
        if constexpr (Ahead == 1) {
            while (one_step(held[0])) {
            }
        } else if constexpr (Ahead == 2) {
            while (one_step(held[0]) && one_step(held[1])) {
            }
        } else {
            static_assert(Ahead == 3);
            while (one_step(held[0]) && one_step(held[1]) && one_step(held[2])) {
            }
        }
    }
    if (!split) {
        return;
    }

    // The last of the CTAs that share these rows adds their windows, in order.
    __shared__ bool last;
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) {
        unsigned* const counter = p.counters + blockIdx.z * gridDim.x + blockIdx.x;
        last = atomicAdd(counter, 1u) + 1 == gridDim.y;
        if (last) {
            *counter = 0;  // ready for the next launch
        }
    }
    __syncthreads();
    if (!last) {
        return;
    }
    __threadfence();
    for (int own = static_cast<int>(blockIdx.x); own < tiles; own += static_cast<int>(gridDim.x)) {
        int const e = static_cast<int>(threadIdx.x);
        unsigned const row = 16u * own + e % 16;
        if (e < 16 * tokens && row < p.n) {
            unsigned const token = first_token + e / 16;
            float sum = 0.0F;
            for (unsigned window = 0; window < gridDim.y; ++window) {
                sum += __ldcg(p.partials + (std::size_t{window} * p.m + token) * p.n + row);
            }
            finish(token, row, sum);
        }
    }
}

/// Dynamic shared memory of the kernel, in bytes.
template <int TokenTiles>
constexpr int w4a16_stream_shared(int chunks_per_window) noexcept {
    return w4a16_stream::groups * static_cast<int>(sizeof(detail::stream_sums<TokenTiles>)) +
           (chunks_per_window + 7) / 8 * 8 * TokenTiles * w4a16_stream::x_bytes;
}

}  // namespace fpq::cuda
