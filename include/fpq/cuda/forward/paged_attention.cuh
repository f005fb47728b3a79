// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Attention of single rows to keys and values in pages. Splits of 256 keys, which blocks
// share out, so that one long sequence keeps a whole card busy; in a split a warp takes every
// fourth 16 keys (paged_attention_warp.cuh), and warps, then splits, are joined in their order.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fpq/core/half.hpp"
#include "fpq/cuda/api/paged.hpp"
#include "fpq/cuda/forward/paged_attention_warp.cuh"
#include "fpq/cuda/forward/values.cuh"
#include "fpq/cuda/gemm/split_arrival.cuh"
#include "fpq/cuda/ptx/float_ops.cuh"
#include "fpq/cuda/ptx/mma.cuh"

namespace fpq::cuda {

inline constexpr int paged_attention_threads = 128;

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
    std::uint32_t chunks;  // blocks that share out the query heads of a key head
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

/// Parts of one head's attention joined in their order, two values of it: part(i) has the part's
/// maximum, sum, and both values.
template <class Part>
__device__ __forceinline__ float4 join_attention(std::uint32_t parts, Part const& part) {
    float most = part(0).x;
    for (std::uint32_t i = 1; i < parts; ++i) {
        most = fmaxf(most, part(i).x);
    }
    float4 whole = make_float4(most, 0.0F, 0.0F, 0.0F);
    for (std::uint32_t i = 0; i < parts; ++i) {
        float4 const one = part(i);
        float const weight = ptx::exp2_approximate(one.x - most);
        whole.y = fma_rn(one.y, weight, whole.y);
        whole.z = fma_rn(one.z, weight, whole.z);
        whole.w = fma_rn(one.w, weight, whole.w);
    }
    return whole;
}

/// Both values over their sum, as bf16.
__device__ __forceinline__ void store_quotients(bf16* to, float4 const& whole) {
    float const inverse = div_rn(1.0F, whole.y);
    *reinterpret_cast<std::uint32_t*>(to) =
        half_words<bf16>::pack(mul_rn(whole.z, inverse), mul_rn(whole.w, inverse));
}

/// Block (i, j): query i / (kv_heads * chunks), of its splits the j-th and every gridDim.y-th
/// after.
template <int Dim>
__global__ void __launch_bounds__(paged_attention_threads)
    paged_attention_kernel(paged_attention_work const work) {
    using warp_state = paged_attention_warp<Dim>;
    constexpr auto split_keys = static_cast<std::uint32_t>(paged_split);
    constexpr std::uint32_t warps = paged_attention_threads / 32 / warp_state::shares;
    constexpr std::uint32_t stride = warps * warp_state::keys;
    __shared__ float tops[warps][warp_state::heads];
    __shared__ float sums[warps][warp_state::heads];
    alignas(16) __shared__ float outs[warps][warp_state::heads][Dim];

    ptx::allow_next_kernel();
    std::uint32_t const pair = blockIdx.x / work.chunks;
    std::uint32_t const kv_head = pair % work.kv_heads;
    paged_query const query = work.queries[pair / work.kv_heads];
    auto const length = static_cast<std::uint32_t>(query.length);
    std::uint32_t const splits = (length + split_keys - 1) / split_keys;
    std::uint32_t const among = blockIdx.x % work.chunks * warp_state::heads;
    std::uint32_t const given = min(work.queries_a_key - among, warp_state::heads);
    std::uint32_t const head = kv_head * work.queries_a_key + among;
    std::size_t const column = std::size_t{head} * work.head_dim;
    std::size_t const row = static_cast<std::uint32_t>(query.row);
    bf16 const* const k = work.k + std::size_t{kv_head} * work.head_dim;
    bf16 const* const v = work.v + std::size_t{kv_head} * work.head_dim;
    std::int32_t const* const pages = work.pages + query.table;
    bf16* const out = work.out + row * work.out_stride + column;
    std::uint32_t const warp = threadIdx.x / 32 / warp_state::shares;
    std::uint32_t const begin = threadIdx.x / 32 % warp_state::shares * (Dim / warp_state::shares);
    auto const slot_of = [&](std::uint32_t first, std::uint32_t i, std::uint32_t end) {
        std::uint32_t const token = min(first + i, end - 1);
        auto const page = static_cast<std::size_t>(pages[token >> work.page_bits]);
        return (page << work.page_bits) + (token & ((1u << work.page_bits) - 1u));
    };

    bool waited = false;
    for (std::uint32_t split = blockIdx.y; split < splits; split += gridDim.y) {
        std::uint32_t const end = min(length, (split + 1) * split_keys);
        std::uint32_t first = split * split_keys + warp * warp_state::keys;
        warp_state state;
        auto const load_keys = [&] {
            state.load_keys(k, work.k_stride, work.head_dim, first, end, slot_of);
        };
        auto const load_values = [&] {
            state.load_values(v, work.v_stride, begin, work.head_dim, first, end, slot_of);
        };
        // The last key is what the kernel before this one stores, the others were there before it.
        bool const early = !waited && first + warp_state::keys < length;
        if (early) {
            load_keys();
            load_values();
        }
        if (!waited) {
            ptx::wait_for_previous_kernel();
            waited = true;
        }
        if (!early && first < end) {
            load_keys();
            load_values();
        }
        state.load_queries(work.q + row * work.q_stride + column, work.head_dim, given);
        while (first < end) {
            float s[2][4];
            std::uint32_t const left = end - first;
            state.multiply_keys(s);
            first += stride;
            if (first < end) {
                load_keys();
            }
            state.softmax(s, work.scale, left);
            state.multiply_values(s);
            if (first < end) {
                load_values();
            }
        }

        std::uint32_t const g = threadIdx.x % 32 / 4;
        state.sum += __shfl_xor_sync(0xFFFFFFFFu, state.sum, 1);
        state.sum += __shfl_xor_sync(0xFFFFFFFFu, state.sum, 2);
        if (g < given) {
            tops[warp][g] = state.top;
            sums[warp][g] = state.sum;
            state.each_sum([&](std::uint32_t at, float4 const& x) {
                *reinterpret_cast<float4*>(&outs[warp][g][begin + at]) = x;
            });
        }
        __syncthreads();
        std::uint32_t const pairs = work.head_dim / 2;
        for (std::uint32_t item = threadIdx.x; item < given * pairs;
             item += paged_attention_threads) {
            std::uint32_t const h = item / pairs;
            std::uint32_t const at = item % pairs * 2;
            float4 const whole = join_attention(warps, [&](std::uint32_t w) {
                return make_float4(tops[w][h], sums[w][h], outs[w][h][at], outs[w][h][at + 1]);
            });
            if (splits == 1) {
                store_quotients(out + std::size_t{h} * work.head_dim + at, whole);
                continue;
            }
            float* const to =
                partial_at(work, static_cast<std::uint32_t>(query.split) + split, head + h);
            if (at == 0) {
                *reinterpret_cast<float2*>(to) = make_float2(whole.x, whole.y);
            }
            *reinterpret_cast<float2*>(to + 2 + at) = make_float2(whole.z, whole.w);
        }
        __syncthreads();  // the next split writes over what was shared
    }
    if (!waited) {
        ptx::wait_for_previous_kernel();
    }
    if (splits <= 1 || blockIdx.y >= splits ||
        !last_split_to_arrive(work.counters + blockIdx.x, min(gridDim.y, splits))) {
        return;
    }
    std::uint32_t const pairs = work.head_dim / 2;
    for (std::uint32_t item = threadIdx.x; item < given * pairs; item += paged_attention_threads) {
        std::uint32_t const h = item / pairs;
        std::uint32_t const at = item % pairs * 2;
        float4 const whole = join_attention(splits, [&](std::uint32_t split) {
            float const* const of =
                partial_at(work, static_cast<std::uint32_t>(query.split) + split, head + h);
            float2 const most = *reinterpret_cast<float2 const*>(of);
            float2 const x = *reinterpret_cast<float2 const*>(of + 2 + at);
            return make_float4(most.x, most.y, x.x, x.y);
        });
        store_quotients(out + std::size_t{h} * work.head_dim + at, whole);
    }
}

}  // namespace fpq::cuda
