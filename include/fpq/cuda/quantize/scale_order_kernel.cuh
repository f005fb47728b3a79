// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Scale bytes from row-major order to the 128x4 swizzle and back.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fpq/core/config.hpp"
#include "fpq/format/scale_layout.hpp"

namespace fpq::cuda {

/// A thread writes one word of the swizzle, four scales of a row; padding becomes 0.
template <class Unused>
__global__ void __launch_bounds__(256)
    swizzle_words(std::uint8_t const* row_major, std::size_t rows, std::size_t groups,
                  std::uint8_t* swizzled) {
    std::size_t const columns = (groups + 3) / 4;
    std::size_t const word = std::size_t{blockIdx.x} * 256 + threadIdx.x;
    if (word >= (rows + 127) / 128 * 128 * columns) {
        return;
    }
    std::size_t const tile = word / 128;
    std::size_t const row = tile / columns * 128 + word % 4 * 32 + word % 128 / 4;
    std::uint32_t bytes = 0;
    FPQ_UNROLL
    for (std::size_t i = 0; i < 4; ++i) {
        std::size_t const g = tile % columns * 4 + i;
        if (row < rows && g < groups) {
            bytes |= std::uint32_t{row_major[row * groups + g]} << (8 * i);
        }
    }
    reinterpret_cast<std::uint32_t*>(swizzled)[word] = bytes;
}

/// A thread reads one word of the swizzle.
template <class Unused>
__global__ void __launch_bounds__(256)
    unswizzle_words(std::uint8_t const* swizzled, std::size_t rows, std::size_t groups,
                    std::uint8_t* row_major) {
    std::size_t const columns = (groups + 3) / 4;
    std::size_t const word = std::size_t{blockIdx.x} * 256 + threadIdx.x;
    std::size_t const row = word / columns;
    if (row >= rows) {
        return;
    }
    std::size_t const g = word % columns * 4;
    std::uint32_t const bytes =
        *reinterpret_cast<std::uint32_t const*>(swizzled + swizzled_scales{groups}(row, g));
    FPQ_UNROLL
    for (std::size_t i = 0; i < 4; ++i) {
        if (g + i < groups) {
            row_major[row * groups + g + i] = static_cast<std::uint8_t>(bytes >> (8 * i));
        }
    }
}

}  // namespace fpq::cuda
