// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Causal attention with grouped heads: a block takes a tile of queries of one head and
// walks over the tiles of keys that they see. K and V come by cp.async into two stages; while one
// is multiplied the other is under way. FlashAttention's online softmax (Dao et al., 2022, 2023);
// sm_80 and later.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fpq/core/half.hpp"
#include "fpq/cuda/forward/attention_tile.hpp"
#include "fpq/cuda/forward/attention_warp.cuh"
#include "fpq/cuda/ptx/mma.cuh"

namespace fpq::cuda {

struct attention_work {
    bf16 const* q;
    bf16 const* k;
    bf16 const* v;
    bf16* out;
    std::size_t q_stride;  // values from token to token
    std::size_t k_stride;
    std::size_t v_stride;
    std::size_t out_stride;
    std::uint32_t length;
    std::uint32_t heads;
    std::uint32_t queries_a_key;  // query heads of a key head
    std::uint32_t head_dim;
    std::uint32_t sliding;  // 0: none
    float scale;            // times log2 e
    attention_order order;
};

/// Rows rows of a head, global to shared memory: a thread copies every rows_a_pass-th row from its
/// own, and of these every across-th piece from its own. Rows from `given` on, and pieces beyond
/// head_dim, become 0.
template <int Dim, int Rows>
__device__ __forceinline__ void load_head_rows(std::uint32_t to, bf16 const* from,
                                               std::size_t stride, std::uint32_t given,
                                               std::uint32_t head_dim) {
    using tile = attention_tile<Dim>;
    std::uint32_t const thread = ptx::thread_read_anew();
    std::uint32_t const row = thread / tile::across;
    std::uint32_t const piece = thread % tile::across;
    from += row * stride + piece * 8;
    to += tile::place(row, piece);
    FPQ_UNROLL
    for (int i = 0; i < Rows; i += tile::rows_a_pass) {
        FPQ_UNROLL
        for (int j = 0; j < tile::pieces; j += tile::across) {
            bool const there = row + i < given && (piece + j) * 8 < head_dim;
            ptx::copy_async_16(to + static_cast<std::uint32_t>(i * tile::row_bytes + j * 16),
                               from + j * 8, there ? 16 : 0);
        }
        from += tile::rows_a_pass * stride;
    }
}

/// What a block works on: queries of one head, and where their rows are.
struct attention_part {
    std::uint32_t head;
    std::uint32_t row;      // of q and out, that of the first query
    std::uint32_t query;    // place of the first among its keys
    std::uint32_t queries;  // up to a tile's
};

/// The block's queries against the keys that they see. load_keys(first key, address) queues the
/// copies of a tile of keys and, behind it, of their values. Q, k and v are the work's alone.
template <int Dim, class Work, class Load>
__device__ __forceinline__ void attend_part(Work const& work, attention_part const& part,
                                            std::uint32_t sliding, Load const& load_keys) {
    using tile = attention_tile<Dim>;
    extern __shared__ __align__(128) unsigned char attention_shared[];
    std::uint32_t const queries_at = ptx::shared_address(attention_shared);
    std::uint32_t const keys_at = queries_at + tile::query_bytes;
    key_range const seen = keys_seen(part.query, part.query + part.queries, sliding);
    std::uint32_t const lane = threadIdx.x % 32;
    // Of one value in a warp, and so that the compiler knows it.
    std::uint32_t const warp = __shfl_sync(0xFFFFFFFFu, threadIdx.x / 32, 0);
    std::uint32_t const warp_query = part.query + warp * tile::warp_queries;
    std::uint32_t key = seen.first / tile::keys * tile::keys;
    load_head_rows<Dim, tile::queries>(
        queries_at, work.q + std::size_t{part.row} * work.q_stride + part.head * work.head_dim,
        work.q_stride, part.queries, work.head_dim);
    load_keys(key, keys_at);
    ptx::copy_async_commit();

    attention_warp<Dim> state(
        lane, warp, reinterpret_cast<float*>(attention_shared + tile::sums_at) + threadIdx.x);
    if constexpr (tile::kept_steps > 0) {
        ptx::copy_async_wait<0>();
        __syncthreads();
        state.keep_queries(queries_at);
    }
    for (std::uint32_t stage = 0; key < seen.end; key += tile::keys, stage ^= 1u) {
        // This stage's keys are there, and every warp is done with the other stage.
        ptx::copy_async_wait<0>();
        __syncthreads();
        if (key + tile::keys < seen.end) {
            load_keys(key + tile::keys, keys_at + (stage ^ 1u) * (2 * tile::key_bytes));
            ptx::copy_async_commit();
        }
        // From the warp's first query back to the tile's first key.
        int const back = static_cast<int>(warp_query) - static_cast<int>(key);
        int const nearest = back - (tile::keys - 1);
        int const farthest = back + (tile::warp_queries - 1);
        bool const some = farthest >= 0 && (nearest < 0 || seen_back(nearest, sliding));
        if (some) {
            std::uint32_t const at = keys_at + stage * (2 * tile::key_bytes);
            state.multiply_keys(queries_at, at);
            if (!seen_back(nearest, sliding) || !seen_back(farthest, sliding)) {
                int const own = static_cast<int>(ptx::thread_read_anew() % 32);
                state.mask(back + own / 4 - own % 4 * 2, sliding);
            }
            state.softmax(work.scale);
            state.multiply_values(at + tile::key_bytes);
        }
    }

    // A warp's queries are its own: no other warp reads or writes these rows.
    __syncwarp();
    state.finish(lane, warp, attention_shared);
    __syncwarp();
    bf16* const out =
        work.out + std::size_t{part.row} * work.out_stride + part.head * work.head_dim;
    FPQ_UNROLL
    for (int i = 0; i < tile::warp_queries * tile::pieces / 32; ++i) {
        std::uint32_t const at = lane + static_cast<std::uint32_t>(32 * i);
        std::uint32_t const row = warp * tile::warp_queries + at / tile::pieces;
        std::uint32_t const piece = at % tile::pieces;
        if (row < part.queries && piece * 8 < work.head_dim) {
            *reinterpret_cast<uint4*>(out + row * work.out_stride + piece * 8) =
                *reinterpret_cast<uint4 const*>(attention_shared + tile::place(row, piece));
        }
    }
}

template <int Dim>
__global__ void __launch_bounds__(attention_tile<Dim>::threads, attention_tile<Dim>::resident)
    attention_kernel(attention_work const work) {
    using tile = attention_tile<Dim>;
    attention_order::item const item = work.order.at(blockIdx.x);
    std::uint32_t const head = item.pair % work.heads;
    std::uint32_t const first_token = item.pair / work.heads * work.length;
    std::uint32_t const query = item.tile * tile::queries;
    std::uint32_t const queries = min(work.length - query, std::uint32_t{tile::queries});
    std::uint32_t const column = head / work.queries_a_key * work.head_dim;
    auto const load_keys = [&](std::uint32_t from, std::uint32_t to) {
        std::uint32_t const given = work.length - from;
        std::size_t const token = first_token + from;
        load_head_rows<Dim, tile::keys>(to, work.k + token * work.k_stride + column, work.k_stride,
                                        given, work.head_dim);
        load_head_rows<Dim, tile::keys>(to + tile::key_bytes,
                                        work.v + token * work.v_stride + column, work.v_stride,
                                        given, work.head_dim);
    };
    attend_part<Dim>(work, {head, first_token + query, query, queries}, work.sliding, load_keys);
}

}  // namespace fpq::cuda
