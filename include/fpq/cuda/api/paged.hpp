// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Launchers for the steps of an engine: rows of many sequences at their own positions,
// keys and values in pages of one pool, and what is read from their logits. Part "forward"; what
// api/forward.hpp says of its launchers holds here too. Nothing here waits or allocates, and grids
// depend on sizes that the host gives, so all of it can be captured into a graph and played again
// with other tables.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "fpq/core/half.hpp"
#include "fpq/cuda/api/forward.hpp"
#include "fpq/cuda/api/status.hpp"
#include "fpq/cuda/forward/score_state.hpp"

namespace fpq::cuda {

/// The slots of a pool: row pages[table + t / page] * page + t % page of keys and of values belongs
/// to token t of a sequence whose pages begin at `table`.
struct paged_cache {
    bf16_rows keys;  // (slots, kv_heads * head_dim)
    bf16_rows values;
    std::int32_t const* pages = nullptr;  // of all sequences
    std::size_t page = 16;                // tokens of a page, a power of two
};

/// keys and values at slots[i] = k and v row i, for every slot that is not negative.
status launch_store_rows(bf16_rows const& k, bf16_rows const& v, std::size_t rows, std::size_t cols,
                         std::int32_t const* slots, bf16_rows const& keys, bf16_rows const& values,
                         cudaStream_t stream);

/// A row that attends alone: the next token of a sequence.
struct paged_query {
    std::int32_t row = 0;     // of q and out
    std::int32_t length = 0;  // keys that it sees, its own the last; 0: nothing is done
    std::int32_t table = 0;   // its sequence's first page in paged_cache::pages
    std::int32_t split = 0;   // its first partial result: the splits of those before it
};

/// Keys of one split: every one is summed by itself, whatever else runs, and splits are joined in
/// their order.
inline constexpr std::size_t paged_split = 256;

struct paged_attention_args {
    bf16_rows q;  // (rows, heads * head_dim)
    bf16_rows out;
    paged_cache cache;
    paged_query const* queries = nullptr;  // device, `count` of them
    std::size_t count = 0;
    std::size_t splits = 1;  // blocks that share out the splits of a sequence; any number is right
    std::size_t heads = 0;
    std::size_t kv_heads = 0;
    std::size_t head_dim = 0;
    float scale = 0;               // of q k^T; 0: 1 / sqrt(head_dim)
    float* partials = nullptr;     // paged_partials(...) floats: splits of all queries together
    unsigned* counters = nullptr;  // count * heads, zero before the first call, left zero
};

/// Floats of a split's partial results, for all heads.
[[nodiscard]] constexpr std::size_t paged_partials(std::size_t heads,
                                                   std::size_t head_dim) noexcept {
    return heads * (head_dim + 2);
}

/// out = softmax(scale q k^T) v for single rows, in float32, rounded once; a row's bits do not
/// depend on the other rows, on `splits` or on where pages lie. Refusals: those of
/// launch_attention, and a page that is no power of two.
status launch_paged_attention(paged_attention_args const& args, cudaStream_t stream);

/// Neighbouring rows of one sequence: a piece of a prompt.
struct paged_chunk {
    std::int32_t row = 0;       // the first, of q and out
    std::int32_t count = 0;     // of rows
    std::int32_t position = 0;  // of the first
    std::int32_t table = 0;
};

/// Queries of a chunk that a block takes.
struct paged_tile {
    std::int32_t chunk = 0;
    std::int32_t first = 0;  // query of the chunk, a multiple of chunk_queries(head_dim)
};

/// Queries of a tile for heads of this size.
[[nodiscard]] constexpr std::size_t chunk_queries(std::size_t head_dim) noexcept {
    return head_dim <= 128 ? 128 : 64;
}

struct chunk_attention_args {
    bf16_rows q;
    bf16_rows out;
    paged_cache cache;
    paged_chunk const* chunks = nullptr;  // device
    paged_tile const* tiles = nullptr;    // device, `tile_count` of them: all tiles of all chunks
    std::size_t tile_count = 0;
    std::size_t heads = 0;
    std::size_t kv_heads = 0;
    std::size_t head_dim = 0;
    float scale = 0;
};

/// The same for chunks, on the tensor cores, as launch_attention computes: causal, each row sees
/// what is stored of its sequence up to itself.
status launch_chunk_attention(chunk_attention_args const& args, cudaStream_t stream);

/// Likeliest tokens of a row that the device lists.
inline constexpr std::size_t most_listed = 8;

/// What a row of logits says. lse is not finite when one of them is not.
struct row_facts {
    double lse = 0;    // log(sum(e^logit))
    float target = 0;  // the target's logit; 0 without one
    std::int32_t listed = 0;
    std::int32_t ids[most_listed] = {};  // the likeliest first, lower ids first among equals
    float logits[most_listed] = {};
};

/// Blocks that share out a row of logits.
inline constexpr std::size_t row_facts_parts = 16;

/// What launch_row_facts needs for as many rows.
struct row_facts_room {
    score_part* parts = nullptr;   // (rows, row_facts_parts)
    unsigned* counters = nullptr;  // (rows), zero before the first call, left zero
};

/// facts[i] of row i of logits (rows, vocab), float32, row i at i * stride: the likeliest
/// counts[i] tokens (1 to most_listed), targets[i] (negative: none). e^x as launch_score_tile.
status launch_row_facts(float const* logits, std::size_t stride, std::size_t rows,
                        std::size_t vocab, std::int32_t const* targets, std::int32_t const* counts,
                        row_facts_room const& room, row_facts* facts, cudaStream_t stream);

}  // namespace fpq::cuda
