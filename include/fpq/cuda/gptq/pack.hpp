// SPDX-License-Identifier: Apache-2.0
// Wing cuda. A packed row of codes made byte by byte, each byte on its own: what a thread of the
// pack kernel does. The same bytes as pack_row of floor 1.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fpq/core/config.hpp"

namespace fpq::cuda {

/// Byte `at` of a packed row of `cols` codes of `bits` bits (1 to 8) whose code i is code(i).
template <class Code>
FPQ_HD std::uint8_t packed_byte(int bits, std::size_t cols, std::size_t at, Code&& code) {
    std::size_t const first = 8 * at;
    std::uint32_t value = 0;
    for (std::size_t i = first / static_cast<std::size_t>(bits);
         i < cols && i * static_cast<std::size_t>(bits) < first + 8; ++i) {
        int const shift =
            static_cast<int>(i * static_cast<std::size_t>(bits)) - static_cast<int>(first);
        std::uint32_t const c = code(i) & ((1u << bits) - 1u);
        value |= shift >= 0 ? c << shift : c >> -shift;
    }
    return static_cast<std::uint8_t>(value & 0xFFu);
}

}  // namespace fpq::cuda
