// SPDX-License-Identifier: Apache-2.0
// Wing cuda. The Hadamard rotation on tensor cores: which matrix the mma multiplies by, and which
// values each lane owns. Host and device; tests walk all lanes.
//
// A warp takes 16 blocks of 64 columns (128 for size 128). Of a block, lane 4 * q + t of a quad row
// q owns columns 16 t .. 16 t + 15: two loads of 8 values, "chunks", each of which is one A operand
// as it comes from memory. Column bits are split so that neither a shuffle nor a move is needed:
// bits 0, 2, 4 and 5 are summed by the mma; bit 3, the chunk, by accumulating with a negated
// matrix; bit 1 lies in the rows of the operand and is one addition in the lane, as is bit 6 for
// size 128.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fpq/core/config.hpp"
#include "fpq/cuda/quantize/segment_map.cuh"

namespace fpq::cuda {

/// Columns of a block row.
FPQ_HD constexpr std::uint32_t rotation_span(int size) noexcept { return size == 128 ? 128 : 64; }

/// Column bits that the mma sums.
FPQ_HD constexpr std::uint32_t mma_bits(int size) noexcept {
    return size == 16 ? 0x05u : size == 32 ? 0x15u : 0x35u;
}

/// Column within the block of the mma's k index in [0, 16).
FPQ_HD constexpr std::uint32_t column_of_k(std::uint32_t k) noexcept {
    return 16u * (k % 8 / 2) + 4u * (k / 8) + k % 2;
}

/// Column within the block of the mma's n index: tile j in {0, 1}, n in [0, 8).
FPQ_HD constexpr std::uint32_t column_of_n(std::uint32_t j, std::uint32_t n) noexcept {
    return 16u * (n / 2) + 4u * j + n % 2;
}

/// Entry of the matrix that the mma multiplies by: +1, -1, or 0 between columns that differ in a
/// bit which the rotation leaves alone.
FPQ_HD constexpr int mma_sign(int size, std::uint32_t in, std::uint32_t out) noexcept {
    std::uint32_t const own = mma_bits(size);
    if (((in ^ out) & ~own) != 0) {
        return 0;
    }
    std::uint32_t odd = 0;
    for (std::uint32_t common = in & out & own; common != 0; common &= common - 1) {
        odd ^= 1u;
    }
    return odd != 0 ? -1 : 1;
}

/// Where block row q in [0, 16) of warp `warp` lies.
struct block_place {
    std::uint32_t row;
    std::uint32_t block;
};

/// The walk of one launch over blocks.
struct rotation_map {
    std::uint32_t rows = 0;
    std::uint32_t blocks = 0;  // of a row
    std::uint32_t warps = 0;   // that have work
    fast_divisor by{};         // row-major: blocks; swizzled: pieces of a row, see `bits`
    bool swizzled = false;
    std::uint32_t bits = 0;  // swizzled: a warp takes 2^bits neighbouring blocks of a row

    template <bool Swizzled>
    FPQ_HD constexpr block_place place(std::uint32_t warp, std::uint32_t q) const noexcept {
        if constexpr (!Swizzled) {
            std::uint32_t const n = warp * 16 + q;
            std::uint32_t const row = by.divide(n);
            return {row, n - row * blocks};
        }
        std::uint32_t const rest = by.divide(warp);
        std::uint32_t const piece = warp - rest * by.divisor;
        std::uint32_t const block = q & ((1u << bits) - 1u);
        std::uint32_t const quarter = (q >> bits) & 3u;
        std::uint32_t const low = q >> (bits + 2);  // of the row within 32
        std::uint32_t const low_bits = 2u - bits;
        std::uint32_t const high = rest & ((32u >> low_bits) - 1u);
        std::uint32_t const tile = rest >> (5u - low_bits);
        return {tile * 128 + quarter * 32 + (high << low_bits) + low, (piece << bits) + block};
    }
    /// The same, the order chosen at run time.
    FPQ_HD constexpr block_place at(std::uint32_t warp, std::uint32_t q) const noexcept {
        return swizzled ? place<true>(warp, q) : place<false>(warp, q);
    }
};

/// What a lane owns of a warp's 16 blocks when scales are swizzled: one column range of two rows.
struct swizzled_lane {
    std::uint32_t row;          // of blocks q = lane / 4
    std::uint32_t below;        // rows from there to those of q + 8
    std::uint32_t block;        // of both
    std::uint32_t scale;        // index of the scale byte of its first 16 columns, in the upper row
    std::uint32_t scale_below;  // from there to the lower row's
};

/// place<true> and the swizzle for a lane at once: its scale bytes are in a run over the warp.
template <bool WideGroup, int Size>
FPQ_HD constexpr swizzled_lane place_lane(rotation_map const& map, std::uint32_t tiles,
                                          std::uint32_t warp, std::uint32_t lane) noexcept {
    constexpr std::uint32_t bits = WideGroup && Size != 128 ? 1 : 0;
    constexpr std::uint32_t low_bits = 2 - bits;
    constexpr std::uint32_t columns = WideGroup || Size != 128 ? 1 : 2;  // scale tiles of a piece
    std::uint32_t const rest = map.by.divide(warp);
    std::uint32_t const piece = warp - rest * map.by.divisor;
    std::uint32_t const high = rest & ((32u >> low_bits) - 1u);
    std::uint32_t const tile = rest >> (5u - low_bits);
    std::uint32_t const q = lane >> 2;
    std::uint32_t const row =
        tile * 128 + ((q >> bits) & 3u) * 32 + (high << low_bits) + (q >> (bits + 2));
    std::uint32_t const begin = (tile * tiles + piece * columns) * 512 + (high << (low_bits + 4));
    std::uint32_t const within = !WideGroup  ? lane
                                 : bits == 1 ? lane >> 1
                                             : (lane >> 2) * 4 + ((lane & 3u) >> 1);
    // A lower row is 1 or 2 further on in the swizzle's 32, a row there is 16 bytes.
    return {row, 8u >> (bits + 2), (piece << bits) + (q & ((1u << bits) - 1u)), begin + within,
            (8u >> (bits + 2)) * 16};
}

/// The map of a (rows, cols) matrix for rotation `size`; false when it has 2^31 blocks or more.
constexpr bool make_rotation_map(std::size_t rows, std::size_t cols, int size, quant_format format,
                                 scale_order order, rotation_map& map) noexcept {
    std::size_t const span = rotation_span(size);
    std::size_t const blocks = (cols + span - 1) / span;
    bool const swizzled = order == scale_order::swizzled;
    std::uint32_t const bits = format != nvfp4 && span == 64 ? 1 : 0;
    std::size_t const pieces = (blocks + (std::size_t{1} << bits) - 1) >> bits;
    std::size_t const warps =
        swizzled ? (rows + 127) / 128 * (8u << bits) * pieces : (rows * blocks + 15) / 16;
    if (warps * 16 >= (std::size_t{1} << 31) || warps == 0) {
        return false;
    }
    map.rows = static_cast<std::uint32_t>(rows);
    map.blocks = static_cast<std::uint32_t>(blocks);
    map.warps = static_cast<std::uint32_t>(warps);
    map.by = make_divisor(static_cast<std::uint32_t>(swizzled ? pieces : blocks));
    map.swizzled = swizzled;
    map.bits = bits;
    return true;
}

}  // namespace fpq::cuda
