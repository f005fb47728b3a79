// SPDX-License-Identifier: Apache-2.0
// Wing cuda. W4A16 for one token, streaming as w4a16_stream.cuh does: same grid, same walk. The
// product's eight columns, of which one would be enough, keep the groups of 16 weights apart:
// column c has the activations of the lanes c % 4 and zeros for the others, so a sum is of one
// group, and scales multiply sums (4 a lane and chunk) instead of weights.
//
//   chunk of 128: lane t's codes 32t .. 32t + 15 (words 0, 1) -> columns t, sum `low`
//                 lane t's codes 32t + 16 .. 32t + 31 (words 2, 3) -> columns 4 + t, sum `high`
//   lane (g, t) gets columns 2t and 2t + 1 of rows g and g + 8: it takes them from `low` for t < 2,
//   from `high` for the others.
#pragma once

#include <cstdint>

#include "fpq/core/bits.hpp"
#include "fpq/cuda/gemm/w4a16_reference.cuh"
#include "fpq/cuda/gemm/w4a16_stream.cuh"
#include "fpq/cuda/ptx/half_words.cuh"
#include "fpq/format/minifloat.hpp"

namespace fpq::cuda {

namespace detail {

/// The scales of the two sums that a lane takes of a chunk, whose groups are, with u = 2 (t % 2)
/// and u + 1: 2u + t / 2 for NVFP4, u for MXFP4.
template <class Weight>
struct single_scales;

template <>
struct single_scales<nvfp4_weight> {
    using raw = std::uint32_t;  // groups 4 (t % 2) .. + 3 of the chunk
    static constexpr unsigned group = 16;
    template <class Math>
    static constexpr int shift = Math::single_shift;
    /// What `of` takes from a raw word: bytes t / 2 and t / 2 + 2.
    static __device__ __forceinline__ unsigned selector(int t) {
        return 0x4400u | static_cast<unsigned>(t / 2) | static_cast<unsigned>(t / 2 + 2) << 4;
    }
    template <class Math>
    static __device__ __forceinline__ float2 of(raw bytes, unsigned selector) {
        std::uint32_t const own = __byte_perm(bytes, 0, selector);
#if __CUDA_ARCH__ >= 890
        std::uint32_t both;
        asm("cvt.rn.f16x2.e4m3x2 %0, %1;" : "=r"(both) : "h"(static_cast<std::uint16_t>(own)));
        return {half_words<fp16>::low(both), half_words<fp16>::high(both)};
#else
        return {e4m3::decode(static_cast<std::uint8_t>(own)),
                e4m3::decode(static_cast<std::uint8_t>(own >> 8))};
#endif
    }
};

template <>
struct single_scales<mxfp4_weight> {
    using raw = std::uint16_t;  // groups 2 (t % 2) and + 1 of the chunk
    static constexpr unsigned group = 32;
    // Half of the sums' power of two is taken back here, so that scales far from 1 stay exact.
    template <class Math>
    static constexpr int bias = -Math::single_shift / 2;
    template <class Math>
    static constexpr int shift = Math::single_shift + bias<Math>;
    static __device__ __forceinline__ unsigned selector(int) { return 0; }
    /// 2^-127 becomes 0 and NaN infinity, which makes the output one that is looked at again.
    template <class Math>
    static __device__ __forceinline__ float2 of(raw bytes, unsigned) {
        constexpr float back = bits_of<float>(static_cast<std::uint32_t>(127 + bias<Math>) << 23);
        return {__uint_as_float(bytes << 23 & 0x7F800000u) * back,
                __uint_as_float(bytes << 15 & 0x7F800000u) * back};
    }
};

}  // namespace detail

/// k is a multiple of 64.
template <class Math, class Weight>
__global__ void __launch_bounds__(w4a16_stream::threads, 1)
    w4a16_single_kernel(w4a16_args const p, w4a16_ahead const ahead) {
    using scale_rule = detail::single_scales<Weight>;
    struct fragment {
        uint4 codes[2][2];  // of 2 rows x 2 chunks
        typename scale_rule::raw scales[2][2];
    };
    __shared__ float sums[2][w4a16_stream::warps][20];
    int const lane = static_cast<int>(threadIdx.x) % 32;
    int const warp = static_cast<int>(threadIdx.x) / 32;
    int const g = lane / 4;
    int const t = lane % 4;
    int const tiles = static_cast<int>((p.n + 15) / 16);
    unsigned const token = blockIdx.z;

    int const chunk = 2 * warp;
    unsigned const chunk_column = (blockIdx.y * p.chunks_per_window + chunk) * 128u;
    unsigned const column = chunk_column + 32u * t;
    unsigned const scale_first = chunk_column + 64u * (t % 2);  // first column of the raw scales
    auto const in_window = [&](int i) { return chunk + i < p.chunks_per_window; };
    bool const in_k[2] = {in_window(0) && column < p.k, in_window(1) && column + 128 < p.k};
    bool const has_scales[2] = {in_window(0) && scale_first < p.k,
                                in_window(1) && scale_first + 128 < p.k};
    unsigned const selector = scale_rule::selector(t);
    unsigned const scale_column = p.scales_at.column(scale_first / scale_rule::group);
    unsigned const scale_chunk = p.scales_at.column(128 / scale_rule::group);

    int const step = static_cast<int>(gridDim.x);
    auto const load_tile = [&](fragment& f, int tile) {
        if (tile >= tiles) {
            return;
        }
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            unsigned const row = min(16u * tile + g + 8 * r, p.n - 1);
            std::uint8_t const* const codes = p.codes + (row * p.row_bytes + column / 2);
            std::uint8_t const* const scales = p.scales + (p.scales_at.row(row) + scale_column);
#pragma unroll
            for (int i = 0; i < 2; ++i) {
                if (in_k[i]) {
                    f.codes[r][i] = ptx::load_stream_16(codes + 64 * i);
                }
                if (has_scales[i]) {
                    f.scales[r][i] = *reinterpret_cast<typename scale_rule::raw const*>(
                        scales + scale_chunk * i);
                }
            }
        }
    };

