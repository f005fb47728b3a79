// SPDX-License-Identifier: Apache-2.0
// Floor 1. Where the scale of (row, group) lies: row-major as on disk, or the 128x4 swizzle that
// block-scaled tensor cores read (cuBLAS block scaling layout; CUTLASS sm100 block-scaled atom).
// Index functions only.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fpq/core/config.hpp"

namespace fpq {

/// The least multiple of `multiple` (> 0) that is not below n.
FPQ_HD constexpr std::size_t round_up(std::size_t n, std::size_t multiple) noexcept {
    return (n + multiple - 1) / multiple * multiple;
}

/// Row-major (rows, groups).
struct row_major_scales {
    std::size_t groups;
    FPQ_HD constexpr std::size_t size(std::size_t rows) const noexcept { return rows * groups; }
    FPQ_HD constexpr std::size_t operator()(std::size_t row, std::size_t g) const noexcept {
        return row * groups + g;
    }
};

/// 512-byte tiles of 128 rows x 4 groups; rows are padded to 128 and groups to 4.
struct swizzled_scales {
    std::size_t groups;
    FPQ_HD constexpr std::size_t size(std::size_t rows) const noexcept {
        return round_up(rows, 128) * round_up(groups, 4);
    }
    FPQ_HD constexpr std::size_t operator()(std::size_t row, std::size_t g) const noexcept {
        std::size_t const tile = (row / 128) * (round_up(groups, 4) / 4) + g / 4;
        return tile * 512 + (row % 32) * 16 + (row % 128) / 32 * 4 + g % 4;
    }
};

/// Which of the two orders one-byte scales are in.
enum class scale_order : std::uint8_t { row_major, swizzled };

constexpr char const* name_of(scale_order order) noexcept {
    return order == scale_order::row_major ? "row-major" : "swizzled";
}

/// Bytes of one-byte scales of `rows` rows, padding of the swizzle included.
FPQ_HD constexpr std::size_t scales_size(scale_order order, std::size_t rows,
                                         std::size_t groups) noexcept {
    return order == scale_order::row_major ? row_major_scales{groups}.size(rows)
                                           : swizzled_scales{groups}.size(rows);
}

/// Copies row-major one-byte scales into the swizzle; padding bytes get `fill`.
FPQ_HD constexpr void swizzle_scales(std::uint8_t const* row_major, std::size_t rows,
                                     std::size_t groups, std::uint8_t* out,
                                     std::uint8_t fill = 0) noexcept {
    swizzled_scales const at{groups};
    for (std::size_t i = 0; i < at.size(rows); ++i) {
        out[i] = fill;
    }
    for (std::size_t row = 0; row < rows; ++row) {
        for (std::size_t g = 0; g < groups; ++g) {
            out[at(row, g)] = row_major[row * groups + g];
        }
    }
}

/// The inverse of swizzle_scales.
FPQ_HD constexpr void unswizzle_scales(std::uint8_t const* swizzled, std::size_t rows,
                                       std::size_t groups, std::uint8_t* row_major) noexcept {
    swizzled_scales const at{groups};
    for (std::size_t row = 0; row < rows; ++row) {
        for (std::size_t g = 0; g < groups; ++g) {
            row_major[row * groups + g] = swizzled[at(row, g)];
        }
    }
}

}  // namespace fpq
