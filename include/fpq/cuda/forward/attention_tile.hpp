// SPDX-License-Identifier: Apache-2.0
// Wing cuda. The geometry of attention: how many queries and keys a block and a warp hold, where
// the pieces of a row lie in shared memory, which keys a query sees, which block does which work.
// Host and device; tests on the CPU walk all of it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fpq/core/config.hpp"

namespace fpq::cuda {

/// The tiles of a kernel for heads of up to `Dim` values, a multiple of 16.
///
/// Rows of bf16 lie in shared memory one after the other in pieces of 16 bytes; the low bits of a
/// piece's index are mixed with the row's so that the same piece of eight neighbouring rows, which
/// one ldmatrix reads, lies in eight different 16-byte banks.
template <int Dim>
struct attention_tile {
    static_assert(Dim % 16 == 0);

    static constexpr int dim = Dim;
    static constexpr int warps = 4;
    static constexpr int threads = 32 * warps;
    // A warp with 32 queries uses what it reads of K and V twice; at 256 the sums of 32 queries do
    // not fit its registers.
    static constexpr int warp_queries = Dim <= 128 ? 32 : 16;
    static constexpr int queries = warps * warp_queries;
    static constexpr int keys = Dim <= 128 ? 64 : 32;
    static constexpr int stages = 2;
    /// Steps of 16 values of a warp's queries that stay in registers; the others are read again for
    /// every tile of keys. At 256, where shared memory is the limit, this is 14 % of the time; at
    /// 96 and 128 there is no room, and at 64 a third block is worth more (5 %).
    static constexpr int kept_steps = Dim <= 64 ? 0 : Dim <= 80 ? Dim / 16 : Dim > 128 ? 14 : 0;
    /// Blocks that a multiprocessor's registers hold at once; shared memory may hold fewer.
    static constexpr int resident = Dim <= 64 ? 3 : 2;
    static constexpr int pieces = Dim / 8;  // of 16 bytes, in a row
    static constexpr int row_bytes = 2 * Dim;
    static constexpr int query_bytes = queries * row_bytes;
    static constexpr int key_bytes = keys * row_bytes;
    /// Q, then `stages` times K and V, then a sum for each query that a thread has a part of.
    static constexpr int sums_at = query_bytes + stages * 2 * key_bytes;
    static constexpr int shared = sums_at + warp_queries / 8 * threads * 4;
    static_assert(shared <= 99 * 1024, "what a block of sm_86, sm_89 and sm_120 may have");

    /// Bits of a piece's index that are mixed: as many as a row's length leaves conflicts.
    static constexpr int mixed_bits = pieces % 8 == 0 ? 3 : pieces % 4 == 0 ? 2 : 1;
    static_assert(pieces % 2 == 0);
    /// Bits of an offset inside a row that the mix can change.
    static constexpr std::uint32_t mixed_mask = (16u << mixed_bits) - 1u;

    /// Threads that copy a row together: a warp's copies are of whole sectors of 32 bytes or more,
    /// and a thread's rows and pieces are a fixed distance apart.
    static constexpr int across = 1 << mixed_bits;
    static constexpr int rows_a_pass = threads / across;
    static_assert(rows_a_pass % 8 == 0 && keys % rows_a_pass == 0 && queries % rows_a_pass == 0);

    /// What a row's pieces are mixed with, at its place in an offset.
    FPQ_HD static constexpr std::uint32_t mix(std::uint32_t row) noexcept {
        return (row % 8u >> (3 - mixed_bits)) * 16u;
    }
    /// Offset of a piece of a row.
    FPQ_HD static constexpr std::uint32_t place(std::uint32_t row, std::uint32_t piece) noexcept {
        return row * static_cast<std::uint32_t>(row_bytes) + (piece * 16u ^ mix(row));
    }
    /// place(row, first + piece) from place(row, first), for an even `piece` known when compiled
    /// and `first` 0 or 1: one exclusive or. Needs addresses that are multiples of 128.
    FPQ_HD static constexpr std::uint32_t onward(std::uint32_t place,
                                                 std::uint32_t piece) noexcept {
        return (place ^ (piece * 16u & mixed_mask)) + (piece * 16u & ~mixed_mask);
    }
};

/// Keys [first, end) of a window that queries [from, to) see, before rounding to tiles. `sliding`
/// keys up to itself are seen by a query; 0: all.
struct key_range {
    std::uint32_t first;
    std::uint32_t end;
};
FPQ_HD constexpr key_range keys_seen(std::uint32_t from, std::uint32_t to,
                                     std::uint32_t sliding) noexcept {
    return {sliding != 0 && from >= sliding ? from + 1 - sliding : 0, to};
}

/// Whether a query sees the key `back` places before it.
FPQ_HD constexpr bool seen_back(int back, std::uint32_t sliding) noexcept {
    return back >= 0 && (sliding == 0 || static_cast<std::uint32_t>(back) < sliding);
}

/// Blocks of (window, head, tile of queries). Some pairs of window and head are worked on together,
/// so that their keys stay in the L2 cache; among them the tiles that see most keys come first.
struct attention_order {
    static constexpr std::uint32_t together = 32;

    std::uint32_t pairs = 0;  // windows * heads
    std::uint32_t tiles = 0;  // of queries, in a window

    struct item {
        std::uint32_t pair;  // window * heads + head
        std::uint32_t tile;
    };
    FPQ_HD constexpr item at(std::uint32_t block) const noexcept {
        std::uint32_t const first = block / (together * tiles) * together;
        std::uint32_t const among = pairs - first < together ? pairs - first : together;
        std::uint32_t const rest = block - first * tiles;
        return {first + rest % among, tiles - 1 - rest / among};
    }
};

}  // namespace fpq::cuda
