// SPDX-License-Identifier: Apache-2.0
// Floor 5. Where everything of a GGUF file to be written will lie: the bytes of its header and the
// place of every tensor, known before the first tensor is computed. No file is touched here.
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/core/hosted/printable.hpp"
#include "fpq/io/gguf/ggml_type.hpp"
#include "fpq/io/gguf/gguf_file.hpp"
#include "fpq/io/gguf/gguf_value.hpp"

namespace fpq {

/// One tensor that will be written; dims are fastest first.
struct gguf_tensor_plan {
    std::string name;
    ggml_type type = ggml_type::f32;
    std::vector<std::uint64_t> dims;
};

/// A file before it is written. Between the tensors, and behind the last, lie zero bytes.
struct gguf_layout {
    std::string head;                    ///< all bytes before the data
    std::vector<std::uint64_t> offsets;  ///< absolute, one a tensor
    std::uint64_t size = 0;              ///< of the whole file
};

namespace detail {

/// Appends values, little endian.
class gguf_text {
public:
    template <class T>
    void add(T const& value) {
        if constexpr (std::same_as<T, bool>) {
            out.push_back(value ? '\1' : '\0');
        } else if constexpr (std::same_as<T, std::string>) {
            add(static_cast<std::uint64_t>(value.size()));
            out += value;
        } else if constexpr (std::same_as<T, float>) {
            add(std::bit_cast<std::uint32_t>(value));
        } else if constexpr (std::same_as<T, double>) {
            add(std::bit_cast<std::uint64_t>(value));
        } else if constexpr (std::same_as<T, gguf_array>) {
            add_array(value);
        } else {
            static_assert(std::is_integral_v<T>);
            auto const bits = static_cast<std::make_unsigned_t<T>>(value);
            for (std::size_t i = 0; i < sizeof(T); ++i) {
                out.push_back(
                    static_cast<char>((static_cast<std::uint64_t>(bits) >> (8 * i)) & 0xFFu));
            }
        }
    }

    std::string out;

private:
    void add_array(gguf_array const& array) {
        add(static_cast<std::uint32_t>(array.index()));
        std::visit(
            [this](auto const& items) {
                if constexpr (!std::same_as<std::decay_t<decltype(items)>, std::monostate>) {
                    using item = typename std::decay_t<decltype(items)>::value_type;
                    add(static_cast<std::uint64_t>(items.size()));
                    for (item const& i : items) {
                        add<item>(i);
                    }
                }
            },
            array);
    }
};

inline void require_gguf_key(std::set<std::string_view>& seen, std::string const& key,
                             gguf_value const& value) {
    gguf_array const* const array = std::get_if<gguf_array>(&value);
    bool const nested = array != nullptr && array->index() == gguf_array_type;
    if (key.empty() || nested || key == "general.alignment" || !seen.insert(key).second) {
        fail_usage("bad GGUF key", "'" + printable(key) + "'",
                   "a name of its own, and a value of a type that files have",
                   nested ? "an array without a type" : "one that is empty, reserved or taken");
    }
}

}  // namespace detail

/// The layout of a file of version 3 with the usual alignment. Errors: fpq::error (usage) for a key
/// or name that is empty, too long or taken, and for a shape that the type cannot have.
inline gguf_layout lay_out_gguf(gguf_metadata const& metadata,
                                std::vector<gguf_tensor_plan> const& tensors) {
    detail::gguf_text text;
    text.out = gguf_magic;
    text.add(gguf_version);
    text.add(static_cast<std::uint64_t>(tensors.size()));
    text.add(static_cast<std::uint64_t>(metadata.size()));
    std::set<std::string_view> seen;
    for (auto const& [key, value] : metadata) {
        detail::require_gguf_key(seen, key, value);
        text.add(key);
        text.add(static_cast<std::uint32_t>(value.index()));
        std::visit([&](auto const& v) { text.add(v); }, value);
    }
    gguf_layout out;
    std::uint64_t at = 0;
    seen.clear();
    for (gguf_tensor_plan const& t : tensors) {
        std::optional<std::uint64_t> const bytes = ggml_byte_count(t.type, t.dims);
        if (t.name.empty() || t.name.size() > gguf_name_limit || !seen.insert(t.name).second ||
            t.dims.size() > gguf_dims_limit || !bytes) {
            fail_usage("bad output plan", "tensor '" + detail::printable(t.name) + "'",
                       "a name of its own of at most " + std::to_string(gguf_name_limit) +
                           " bytes and at most " + std::to_string(gguf_dims_limit) +
                           " dimensions in whole blocks",
                       bytes ? "another name" : "a shape that the type cannot have");
        }
        text.add(t.name);
        text.add(static_cast<std::uint32_t>(t.dims.size()));
        for (std::uint64_t const d : t.dims) {
            text.add(d);
        }
        text.add(static_cast<std::uint32_t>(t.type));
        text.add(at);
        out.offsets.push_back(at);
        at = gguf_padded(at + *bytes, gguf_alignment);
    }
    out.head = std::move(text.out);
    out.head.resize(gguf_padded(out.head.size(), gguf_alignment), '\0');
    for (std::uint64_t& offset : out.offsets) {
        offset += out.head.size();
    }
    out.size = out.head.size() + at;
    return out;
}

}  // namespace fpq
