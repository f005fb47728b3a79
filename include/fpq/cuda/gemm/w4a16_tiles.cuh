// SPDX-License-Identifier: Apache-2.0
// Wing cuda. W4A16 for 17 to some hundreds of tokens on sm_90a: out (m, n) = alpha * x w^T + bias,
// w packed E2M1. Warpgroup MMA with the weights, decoded in registers, as its first operand and the
// activations of 32 to 128 tokens in shared memory as its second; fp32 sums.
//
// Grid: (splits of k, token blocks, row tiles of 256); one CTA of 20 warps a multiprocessor:
//
//   warps 0 - 15   four warpgroups of 64 rows each: decode the codes of 16 or 32 columns while the
//                  tensor cores work on those before
//   warp 16        asks for codes, 256 rows x 256 columns (32 KB) a stage, by the tensor copy
//   warp 17        asks for activations, 128 columns x the tokens a stage, by plain bulk copies
//
// The sums of splits are added in the order of k by whoever comes last: the result does not depend
// on timing.
#pragma once

#include <cuda.h>

#include <cstddef>
#include <cstdint>

#include "fpq/cuda/gemm/w4a16_args.hpp"
#include "fpq/cuda/gemm/w4a16_decode.cuh"
#include "fpq/cuda/gemm/w4a16_tiles_feed.cuh"
#include "fpq/cuda/gemm/w4a16_tiles_finish.cuh"
#include "fpq/cuda/gemm/w4a16_tiles_map.hpp"
#include "fpq/cuda/ptx/mma.cuh"
#include "fpq/cuda/ptx/sm90.cuh"
#include "fpq/cuda/ptx/warpgroup_mma.cuh"

namespace fpq::cuda {

namespace detail {

/// The scales of 64 codes of one row: 4 bytes (NVFP4) or 2 (MXFP4).
template <bool Nv>
__device__ __forceinline__ std::uint32_t load_scales(std::uint8_t const* from) {
    if constexpr (Nv) {
        return *reinterpret_cast<std::uint32_t const*>(from);
    } else {
        return *reinterpret_cast<std::uint16_t const*>(from);
    }
}

__device__ __forceinline__ std::uint32_t word_of(uint4 const& v, unsigned i) {
    return i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w;
}

}  // namespace detail

/// Tile: a w4a16_tile.
template <class Math, class Weight, class Tile>
__global__ void __launch_bounds__(w4a16_tiles::threads, 1)
    w4a16_tiles_kernel(__grid_constant__ CUtensorMap const codes_map, w4a16_args const p,
                       std::uint8_t const* image) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
    constexpr unsigned tokens = Tile::tokens;
    constexpr bool nv = sizeof(typename Weight::raw_scale) == 2;
    extern __shared__ unsigned char raw[];
    std::uint32_t const base = (sm90::shared_address(raw) + 1023u) & ~1023u;
    unsigned char* const generic = raw + (base - sm90::shared_address(raw));
    detail::tiles_barriers<Tile> const barriers{base};
    if (threadIdx.x == 0) {
        barriers.init();
    }
    __syncthreads();
    ptx::allow_next_kernel();

    unsigned const blocks = (p.k + w4a16_tiles::block - 1) / w4a16_tiles::block;
    unsigned const first = blockIdx.x * p.chunks_per_window;
    unsigned const last = min(first + p.chunks_per_window, blocks);
    unsigned const row0 = blockIdx.z * w4a16_tiles::rows;
    // Through a shuffle, so that the compiler knows it to be the same in all lanes.
    unsigned const warp = __shfl_sync(0xFFFFFFFFu, threadIdx.x / 32, 0);
    unsigned const lane = threadIdx.x % 32;

