// SPDX-License-Identifier: Apache-2.0
// Floor 2. pack_row and unpack_row for 4, 6 and 8 bits, eight codes a step in one 64-bit word.
// Little-endian machines only; elsewhere the plain rows of floor 1 do it.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "fpq/format/pack.hpp"

namespace fpq::kernels {

/// Same bytes as fpq::pack_row. The codes hold nothing above `bits`.
inline void pack_codes(int bits, std::uint8_t const* codes, std::size_t n,
                       std::uint8_t* out) noexcept {
    bool const known = bits == 4 || bits == 6 || bits == 8;
    std::size_t const whole = known && std::endian::native == std::endian::little ? n / 8 * 8 : 0;
    std::size_t const step = static_cast<std::size_t>(bits);  // bytes of eight codes
    if (bits == 8) {
        std::memcpy(out, codes, whole);
    } else {
        for (std::size_t i = 0; i < whole; i += 8) {
            std::uint64_t w = 0;
            std::memcpy(&w, codes + i, 8);
            if (bits == 4) {
                w = (w | (w >> 4)) & 0x00FF00FF00FF00FFu;
                w = (w | (w >> 8)) & 0x0000FFFF0000FFFFu;
                w = w | (w >> 16);
                std::memcpy(out + i / 2, &w, 4);
            } else {
                w = (w & 0x003F003F003F003Fu) | ((w & 0x3F003F003F003F00u) >> 2);
                w = (w & 0x00000FFF00000FFFu) | ((w & 0x0FFF00000FFF0000u) >> 4);
                w = (w & 0x0000000000FFFFFFu) | ((w & 0x00FFFFFF00000000u) >> 8);
                std::memcpy(out + i / 8 * 6, &w, 6);
            }
        }
    }
    if (whole < n) {
        pack_row(bits, codes + whole, n - whole, out + whole / 8 * step);
    }
}

/// Same codes as fpq::unpack_row.
inline void unpack_codes(int bits, std::uint8_t const* packed, std::size_t n,
                         std::uint8_t* codes) noexcept {
    bool const known = bits == 4 || bits == 6 || bits == 8;
    std::size_t const whole = known && std::endian::native == std::endian::little ? n / 8 * 8 : 0;
    std::size_t const step = static_cast<std::size_t>(bits);
    if (bits == 8) {
        std::memcpy(codes, packed, whole);
    } else {
        for (std::size_t i = 0; i < whole; i += 8) {
            std::uint64_t w = 0;
            if (bits == 4) {
                std::uint32_t low = 0;
                std::memcpy(&low, packed + i / 2, 4);
                w = low;
                w = (w | (w << 16)) & 0x0000FFFF0000FFFFu;
                w = (w | (w << 8)) & 0x00FF00FF00FF00FFu;
                w = (w | (w << 4)) & 0x0F0F0F0F0F0F0F0Fu;
            } else {
                std::uint32_t low = 0;  // two loads: one of six bytes would go through memory
                std::uint16_t high = 0;
                std::memcpy(&low, packed + i / 8 * 6, 4);
                std::memcpy(&high, packed + i / 8 * 6 + 4, 2);
                w = low | (std::uint64_t{high} << 32);
                w = (w & 0x0000000000FFFFFFu) | ((w << 8) & 0x00FFFFFF00000000u);
                w = (w & 0x00000FFF00000FFFu) | ((w << 4) & 0x0FFF00000FFF0000u);
                w = (w & 0x003F003F003F003Fu) | ((w << 2) & 0x3F003F003F003F00u);
            }
            std::memcpy(codes + i, &w, 8);
        }
    }
    if (whole < n) {
        unpack_row(bits, packed + whole / 8 * step, n - whole, codes + whole);
    }
}

}  // namespace fpq::kernels
