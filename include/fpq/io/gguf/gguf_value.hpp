// SPDX-License-Identifier: Apache-2.0
// Floor 5. Metadata of GGUF files: typed values under keys. The number of a type in the file is the
// index of its alternative here.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace fpq {

/// An array; arrays of arrays (index 9) are not read.
using gguf_array =
    std::variant<std::vector<std::uint8_t>, std::vector<std::int8_t>, std::vector<std::uint16_t>,
                 std::vector<std::int16_t>, std::vector<std::uint32_t>, std::vector<std::int32_t>,
                 std::vector<float>, std::vector<bool>, std::vector<std::string>, std::monostate,
                 std::vector<std::uint64_t>, std::vector<std::int64_t>, std::vector<double>>;

using gguf_value = std::variant<std::uint8_t, std::int8_t, std::uint16_t, std::int16_t,
                                std::uint32_t, std::int32_t, float, bool, std::string, gguf_array,
                                std::uint64_t, std::int64_t, double>;

/// Keys and values in the order of the file.
using gguf_metadata = std::vector<std::pair<std::string, gguf_value>>;

/// By the number of a type, which is below gguf_type_count.
inline constexpr std::size_t gguf_type_count = std::variant_size_v<gguf_value>;
inline constexpr std::size_t gguf_string_type = 8;
inline constexpr std::size_t gguf_array_type = 9;

constexpr std::string_view gguf_type_name(std::size_t number) noexcept {
    constexpr std::string_view names[gguf_type_count] = {"u8",  "i8",  "u16",  "i16",    "u32",
                                                         "i32", "f32", "bool", "string", "array",
                                                         "u64", "i64", "f64"};
    return names[number];
}

/// The value under a key when it has this type, else null.
template <class T>
T const* find_gguf(gguf_metadata const& metadata, std::string_view key) noexcept {
    auto const at = std::find_if(metadata.begin(), metadata.end(),
                                 [key](auto const& pair) { return pair.first == key; });
    return at == metadata.end() ? nullptr : std::get_if<T>(&at->second);
}

/// The array of items T under a key, else null.
template <class T>
std::vector<T> const* find_gguf_array(gguf_metadata const& metadata,
                                      std::string_view key) noexcept {
    gguf_array const* const array = find_gguf<gguf_array>(metadata, key);
    return array == nullptr ? nullptr : std::get_if<std::vector<T>>(array);
}

}  // namespace fpq
