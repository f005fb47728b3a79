// SPDX-License-Identifier: Apache-2.0
// Wing cuda. The end of the W4A16 tiles kernel. Where k is split, a warpgroup leaves its sums in
// device memory, and the one that comes last adds those of all splits, in the order of k; then the
// outputs go through shared memory, so that whole lines are stored.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fpq/cuda/gemm/w4a16_args.hpp"
#include "fpq/cuda/gemm/w4a16_tiles_map.hpp"
#include "fpq/cuda/ptx/sm90.cuh"
#include "fpq/cuda/quantize/store_output.cuh"

namespace fpq::cuda::detail {

/// Where k is split: true for the warpgroup that comes last, whose `d` then holds the sums of all
/// splits; the others leave theirs. `flag` is a word of shared memory of the warpgroup's own. Two
/// counters a warpgroup of a tile: who has come, who has left sums. The last waits for those who
/// came before it, which no longer wait for anyone. Sums lie as the threads have them:
/// (tile, warpgroup, split, four sums, thread).
template <class Tile>
__device__ __forceinline__ bool add_splits(w4a16_args const& p, float (&d)[Tile::tokens / 2],
                                           unsigned group, unsigned volatile* flag) {
    constexpr unsigned fours = Tile::tokens / 8;
    unsigned const thread = threadIdx.x % 128;
    unsigned const splits = gridDim.x;
    unsigned const place = (blockIdx.z * gridDim.y + blockIdx.y) * w4a16_tiles::groups + group;
    unsigned* const counter = p.counters + 2 * place;
    auto* const all =
        reinterpret_cast<float4*>(p.partials) + std::size_t{place} * splits * fours * 128 + thread;
    if (thread == 0) {
        *flag = atomicAdd(counter, 1u);
    }
    sm90::group_barrier(1 + group);
    bool const last = *flag + 1 == splits;
    // Two sums may be added in either order; of more, the last reads its own too.
    bool const keeps = last && splits == 2;
    if (!keeps) {
        auto* const own = all + std::size_t{blockIdx.x} * fours * 128;
#pragma unroll
        for (unsigned i = 0; i < fours; ++i) {
            __stcg(own + 128 * i, make_float4(d[4 * i], d[4 * i + 1], d[4 * i + 2], d[4 * i + 3]));
        }
    }
    if (!last) {
        __threadfence();
        sm90::group_barrier(1 + group);
        if (thread == 0) {
            atomicAdd(counter + 1, 1u);
        }
        return false;
    }
    if (thread == 0) {
        while (atomicAdd(counter + 1, 0u) + 1 != splits) {
        }
        counter[0] = 0;  // ready for the next launch
        counter[1] = 0;
    }
    sm90::group_barrier(1 + group);
    __threadfence();
    if (!keeps) {
#pragma unroll
        for (unsigned i = 0; i < Tile::tokens / 2; ++i) {
            d[i] = 0.0F;
        }
    }
    for (unsigned split = 0; split < splits; ++split) {
        if (keeps && split == blockIdx.x) {
            continue;
        }
        auto const* const from = all + std::size_t{split} * fours * 128;
#pragma unroll
        for (unsigned i = 0; i < fours; ++i) {
            float4 const more = __ldcg(from + 128 * i);
            d[4 * i] += more.x;
            d[4 * i + 1] += more.y;
            d[4 * i + 2] += more.z;
            d[4 * i + 3] += more.w;
        }
    }
    return true;
}

/// Stores a warpgroup's 64 rows from `row0` on, through `sums`, its part of shared memory.
template <class Tile>
__device__ __forceinline__ void store_group(w4a16_args const& p, float const (&d)[Tile::tokens / 2],
                                            unsigned group, unsigned row0, float* sums) {
    constexpr unsigned pitch = Tile::sums_pitch;
    unsigned const thread = threadIdx.x % 128;
    unsigned const lane = thread % 32;
#pragma unroll
    for (unsigned i = 0; i < Tile::tokens / 2; ++i) {
        unsigned const token = 8 * (i / 4) + 2 * (lane % 4) + i % 2;
        sums[token * pitch + thread / 32 * 16 + lane / 4 + 8 * (i / 2 % 2)] = d[i];
    }
    sm90::group_barrier(1 + group);
    unsigned const token0 = blockIdx.y * Tile::tokens;
    unsigned const tokens = min(p.m - token0, Tile::tokens);
    unsigned const row = row0 + 4 * (thread % 16);
    if (row >= p.n) {
        return;
    }
    float const alpha = p.scale_of_output();
    unsigned const rows = min(p.n - row, 4u);
    float bias[4];
#pragma unroll
    for (unsigned i = 0; i < 4; ++i) {
        bias[i] = p.bias != nullptr && i < rows ? p.bias[row + i] : 0.0F;
    }
    bool const whole = p.n % 4 == 0 && reinterpret_cast<std::uintptr_t>(p.out) % 16 == 0;
#pragma unroll 2
    for (unsigned token = thread / 16; token < tokens; token += 8) {
        float4 value = *reinterpret_cast<float4 const*>(sums + token * pitch + 4 * (thread % 16));
        value.x = alpha * value.x + bias[0];
        value.y = alpha * value.y + bias[1];
        value.z = alpha * value.z + bias[2];
        value.w = alpha * value.w + bias[3];
        std::size_t const to = std::size_t{token0 + token} * p.n + row;
        if (whole) {
            store_output_four(p.out, p.out_type, to, value);
        } else {
#pragma unroll 1
            for (unsigned i = 0; i < rows; ++i) {
                store_output(p.out, p.out_type, to + i,
                             i == 0   ? value.x
                             : i == 1 ? value.y
                             : i == 2 ? value.z
                                      : value.w);
            }
        }
    }
}

}  // namespace fpq::cuda::detail
