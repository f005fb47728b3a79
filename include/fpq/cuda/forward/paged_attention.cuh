// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Attention of single rows to keys and values in pages. As cached_attention.cuh, over
// splits of 256 keys that blocks share out, so that one long sequence keeps a whole card busy; the
// block that arrives last joins the splits of its heads in their order.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fpq/core/half.hpp"
#include "fpq/cuda/api/paged.hpp"
#include "fpq/cuda/forward/cached_attention.cuh"
#include "fpq/cuda/forward/values.cuh"
#include "fpq/cuda/gemm/split_arrival.cuh"
#include "fpq/cuda/ptx/float_ops.cuh"
#include "fpq/cuda/ptx/mma.cuh"

namespace fpq::cuda {

struct paged_attention_work {
    bf16 const* q;
    bf16 const* k;
    bf16 const* v;
    bf16* out;
    std::size_t q_stride;
    std::size_t k_stride;  // values from slot to slot
    std::size_t v_stride;
    std::size_t out_stride;
    std::int32_t const* pages;
    paged_query const* queries;
    std::uint32_t page_bits;  // log2 of the tokens of a page
    std::uint32_t kv_heads;
    std::uint32_t queries_a_key;
    std::uint32_t chunks;
    std::uint32_t head_dim;
    float scale;  // times log2 e
    float* partials;
    unsigned* counters;
};

/// Where a split's partial results of a head lie: its maximum and sum, then its sums of values.
__device__ __forceinline__ float* partial_at(paged_attention_work const& work, std::uint32_t split,
                                             std::uint32_t head) {
    std::uint32_t const heads = work.kv_heads * work.queries_a_key;
    return work.partials + (std::size_t{split} * heads + head) * (work.head_dim + 2);
}

/// Block (i, j): query i / (kv_heads * chunks), of its splits the j-th and every gridDim.y-th
/// after.
template <int Lanes, int Group>
__global__ void __launch_bounds__(cached_attention_threads)
    paged_attention_kernel(paged_attention_work const work) {
    ptx::allow_next_kernel();
    ptx::wait_for_previous_kernel();
    using state = cached_attention_lane<Lanes, Group>;
    constexpr std::uint32_t width = state::width;
    constexpr auto split_keys = static_cast<std::uint32_t>(paged_split);
    __shared__ cached_attention_parts<Lanes, Group> shared;

    std::uint32_t const pair = blockIdx.x / work.chunks;
    std::uint32_t const kv_head = pair % work.kv_heads;
    paged_query const query = work.queries[pair / work.kv_heads];
    auto const length = static_cast<std::uint32_t>(query.length);
    std::uint32_t const splits = (length + split_keys - 1) / split_keys;
    if (blockIdx.y >= splits) {
        return;
    }
    std::uint32_t const among = blockIdx.x % work.chunks * Group;
    std::uint32_t const given = min(work.queries_a_key - among, std::uint32_t{Group});
    std::uint32_t const head = kv_head * work.queries_a_key + among;
    std::size_t const column = std::size_t{head} * work.head_dim;
    std::uint32_t const at = threadIdx.x % Lanes * width;
    bool const active = at < work.head_dim;
    std::size_t const row = static_cast<std::uint32_t>(query.row);
    std::size_t const kv_column = std::size_t{kv_head} * work.head_dim + at;
    std::int32_t const* const pages = work.pages + query.table;
    bf16* const out = work.out + row * work.out_stride + column;
    auto const slot = [&](std::uint32_t token) {
        auto const page = static_cast<std::size_t>(pages[token >> work.page_bits]);
        return (page << work.page_bits) + (token & ((1u << work.page_bits) - 1u));
    };

    for (std::uint32_t split = blockIdx.y; split < splits; split += gridDim.y) {
        state lane(work.q + row * work.q_stride + column + at, work.head_dim, given, active,
                   work.scale);
        std::uint32_t const begin = split * split_keys;
        walk_keys(lane, work.k + kv_column, work.k_stride, work.v + kv_column, work.v_stride, begin,
                  min(length, begin + split_keys), active, slot);
        join_parts(lane, shared, given, work.head_dim,
                   [&](std::uint32_t g, std::uint32_t from, float most, float total, float(&x)[8]) {
                       if (splits == 1) {
                           store_quotients(out + std::size_t{g} * work.head_dim + from, total, x);
                           return;
                       }
                       float* const to = partial_at(
                           work, static_cast<std::uint32_t>(query.split) + split, head + g);
                       if (from == 0) {
                           to[0] = most;
                           to[1] = total;
                       }
                       FPQ_UNROLL
                       for (std::uint32_t i = 0; i < width; ++i) {
                           to[2 + from + i] = x[i];
                       }
                   });
        __syncthreads();  // the next split writes over `shared`
    }
    if (splits == 1) {
        return;
    }
    if (!last_split_to_arrive(work.counters + blockIdx.x, min(gridDim.y, splits))) {
        return;
    }
    std::uint32_t const pieces = work.head_dim / width;
    for (std::uint32_t item = threadIdx.x; item < given * pieces;
         item += cached_attention_threads) {
        std::uint32_t const g = item / pieces;
        std::uint32_t const from = item % pieces * width;
        auto const part = [&](std::uint32_t split) {
            return partial_at(work, static_cast<std::uint32_t>(query.split) + split, head + g);
        };
        float most = part(0)[0];
        for (std::uint32_t s = 1; s < splits; ++s) {
            most = fmaxf(most, part(s)[0]);
        }
        float total = 0.0F;
        float x[width] = {};
        for (std::uint32_t s = 0; s < splits; ++s) {
            float const* const of = part(s);
            float const weight = ptx::exp2_approximate(of[0] - most);
            total = fma_rn(of[1], weight, total);
            FPQ_UNROLL
            for (std::uint32_t i = 0; i < width; ++i) {
                x[i] = fma_rn(of[2 + from + i], weight, x[i]);
            }
        }
        store_quotients(out + std::size_t{g} * work.head_dim + from, total, x);
    }
}

}  // namespace fpq::cuda
