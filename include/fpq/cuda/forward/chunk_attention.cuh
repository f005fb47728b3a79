// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Attention of pieces of prompts to keys and values in pages: the blocks of
// attention.cuh, whose queries begin anywhere in their sequence and whose keys come page by page.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fpq/core/half.hpp"
#include "fpq/cuda/api/paged.hpp"
#include "fpq/cuda/forward/attention.cuh"
#include "fpq/cuda/forward/attention_tile.hpp"
#include "fpq/cuda/ptx/mma.cuh"

namespace fpq::cuda {

struct chunk_attention_work {
    bf16 const* q;
    bf16 const* k;
    bf16 const* v;
    bf16* out;
    std::size_t q_stride;
    std::size_t k_stride;  // values from slot to slot
    std::size_t v_stride;
    std::size_t out_stride;
    std::int32_t const* pages;
    paged_chunk const* chunks;
    paged_tile const* tiles;
    std::uint32_t page_bits;  // log2 of the tokens of a page
    std::uint32_t heads;
    std::uint32_t queries_a_key;
    std::uint32_t head_dim;
    float scale;  // times log2 e
};

/// Keys (or values) of tokens [first, first + Rows) of a sequence to shared memory, as
/// load_head_rows; tokens from `end` on become 0.
template <int Dim, int Rows>
__device__ __forceinline__ void load_paged_rows(std::uint32_t to, bf16 const* pool,
                                                std::size_t stride, std::int32_t const* pages,
                                                std::uint32_t page_bits, std::uint32_t first,
                                                std::uint32_t end, std::uint32_t head_dim) {
    using tile = attention_tile<Dim>;
    std::uint32_t const thread = ptx::thread_read_anew();
    std::uint32_t const row = thread / tile::across;
    std::uint32_t const piece = thread % tile::across;
    to += tile::place(row, piece);
    FPQ_UNROLL
    for (int i = 0; i < Rows; i += tile::rows_a_pass) {
        std::uint32_t const token = first + row + static_cast<std::uint32_t>(i);
        bool const given = token < end;
        auto const page = static_cast<std::size_t>(given ? pages[token >> page_bits] : 0)
                          << page_bits;
        std::size_t const slot = page + (token & ((1u << page_bits) - 1u));
        bf16 const* const from = pool + (given ? slot : 0) * stride + piece * 8;
        FPQ_UNROLL
        for (int j = 0; j < tile::pieces; j += tile::across) {
            bool const there = given && (piece + j) * 8 < head_dim;
            ptx::copy_async_16(to + static_cast<std::uint32_t>(i * tile::row_bytes + j * 16),
                               from + j * 8, there ? 16 : 0);
        }
    }
}

/// Blocks that a multiprocessor's registers hold at once: the addresses of pages leave no room for
/// a third one, which attention_tile has for heads of 64.
inline constexpr int chunk_attention_resident = 2;

/// Block i: head i % heads of tile i / heads.
template <int Dim>
__global__ void __launch_bounds__(attention_tile<Dim>::threads, chunk_attention_resident)
    chunk_attention_kernel(chunk_attention_work const work) {
    using tile = attention_tile<Dim>;
    paged_tile const which = work.tiles[blockIdx.x / work.heads];
    paged_chunk const chunk = work.chunks[which.chunk];
    std::uint32_t const head = blockIdx.x % work.heads;
    auto const first = static_cast<std::uint32_t>(which.first);
    std::uint32_t const query = static_cast<std::uint32_t>(chunk.position) + first;
    std::uint32_t const queries =
        min(static_cast<std::uint32_t>(chunk.count) - first, std::uint32_t{tile::queries});
    std::uint32_t const end = query + queries;  // no query of this tile sees further
    std::uint32_t const column = head / work.queries_a_key * work.head_dim;
    std::int32_t const* const pages = work.pages + chunk.table;
    auto const load_keys = [&](std::uint32_t from, std::uint32_t to) {
        load_paged_rows<Dim, tile::keys>(to, work.k + column, work.k_stride, pages, work.page_bits,
                                         from, end, work.head_dim);
        load_paged_rows<Dim, tile::keys>(to + tile::key_bytes, work.v + column, work.v_stride,
                                         pages, work.page_bits, from, end, work.head_dim);
    };
    attend_part<Dim>(work, {head, static_cast<std::uint32_t>(chunk.row) + first, query, queries}, 0,
                     load_keys);
}

}  // namespace fpq::cuda
