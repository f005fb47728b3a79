// SPDX-License-Identifier: Apache-2.0
// Floor 6. Quantized matrices as blocks of GGUF, and back: the same codes and scale bytes in
// another order. A block has the scales of its values in front of their codes; a group of FP4 codes
// is split in two halves, one in the low nibbles and one in the high.
//
//   MXFP4  32 values: E8M0 byte, 16 bytes of codes
//   NVFP4  64 values: 4 E4M3 bytes, then 8 bytes of codes for each 16 values; the global scale is
//          a tensor of its own
//   Q8_0   32 values: fp16 scale, 32 signed bytes
//   Q4_0   32 values: fp16 scale, 16 bytes of codes, which are 8 above the integer
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <vector>

#include "fpq/format/block.hpp"
#include "fpq/format/packed.hpp"
#include "fpq/io/gguf/ggml_type.hpp"

namespace fpq {

/// The type that holds a format without changing a bit; empty when there is none.
constexpr std::optional<ggml_type> ggml_type_of(quant_format const& format) noexcept {
    return format == mxfp4               ? std::optional(ggml_type::mxfp4)
           : format == nvfp4             ? std::optional(ggml_type::nvfp4)
           : format == int_format(8, 32) ? std::optional(ggml_type::q8_0)
           : format == int_format(4, 32) ? std::optional(ggml_type::q4_0)
                                         : std::nullopt;
}

/// The format of a type that ggml_type_of gives; empty for any other.
constexpr std::optional<quant_format> quant_format_of(ggml_type type) noexcept {
    for (quant_format const& format : {mxfp4, nvfp4, int_format(8, 32), int_format(4, 32)}) {
        if (ggml_type_of(format) == type) {
            return format;
        }
    }
    return std::nullopt;
}

/// Bytes of a row of `cols` values, a whole number of blocks.
constexpr std::size_t ggml_row_bytes(ggml_type type, std::size_t cols) noexcept {
    ggml_type_facts const& facts = facts_of(type);
    return cols / facts.block * facts.bytes;
}

namespace detail {

inline std::uint8_t nibble_of(std::uint8_t const* codes, std::size_t i) noexcept {
    return static_cast<std::uint8_t>((codes[i / 2] >> (i % 2 * 4)) & 0xF);
}

/// Codes 2k and 2k+1 of a byte to k and k + half of one, for `group` values; `flip` changes bits.
inline void split_halves(std::uint8_t const* codes, std::size_t group, std::uint8_t flip,
                         std::uint8_t* out) noexcept {
    std::size_t const half = group / 2;
    for (std::size_t j = 0; j < half; ++j) {
        out[j] = static_cast<std::uint8_t>((nibble_of(codes, j) | nibble_of(codes, j + half) << 4) ^
                                           (flip | flip << 4));
    }
}

/// The inverse of split_halves.
inline void join_halves(std::uint8_t const* halves, std::size_t group, std::uint8_t flip,
                        std::uint8_t* out) noexcept {
    std::size_t const half = group / 2;
    auto const code = [&](std::size_t i) {
        return (i < half ? halves[i] & 0xF : halves[i - half] >> 4) ^ flip;
    };
    for (std::size_t k = 0; k < half; ++k) {
        out[k] = static_cast<std::uint8_t>(code(2 * k) | code(2 * k + 1) << 4);
    }
}

/// What changes between a code of fpq and one of the type: two's complement or an offset of 8.
constexpr std::uint8_t code_flip(ggml_type type) noexcept {
    return type == ggml_type::q4_0 ? 8 : 0;
}

}  // namespace detail

/// Row `row` of `w`, whose format ggml_type_of knows and whose width is whole blocks, into
/// ggml_row_bytes at `out`.
inline void pack_ggml_row(packed_view const& w, std::size_t row, std::uint8_t* out) noexcept {
    ggml_type const type = *ggml_type_of(w.format);
    ggml_type_facts const& facts = facts_of(type);
    std::size_t const group = w.format.group;
    std::size_t const groups = facts.block / group;  // of a block
    std::size_t const scale = w.format.scale_bytes_each();
    std::size_t const codes = w.format.row_bytes(group);
    std::uint8_t const* const row_codes = w.codes + row * w.format.row_bytes(w.cols);
    std::uint8_t const* const row_scales = w.scales + row * w.format.groups(w.cols) * scale;
    for (std::size_t b = 0; b < w.cols / facts.block; ++b, out += facts.bytes) {
        std::memcpy(out, row_scales + b * groups * scale, groups * scale);
        for (std::size_t g = 0; g < groups; ++g) {
            std::uint8_t const* const from = row_codes + (b * groups + g) * codes;
            std::uint8_t* const to = out + groups * scale + g * codes;
            if (type == ggml_type::q8_0) {
                std::memcpy(to, from, codes);
            } else {
                detail::split_halves(from, group, detail::code_flip(type), to);
            }
        }
    }
}

/// Codes and scale bytes as a packed_view has them.
struct ggml_parts {
    std::vector<std::uint8_t> codes;
    std::vector<std::uint8_t> scales;
};

/// The inverse of pack_ggml_row for (rows, cols) of a type that quant_format_of knows.
inline ggml_parts unpack_ggml(ggml_type type, std::span<std::byte const> bytes, std::size_t rows,
                              std::size_t cols) {
    quant_format const format = *quant_format_of(type);
    ggml_type_facts const& facts = facts_of(type);
    std::size_t const groups = facts.block / format.group;
    std::size_t const scale = format.scale_bytes_each();
    std::size_t const codes = format.row_bytes(format.group);
    ggml_parts out{std::vector<std::uint8_t>(rows * format.row_bytes(cols)),
                   std::vector<std::uint8_t>(format.scale_count(rows, cols) * scale)};
    auto const* from = reinterpret_cast<std::uint8_t const*>(bytes.data());
    for (std::size_t b = 0; b < rows * cols / facts.block; ++b, from += facts.bytes) {
        std::memcpy(out.scales.data() + b * groups * scale, from, groups * scale);
        for (std::size_t g = 0; g < groups; ++g) {
            std::uint8_t const* const at = from + groups * scale + g * codes;
            std::uint8_t* const to = out.codes.data() + (b * groups + g) * codes;
            if (type == ggml_type::q8_0) {
                std::memcpy(to, at, codes);
            } else {
                detail::join_halves(at, format.group, detail::code_flip(type), to);
            }
        }
    }
    return out;
}

}  // namespace fpq
