// SPDX-License-Identifier: Apache-2.0
// Floor 6. What the readers of all dialects share: config keys by name, typed tensors, and packed
// codes with their scales, checked and left in the map.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/dialect/dialect.hpp"
#include "fpq/io/safetensors/checkpoint.hpp"

namespace fpq::detail {

[[noreturn]] inline void fail_config(checkpoint const& source, std::string_view key,
                                     std::string_view expected, nlohmann::json const& found) {
    fail_input("unsupported quantization",
               (source.directory() / "config.json").string() + ": " + std::string(key), expected,
               printable(found.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace)));
}

inline std::vector<std::string> json_strings(checkpoint const& source, nlohmann::json const& list,
                                             std::string_view key) {
    std::vector<std::string> out;
    if (list.is_null()) {
        return out;
    }
    if (!list.is_array()) {
        fail_config(source, key, "a list of module names", list);
    }
    for (nlohmann::json const& item : list) {
        if (!item.is_string()) {
            fail_config(source, key, "a list of module names", item);
        }
        out.push_back(item.get<std::string>());
    }
    return out;
}

/// A tensor of exactly this type and shape. Errors: input, by name.
inline tensor_ref const& typed_tensor(checkpoint const& source, std::string const& name, dtype type,
                                      std::initializer_list<std::uint64_t> shape) {
    tensor_ref const& t = source.at(name);
    if (t.type != type) {
        fail_input("wrong type of tensor", tensor_place(t), dtype_name(type), dtype_name(t.type));
    }
    require_shape(t, shape);
    return t;
}

/// A finite positive float32 scalar, shape [1] or [].
inline float read_global(checkpoint const& source, std::string const& name) {
    tensor_ref const& t = source.at(name);
    if (t.type != dtype::f32 || t.bytes.size() != 4) {
        fail_input("bad global scale", tensor_place(t), "one F32",
                   std::string(dtype_name(t.type)) + " " + fpq::shape_text(t.shape));
    }
    float value = 0;
    std::memcpy(&value, t.bytes.data(), 4);
    if (!std::isfinite(value) || value <= 0.0F) {
        fail_input("bad global scale", tensor_place(t), "a finite positive value",
                   std::to_string(value));
    }
    return value;
}

/// Codes U8 (out, in * bits / 8), or F8_E4M3 (out, in), and scales (out, in / group), by name; both
/// stay in the map. Errors: input, by tensor, for types, shapes or scales that no client can take.
inline void view_packed(checkpoint const& source, stored_scheme const& how,
                        std::string const& codes_name, std::string const& scales_name,
                        dtype scale_type, stored_linear& out) {
    tensor_ref const& codes = source.at(codes_name);
    std::uint64_t const group_bytes = how.format.row_bytes(how.format.group);
    if (codes.type != how.code_type || codes.shape.size() != 2 ||
        codes.shape[1] % group_bytes != 0 || codes.bytes.empty()) {
        fail_input("bad codes", tensor_place(codes),
                   std::string(dtype_name(how.code_type)) + " (out, " +
                       std::to_string(group_bytes) + " bytes a group of " +
                       std::to_string(how.format.group) + " inputs)",
                   std::string(dtype_name(codes.type)) + " " + fpq::shape_text(codes.shape));
    }
    std::uint64_t const groups = codes.shape[1] / group_bytes;
    tensor_ref const& scales =
        typed_tensor(source, scales_name, scale_type, {codes.shape[0], groups});
    std::span<std::uint8_t const> const bytes(
        reinterpret_cast<std::uint8_t const*>(scales.bytes.data()), scales.bytes.size());
    if (std::optional<std::size_t> const at = first_bad_scale(how.format.scale, bytes)) {
        fail_input("bad block scale", tensor_place(scales) + ": byte " + std::to_string(*at),
                   "a finite positive scale", std::to_string(bytes[*at]));
    }
    if (how.code_type == dtype::f8_e4m3) {
        auto const nan = std::find_if(codes.bytes.begin(), codes.bytes.end(), [](std::byte code) {
            return (code & std::byte{0x7F}) == std::byte{0x7F};
        });
        if (nan != codes.bytes.end()) {
            fail_input(
                "bad codes",
                tensor_place(codes) + ": element " + std::to_string(nan - codes.bytes.begin()),
                "a finite value", "NaN");
        }
    }
    out.weight.format = how.format;
    out.weight.rows = codes.shape[0];
    out.weight.cols = groups * how.format.group;
    out.weight.codes = reinterpret_cast<std::uint8_t const*>(codes.bytes.data());
    out.weight.scales = bytes.data();
}

}  // namespace fpq::detail
