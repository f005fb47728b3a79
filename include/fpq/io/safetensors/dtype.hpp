// SPDX-License-Identifier: Apache-2.0
// Floor 1. The tensor types of safetensors, their names and widths (formats of the container, not
// of quantized values).
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <string_view>

namespace fpq {

// g++ 12 says that a scoped enumerator shadows a type of the same name; it does not hide it.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
/// In the order of the container's own list; see dtype_name.
enum class dtype : std::uint8_t {
    boolean,
    f4,
    f6_e2m3,
    f6_e3m2,
    u8,
    i8,
    f8_e5m2,
    f8_e4m3,
    f8_e8m0,
    f8_e4m3fnuz,
    f8_e5m2fnuz,
    i16,
    u16,
    f16,
    bf16,
    i32,
    u32,
    f32,
    c64,
    f64,
    i64,
    u64
};
#pragma GCC diagnostic pop

namespace detail {
struct dtype_row {
    std::string_view name;
    std::size_t bits;
};
/// In the order of the enum.
inline constexpr dtype_row dtype_table[] = {
    {"BOOL", 8},        {"F4", 4},      {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"U8", 8},
    {"I8", 8},          {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8},
    {"F8_E5M2FNUZ", 8}, {"I16", 16},    {"U16", 16},    {"F16", 16},    {"BF16", 16},
    {"I32", 32},        {"U32", 32},    {"F32", 32},    {"C64", 64},    {"F64", 64},
    {"I64", 64},        {"U64", 64}};
}  // namespace detail

/// The name as safetensors writes it.
constexpr std::string_view dtype_name(dtype type) noexcept {
    return detail::dtype_table[static_cast<std::size_t>(type)].name;
}

/// Bits of one element; 4 and 6 for the packed types.
constexpr std::size_t dtype_bits(dtype type) noexcept {
    return detail::dtype_table[static_cast<std::size_t>(type)].bits;
}

/// The type of that name as safetensors writes it; empty when there is none.
constexpr std::optional<dtype> parse_dtype(std::string_view name) noexcept {
    for (std::size_t i = 0; i < std::size(detail::dtype_table); ++i) {
        if (detail::dtype_table[i].name == name) {
            return static_cast<dtype>(i);
        }
    }
    return std::nullopt;
}

}  // namespace fpq