    if (warp >= 4 * w4a16_tiles::groups) {
        sm90::registers_fewer<24>();
        if (warp == 4 * w4a16_tiles::groups && lane == 0) {
            detail::copy_codes<Tile>(barriers, &codes_map, row0, first, last);
        } else if (warp == 4 * w4a16_tiles::groups + 1 && lane == 0) {
            std::size_t const piece = std::size_t{blockIdx.y} * blocks + first;
            detail::copy_activations<Tile>(barriers, image + piece * (2 * Tile::x), first, last);
        }
    } else {
        sm90::registers_more<112>();
        unsigned const g = lane / 4;
        unsigned const t = lane % 4;
        unsigned const row = 16 * warp + g;  // of the tile; and row + 8
        unsigned scales[2];
#pragma unroll
        for (unsigned r = 0; r < 2; ++r) {
            scales[r] = p.scales_at.row(min(row0 + row + 8 * r, p.n - 1));
        }
        // The scales of a block for both rows: four bytes each (NVFP4), or two, in one register.
        constexpr unsigned words = nv ? 2 : 1;
        auto const scales_of = [&](unsigned kb, std::uint32_t(&out)[words]) {
            unsigned const column = kb * w4a16_tiles::block + 64 * t;
            unsigned const at = p.scales_at.column(column / (nv ? 16 : 32));
            bool const wanted = kb < last && column < p.k;
            if constexpr (nv) {
                out[0] = wanted ? detail::load_scales<nv>(p.scales + (scales[0] + at)) : 0;
                out[1] = wanted ? detail::load_scales<nv>(p.scales + (scales[1] + at)) : 0;
            } else {
                out[0] = wanted ? detail::load_scales<nv>(p.scales + (scales[0] + at)) |
                                      detail::load_scales<nv>(p.scales + (scales[1] + at)) << 16
                                : 0;
            }
        };
        auto const arrive = [&](std::uint32_t barrier) {
            if (lane == 0) {
                sm90::barrier_arrive(barrier);
            }
        };

        using mma = sm90::warpgroup_mma<typename Math::storage, Tile::tokens>;
        constexpr unsigned together = tokens >= 128 ? 1 : 2;  // steps between two waits
        float d[tokens / 2] = {};
        std::uint32_t a[2][together][4];  // of this group of steps and the one before
        std::uint32_t held[words];
        scales_of(first, held);
        detail::ring_place<Tile::code_count> c;
        detail::ring_place<Tile::x_count> x;
        for (unsigned kb = first; kb < last; ++kb) {
            std::uint32_t const now[2] = {held[0], nv ? held[words - 1] : held[0] >> 16};
            scales_of(kb + 1, held);
            sm90::barrier_wait(barriers.code_full(c.at), c.parity);
#pragma unroll
            for (unsigned b = 0; b < 2; ++b) {
                uint4 codes[2];
                std::uint32_t scale[2][2];
#pragma unroll
                for (unsigned r = 0; r < 2; ++r) {
                    // tiles_codes_byte(row + 8 * r, 2 * t + b), the row's last three bits being g.
                    codes[r] = *reinterpret_cast<uint4 const*>(generic + c.at * Tile::codes +
                                                               (row + 8 * r) * 128 +
                                                               ((2 * t + b) ^ g) * 16);
                    Weight::template multipliers<Math>(
                        static_cast<typename Weight::raw_scale>(now[r] >> (b * (nv ? 16 : 8))),
                        scale[r]);
                }
                if (b == 1) {
                    __syncwarp();
                    arrive(barriers.code_empty(c.at));
                }
                sm90::barrier_wait(barriers.x_full(x.at), x.parity);
                std::uint64_t const x_stage = sm90::operand(base + Tile::x_at + x.at * Tile::x, 16);
#pragma unroll
                for (unsigned group = 0; group < 8 / together; ++group) {
                    // All but the last group of products are over, so these registers are free.
                    sm90::mma_wait<1>();
                    if (group == 1 && (b == 1 || kb != first)) {
                        arrive(barriers.x_empty(x.before()));
                    }
#pragma unroll
                    for (unsigned i = 0; i < together; ++i) {
                        unsigned const step = together * group + i;
                        unsigned const q = step / 2;
                        four_pairs const upper = Math::decode(detail::word_of(codes[0], q));
                        four_pairs const lower = Math::decode(detail::word_of(codes[1], q));
                        std::uint32_t(&to)[4] = a[group % 2][i];
#pragma unroll
                        for (unsigned h = 0; h < 2; ++h) {
                            unsigned const pair = 2 * (step % 2) + h;
                            to[2 * h] = Math::multiply(upper.pair[pair], scale[0][q / 2]);
                            to[2 * h + 1] = Math::multiply(lower.pair[pair], scale[1][q / 2]);
                        }
                    }
                    sm90::mma_fence();
#pragma unroll
                    for (unsigned i = 0; i < together; ++i) {
                        unsigned const step = together * group + i;
                        unsigned const at = step / 4 * (128 * tokens) + step % 4 * 32;
                        mma::add(d, a[group % 2][i], x_stage + at / 16);
                    }
                    sm90::mma_commit();
                }
                x.next();
            }
            c.next();
        }
        sm90::mma_wait<0>();

        unsigned const group = warp / 4;
        sm90::named_barrier<15, 128 * w4a16_tiles::groups>();  // no one reads the rings any more
        auto* const sums = reinterpret_cast<float*>(generic) + group * (tokens * Tile::sums_pitch);
        if (gridDim.x == 1 ||
            detail::add_splits<Tile>(p, d, group, reinterpret_cast<unsigned*>(sums))) {
            sm90::group_barrier(1 + group);  // the flag has been read
            detail::store_group<Tile>(p, d, group, row0 + 64 * group, sums);
        }
    }
#else
    static_cast<void>(codes_map);
    static_cast<void>(p);
    static_cast<void>(image);
    __trap();
#endif
}

}  // namespace fpq::cuda
