// SPDX-License-Identifier: Apache-2.0
// Floor 1. A row of codes as a little-endian bit stream: code i of b bits lies at bits
// [i*b, i*b + b). For 4 bits that puts the even element in the low nibble, the order of every
// safetensors dialect (compressed-tensors, ModelOpt, FP-Quant).
#pragma once

#include <cstddef>
#include <cstdint>

#include "fpq/core/config.hpp"

namespace fpq {

/// Bytes of a packed row of `cols` codes.
FPQ_HD constexpr std::size_t packed_bytes(int bits, std::size_t cols) noexcept {
    return (cols * static_cast<std::size_t>(bits) + 7) / 8;
}

/// Packs the low `bits` (1..8) of each of `cols` codes; unused bits of the last byte are zero.
FPQ_HD constexpr void pack_row(int bits, std::uint8_t const* codes, std::size_t cols,
                               std::uint8_t* out) noexcept {
    std::uint32_t const mask = (1u << bits) - 1u;
    std::uint32_t pending = 0;
    int held = 0;
    for (std::size_t i = 0; i < cols; ++i) {
        pending |= (codes[i] & mask) << held;
        held += bits;
        if (held >= 8) {
            *out++ = static_cast<std::uint8_t>(pending);
            pending >>= 8;
            held -= 8;
        }
    }
    if (held > 0) {
        *out = static_cast<std::uint8_t>(pending);
    }
}

/// The code at index i of a packed row; touches only bytes that hold its bits.
FPQ_HD constexpr std::uint8_t packed_code(int bits, std::uint8_t const* row,
                                          std::size_t i) noexcept {
    std::size_t const first = i * static_cast<std::size_t>(bits);
    std::size_t const byte = first / 8;
    int const shift = static_cast<int>(first % 8);
    std::uint32_t value = static_cast<std::uint32_t>(row[byte]) >> shift;
    if (shift + bits > 8) {
        value |= static_cast<std::uint32_t>(row[byte + 1]) << (8 - shift);
    }
    return static_cast<std::uint8_t>(value & ((1u << bits) - 1u));
}

/// The inverse of pack_row.
FPQ_HD constexpr void unpack_row(int bits, std::uint8_t const* packed, std::size_t cols,
                                 std::uint8_t* codes) noexcept {
    for (std::size_t i = 0; i < cols; ++i) {
        codes[i] = packed_code(bits, packed, i);
    }
}

}  // namespace fpq
