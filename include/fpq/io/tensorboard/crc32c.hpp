// SPDX-License-Identifier: Apache-2.0
// Floor 5. CRC-32C (Castagnoli), the check of TFRecord files. zlib's crc32 has another polynomial.
#pragma once

#include <cstdint>
#include <string_view>

namespace fpq::detail {

/// RFC 3720, appendix B.4: reflected, polynomial 0x1EDC6F41, all bits set before and inverted
/// after. A bit at a time: logs are short.
constexpr std::uint32_t crc32c(std::string_view bytes) noexcept {
    std::uint32_t crc = 0xFFFFFFFFU;
    for (char const c : bytes) {
        crc ^= static_cast<unsigned char>(c);
        for (int bit = 0; bit < 8; ++bit) {
            crc = (crc & 1U) != 0 ? crc >> 1 ^ 0x82F63B78U : crc >> 1;
        }
    }
    return ~crc;
}

/// As TFRecord stores it: rotated and moved, so that a check of checks is none.
constexpr std::uint32_t masked_crc32c(std::string_view bytes) noexcept {
    std::uint32_t const crc = crc32c(bytes);
    return (crc >> 15 | crc << 17) + 0xA282EAD8U;
}

}  // namespace fpq::detail
