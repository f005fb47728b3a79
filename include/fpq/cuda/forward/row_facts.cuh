// SPDX-License-Identifier: Apache-2.0
// Wing cuda. What an engine reads from rows of logits, and the store of keys and values into their
// slots. A few blocks a row walk for the maximum and the sum of exponentials; the one that arrives
// last joins them in their order, and walks once more for each further token that is listed.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fpq/core/bits.hpp"
#include "fpq/core/half.hpp"
#include "fpq/cuda/api/paged.hpp"
#include "fpq/cuda/forward/score.cuh"
#include "fpq/cuda/forward/values.cuh"
#include "fpq/cuda/gemm/split_arrival.cuh"
#include "fpq/cuda/ptx/mma.cuh"

namespace fpq::cuda {

struct row_facts_work {
    float const* logits;
    std::size_t stride;
    std::uint32_t vocab;
    std::int32_t const* targets;
    std::int32_t const* counts;
    row_facts* facts;
    score_part* parts;   // (rows, row_facts_parts)
    unsigned* counters;  // (rows), zero before the launch, left zero
};

/// A token and its logit, in the order in which tokens are listed.
struct listed_token {
    float logit;
    std::int32_t id;

    __device__ bool before(listed_token const& other) const {
        return logit > other.logit || (logit == other.logit && id < other.id);
    }
};

/// The first of a block's tokens, in every thread.
__device__ inline listed_token first_of_block(listed_token own) {
    constexpr int warps = score_threads / 32;
    __shared__ float logits[warps];
    __shared__ std::int32_t ids[warps];
    auto const of_warp = [](listed_token t) {
        FPQ_UNROLL
        for (int distance = 16; distance > 0; distance /= 2) {
            listed_token const other{__shfl_xor_sync(0xFFFFFFFFu, t.logit, distance),
                                     __shfl_xor_sync(0xFFFFFFFFu, t.id, distance)};
            t = other.before(t) ? other : t;
        }
        return t;
    };
    own = of_warp(own);
    __syncthreads();  // the call before may still read
    if (threadIdx.x % 32 == 0) {
        logits[threadIdx.x / 32] = own.logit;
        ids[threadIdx.x / 32] = own.id;
    }
    __syncthreads();
    listed_token best{logits[0], ids[0]};
    for (int w = 1; w < warps; ++w) {
        listed_token const other{logits[w], ids[w]};
        best = other.before(best) ? other : best;
    }
    return best;
}

/// Block (i, j): part i of row j.
template <int Width>
__global__ void __launch_bounds__(score_threads) row_facts_kernel(row_facts_work const work) {
    ptx::allow_next_kernel();
    ptx::wait_for_previous_kernel();
    constexpr float nothing = -3.402823466e+38F;  // below it only -infinity, which no logit is
    std::uint32_t const row = blockIdx.y;
    float const* const x = work.logits + row * work.stride;
    row_facts* const facts = work.facts + row;
    score_lane lane;
    for (std::uint32_t col = (blockIdx.x * score_threads + threadIdx.x) * Width; col < work.vocab;
         col += row_facts_parts * score_threads * Width) {
        float a[Width];
        values<float, Width>::load(x + col).unpack(a);
        lane.take<false>(a, a, static_cast<std::int32_t>(col));
    }
    score_part const own = join_block(lane.part());
    score_part* const parts = work.parts + row * row_facts_parts;
    if (threadIdx.x == 0) {
        parts[blockIdx.x] = own;
    }
    if (!last_split_to_arrive(work.counters + row, row_facts_parts)) {
        return;
    }
    score_part const whole =
        join_warp(threadIdx.x < row_facts_parts ? parts[threadIdx.x] : score_part{});
    __shared__ listed_token last;
    std::int32_t const count =
        min(max(work.counts[row], 1), static_cast<std::int32_t>(most_listed));
    if (threadIdx.x == 0) {
        std::int32_t const target = work.targets[row];
        facts->lse = whole.log_sum();
        facts->target = target >= 0 ? x[target] : 0.0F;
        facts->listed = count;
        facts->ids[0] = whole.index;
        facts->logits[0] = whole.most;
        last = {whole.most, whole.index};
    }
    __syncthreads();
    for (std::int32_t i = 1; i < count; ++i) {
        listed_token const before = last;
        listed_token best{nothing, 0x7FFFFFFF};
        for (std::uint32_t col = threadIdx.x; col < work.vocab; col += score_threads) {
            listed_token const one{x[col], static_cast<std::int32_t>(col)};
            best = before.before(one) && one.before(best) ? one : best;
        }
        best = first_of_block(best);
        if (threadIdx.x == 0) {
            facts->ids[i] = best.id;
            facts->logits[i] = best.logit;
            last = best;
        }
        __syncthreads();
    }
}

/// Rows of k and v into slots of their pools.
template <int Width>
struct store_step {
    static constexpr int width = Width;
    struct operands {
        values<bf16, Width> key;
        values<bf16, Width> value;
    };

    bf16 const* k;
    std::size_t k_stride;
    bf16 const* v;
    std::size_t v_stride;
    std::int32_t const* slots;
    bf16* keys;
    std::size_t keys_stride;
    bf16* heads_values;
    std::size_t values_stride;

    __device__ operands load(std::size_t row, std::uint32_t col) const {
        return {values<bf16, Width>::load(k + row * k_stride + col),
                values<bf16, Width>::load(v + row * v_stride + col)};
    }
    __device__ void store(std::size_t row, std::uint32_t col, operands const& in) const {
        std::int32_t const slot = slots[row];
        if (slot >= 0) {
            auto const at = static_cast<std::size_t>(slot);
            *reinterpret_cast<values<bf16, Width>*>(keys + at * keys_stride + col) = in.key;
            *reinterpret_cast<values<bf16, Width>*>(heads_values + at * values_stride + col) =
                in.value;
        }
    }
};

}  // namespace fpq::cuda
