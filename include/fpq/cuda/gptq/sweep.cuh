// SPDX-License-Identifier: Apache-2.0
// Wing cuda. The GPTQ column kernel: rounds a block of 128 columns, errors fed forward inside the
// block. What the block's errors do to later columns is a matrix product and not done here.
//
// Grid: one block of threads a tile of rows. A row belongs to four neighbouring lanes (the map is
// gptq_lanes.hpp), so a warp sweeps eight rows and rows never talk. Shared memory: the block of the
// factor, 36 KB, read as broadcasts. Limit: latency. Rows are few and each is a chain of 128
// divisions and roundings; four lanes a row shorten the multiply-adds between two of them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fpq/cuda/gptq/block_sum.cuh"
#include "fpq/cuda/gptq/codec.hpp"
#include "fpq/cuda/gptq/lanes.hpp"

namespace fpq::cuda {

/// Arguments of one sweep. Everything with columns is in processing order.
struct gptq_sweep_args {
    float* target;               // (rows, stride): the block's targets; read only
    float* error;                // (rows, stride): w on entry, w - q on return
    std::uint8_t* codes;         // (rows, stride), one byte a code
    std::size_t stride;          // elements from row to row, a multiple of 128
    float const* feedback;       // (cols, cols): G_jk = R_jk / R_kk, valid for j < k
    column_cost const* cost;     // (cols)
    std::uint32_t const* order;  // (cols): original column
    float const* steps;          // (rows, groups), original groups
    std::uint8_t const* zeros;   // (rows, groups); one in all when zero_stride is 0; or null
    double* loss;                // one sum a thread block, see column_cost
    std::size_t zero_stride;     // groups, or 0
    std::uint32_t rows;
    std::uint32_t cols;
    std::uint32_t first;  // the block's first column
    std::uint32_t group;  // columns a scale
    std::uint32_t groups;
};

inline constexpr int gptq_threads = 128;
inline constexpr int gptq_rows = gptq_threads / gptq_block::lanes;  // of one thread block

namespace detail {

/// The block's factor to shared memory: rows c, columns from 16 (c / 16) on, zero where k <= c and
/// beyond the last column.
__device__ inline void load_feedback(gptq_sweep_args const& a, float* feed) {
    for (int c = 0; c < gptq_block::width; ++c) {
        int const k = static_cast<int>(threadIdx.x);
        static_assert(gptq_threads == gptq_block::width);
        if (k < gptq_block::stripe * (c / gptq_block::stripe)) {
            continue;
        }
        std::size_t const row = a.first + static_cast<std::size_t>(c);
        std::size_t const col = a.first + static_cast<std::size_t>(k);
        bool const inside = k > c && col < a.cols;
        feed[gptq_block::feed_at(c, k)] = inside ? a.feedback[row * a.cols + col] : 0.0F;
    }
}

}  // namespace detail

/// Grid: ceil(rows / 32) blocks of 128 threads. Deterministic: no atomics.
template <class Codec>
__global__ void __launch_bounds__(gptq_threads)
    gptq_sweep_kernel(gptq_sweep_args const a, Codec const codec) {
    using block = gptq_block;
    __shared__ __align__(16) float feed[block::feed_size];
    __shared__ column_cost cost[block::width];
    __shared__ std::uint32_t group_of[block::width];
    {
        std::uint32_t const column = a.first + threadIdx.x;
        bool const inside = column < a.cols;
        cost[threadIdx.x] = inside ? a.cost[column] : column_cost{0, 0};
        group_of[threadIdx.x] = inside ? a.order[column] / a.group : 0xFFFFFFFFu;
        detail::load_feedback(a, feed);
    }
    __syncthreads();

    int const lane = static_cast<int>(threadIdx.x) % block::lanes;
    std::uint32_t const row = blockIdx.x * gptq_rows + threadIdx.x / block::lanes;
    bool const active = row < a.rows;
    std::size_t const at = static_cast<std::size_t>(row) * a.stride + a.first;

    gptq_lane state;
    auto const load = [&] {
        FPQ_UNROLL
        for (int g = 0; g < block::stripes; ++g) {
            int const first = block::stripe * g + block::quad * lane;
            float4 t{0, 0, 0, 0};
            float4 e{0, 0, 0, 0};
            if (active) {
                t = *reinterpret_cast<float4 const*>(a.target + at + first);
                e = *reinterpret_cast<float4 const*>(a.error + at + first);
            }
            float const ts[4] = {t.x, t.y, t.z, t.w};
            float const es[4] = {e.x, e.y, e.z, e.w};
            std::uint32_t zeros = 0;
            FPQ_UNROLL
            for (int i = 0; i < block::quad; ++i) {
                std::uint32_t const group = group_of[first + i];
                bool const inside = active && group != 0xFFFFFFFFu;
                state.target[block::quad * g + i] = ts[i];
                state.error[block::quad * g + i] = es[i];
                std::size_t const s = static_cast<std::size_t>(row) * a.groups + group;
                state.step[block::quad * g + i] = inside ? a.steps[s] : 1.0F;
                if (a.zeros != nullptr && inside) {
                    std::size_t const z = a.zero_stride == 0 ? 0 : s;
                    zeros |= static_cast<std::uint32_t>(a.zeros[z]) << (8 * i);
                }
            }
            state.zeros[g] = zeros;
        }
    };
    auto const sweep = [&] {
        FPQ_UNROLL
        for (int g = 0; g < block::stripes; ++g) {
#pragma unroll 1
            for (int owner = 0; owner < block::lanes; ++owner) {
                float fresh[block::quad];
                state.round_quad(codec, g, lane, feed, cost, lane == owner, fresh);
                FPQ_UNROLL
                for (int i = 0; i < block::quad; ++i) {
                    fresh[i] = __shfl_sync(0xFFFFFFFFu, fresh[i], owner, block::lanes);
                }
                state.feed_forward(g, owner, lane, feed, fresh);
            }
        }
    };
    auto const store = [&] {
        FPQ_UNROLL
        for (int g = 0; g < block::stripes; ++g) {
            int const first = block::stripe * g + block::quad * lane;
            if (active) {
                float const* const e = state.error + block::quad * g;
                *reinterpret_cast<float4*>(a.error + at + first) =
                    make_float4(e[0], e[1], e[2], e[3]);
                *reinterpret_cast<std::uint32_t*>(a.codes + at + first) = state.codes[g];
            }
        }
    };
    load();
    sweep();
    store();
    double const loss = block_sum<gptq_threads>(active ? static_cast<double>(state.loss) : 0.0);
    if (threadIdx.x == 0) {
        a.loss[blockIdx.x] = loss;
    }
}

}  // namespace fpq::cuda
