// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Which 16 values of a matrix each thread of a launch owns, host and device.
//
// Row-major scales: threads walk the rows. Swizzled scales: a warp takes four rows 32 apart, whose
// scales are neighbours in the swizzle, and its scale bytes are 32 (NVFP4) or 16 (MX) in a run,
// while the values of a row stay in pieces of 128 bytes and more.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fpq/core/config.hpp"
#include "fpq/format/block.hpp"
#include "fpq/format/scale_layout.hpp"

namespace fpq::cuda {

/// Values that one thread owns.
inline constexpr std::uint32_t segment = 16;

/// Division of 31-bit numbers by a constant of the launch, by multiplication.
struct fast_divisor {
    std::uint32_t divisor = 1;
    std::uint32_t factor = 1;
    std::uint32_t shift = 0;

    FPQ_HD constexpr std::uint32_t divide(std::uint32_t n) const noexcept {
        return (static_cast<std::uint32_t>((std::uint64_t{n} * factor) >> 32) + n) >> shift;
    }
};

/// d in [1, 2^31).
FPQ_HD constexpr fast_divisor make_divisor(std::uint32_t d) noexcept {
    std::uint32_t shift = 0;
    while ((std::uint64_t{1} << shift) < d) {
        ++shift;
    }
    std::uint64_t const rest = (std::uint64_t{1} << shift) - d;
    return {d, static_cast<std::uint32_t>((rest << 32) / d + 1), shift};
}

/// A thread's place.
struct segment_place {
    std::uint32_t row;
    std::uint32_t seg;    // columns [16 seg, 16 seg + 16)
    std::uint32_t scale;  // index of the scale byte that the segment belongs to
};

/// The walk of one launch.
struct segment_map {
    std::uint32_t rows = 0;
    std::uint32_t segs = 0;   // of a row
    std::uint32_t units = 0;  // threads that have a place, padding of the swizzle included
    fast_divisor by{};        // row-major: segs; swizzled: pieces of a row that a warp takes
    std::uint32_t tiles = 0;  // swizzled: scale tiles of a row of tiles
    bool swizzled = false;
    bool wide_group = false;  // 32 values a scale

    /// Place of thread `unit` < units; outside the matrix where the swizzle pads. A warp's scale
    /// bytes are in a run in both orders.
    template <bool Swizzled>
    FPQ_HD constexpr segment_place place(std::uint32_t unit) const noexcept {
        if constexpr (!Swizzled) {
            std::uint32_t const row = by.divide(unit);
            return {row, unit - row * segs, wide_group ? unit >> 1 : unit};
        }
        std::uint32_t const lane = unit & 31u;
        std::uint32_t const warp = unit >> 5;
        std::uint32_t const rest = by.divide(warp);
        std::uint32_t const column = warp - rest * by.divisor;
        if (wide_group) {
            std::uint32_t const tile = (rest >> 5) * tiles + column;
            return {(rest >> 5) * 128 + (lane >> 3) * 32 + (rest & 31u), column * 8 + (lane & 7u),
                    tile * 512 + (rest & 31u) * 16 + (lane >> 1)};
        }
        std::uint32_t const tile = (rest >> 4) * tiles + column;
        return {(rest >> 4) * 128 + ((lane >> 2) & 3u) * 32 + (rest & 15u) * 2 + (lane >> 4),
                column * 4 + (lane & 3u), tile * 512 + (rest & 15u) * 32 + lane};
    }
    /// Index of a scale byte in the swizzle, as fpq::swizzled_scales, in 32 bits.
    FPQ_HD constexpr std::uint32_t swizzled_scale(std::uint32_t row,
                                                  std::uint32_t group) const noexcept {
        return ((row >> 7) * tiles + (group >> 2)) * 512 + (row & 31u) * 16 +
               ((row >> 5) & 3u) * 4 + (group & 3u);
    }
    /// place, the order chosen at run time.
    FPQ_HD constexpr segment_place at(std::uint32_t unit) const noexcept {
        return swizzled ? place<true>(unit) : place<false>(unit);
    }
};

/// The map of a (rows, cols) matrix, cols a multiple of 16; false when it has 2^31 units or more.
constexpr bool make_segment_map(std::size_t rows, std::size_t cols, quant_format format,
                                scale_order order, segment_map& map) noexcept {
    std::size_t const segs = cols / segment;
    bool const wide = format != nvfp4;
    bool const swizzled = order == scale_order::swizzled;
    std::size_t const columns = wide ? (segs + 7) / 8 : (segs + 3) / 4;
    std::size_t const units =
        swizzled ? (rows + 127) / 128 * (wide ? 32 : 16) * columns * 32 : rows * segs;
    if (units >= (std::size_t{1} << 31) || units == 0) {
        return false;
    }
    map.rows = static_cast<std::uint32_t>(rows);
    map.segs = static_cast<std::uint32_t>(segs);
    map.units = static_cast<std::uint32_t>(units);
    map.by = make_divisor(static_cast<std::uint32_t>(swizzled ? columns : segs));
    map.tiles = static_cast<std::uint32_t>((segs / (wide ? 2 : 1) + 3) / 4);
    map.swizzled = swizzled;
    map.wide_group = wide;
    return true;
}

}  // namespace fpq::cuda