    fragment held = {};  // of the next row tile; outside k all zero for ever
    load_tile(held, static_cast<int>(blockIdx.x));
    ptx::allow_next_kernel();
    ptx::wait_for_previous_kernel();  // weights are constant; activations come from that kernel

    // b[chunk][word % 2][pair] of the lanes with t == g % 4, for words 0, 1 or 2, 3 by g / 4.
    std::uint32_t b[2][2][4];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
#pragma unroll
        for (int q = 0; q < 2; ++q) {
            uint4 v = make_uint4(0, 0, 0, 0);
            if (in_k[i] && g % 4 == t) {
                v = detail::load_activations<Math>(p, token,
                                                   column + 128 * i + 16 * (g / 4) + 8 * q);
            }
            b[i][q][0] = Math::lifted(__byte_perm(v.x, v.z, 0x5410));
            b[i][q][1] = Math::lifted(__byte_perm(v.x, v.z, 0x7632));
            b[i][q][2] = Math::lifted(__byte_perm(v.y, v.w, 0x5410));
            b[i][q][3] = Math::lifted(__byte_perm(v.y, v.w, 0x7632));
        }
    }

    float const alpha = p.scale_of_output();
    int turn = 0;
    for (int tile = static_cast<int>(blockIdx.x); tile < tiles; tile += step, ++turn) {
        float row_sum[2] = {};
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            std::uint32_t const word[2][4] = {
                {held.codes[0][i].x, held.codes[0][i].y, held.codes[0][i].z, held.codes[0][i].w},
                {held.codes[1][i].x, held.codes[1][i].y, held.codes[1][i].z, held.codes[1][i].w}};
            float2 const scale[2] = {scale_rule::template of<Math>(held.scales[0][i], selector),
                                     scale_rule::template of<Math>(held.scales[1][i], selector)};
            if (i == 1) {
                load_tile(held, tile + step);
            }
            float low[4] = {};
            float high[4] = {};
#pragma unroll
            for (int q = 0; q < 4; ++q) {
                four_pairs const upper = Math::decode(word[0][q]);
                four_pairs const lower = Math::decode(word[1][q]);
#pragma unroll
                for (int h = 0; h < 2; ++h) {
                    std::uint32_t const a[4] = {upper.pair[2 * h], lower.pair[2 * h],
                                                upper.pair[2 * h + 1], lower.pair[2 * h + 1]};
                    Math::mma(q < 2 ? low : high, a, b[i][q % 2][2 * h], b[i][q % 2][2 * h + 1]);
                }
            }
#pragma unroll
            for (int r = 0; r < 2; ++r) {
                row_sum[r] += (t < 2 ? low[2 * r] : high[2 * r]) * scale[r].x;
                row_sum[r] += (t < 2 ? low[2 * r + 1] : high[2 * r + 1]) * scale[r].y;
            }
        }

        // Two buffers: whoever still adds up this tile is past it before anyone writes it again.
        auto& partial = sums[turn % 2];
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            row_sum[r] += __shfl_xor_sync(0xFFFFFFFFu, row_sum[r], 1);
            row_sum[r] += __shfl_xor_sync(0xFFFFFFFFu, row_sum[r], 2);
            if (t == 0) {
                partial[warp][g + 8 * r] = row_sum[r];
            }
        }
        __syncthreads();
        if (warp == turn % w4a16_stream::warps) {  // the adding moves on by a warp a tile
            float sum = 0.0F;
#pragma unroll
            for (int w = 0; w < w4a16_stream::warps / 2; ++w) {
                sum += partial[w4a16_stream::warps / 2 * (lane / 16) + w][lane % 16];
            }
            sum += __shfl_down_sync(0xFFFFFFFFu, sum, 16);
            unsigned const row = 16u * tile + lane;
            if (lane < 16 && row < p.n) {
                if (!(fabsf(sum) <= 3.4e38F)) {
                    // An activation was too large to be lifted, or something is not finite anyway.
                    unsigned const first = blockIdx.y * p.chunks_per_window * 128u;
                    unsigned const end = min(first + p.chunks_per_window * 128u, p.k);
                    sum = detail::reference_sum<typename Math::storage, scale_rule::group == 16>(
                              p, token, row, first, end) *
                          __uint_as_float(
                              static_cast<unsigned>(127 + scale_rule::template shift<Math>) << 23);
                }
                detail::store_window_sum(p, alpha, token, row, sum);
            }
        }
    }
    detail::ask_ahead(ahead);
    detail::add_windows(p, alpha, token, 1);
}

}  // namespace fpq::cuda
