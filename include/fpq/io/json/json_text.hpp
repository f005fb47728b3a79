// SPDX-License-Identifier: Apache-2.0
// Floor 5. The JSON that we write. Its text is always valid UTF-8: paths are bytes of any kind, and
// one of them must not cost the work that a file tells of.
#pragma once

#include <cstddef>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "fpq/core/hosted/printable.hpp"
#include "fpq/io/file/whole_file.hpp"

namespace fpq {

namespace detail {

/// Whether `text` begins like what stands for a byte: `\x80` to `\xff`, or `\x5c`, a backslash.
inline bool is_byte_escape(std::string_view text) {
    constexpr std::string_view digits = "0123456789abcdef";
    if (text.size() < 4 || text.substr(0, 2) != "\\x") {
        return false;
    }
    std::size_t const high = digits.find(text[2]);
    bool const byte = high != std::string_view::npos && high >= 8;
    return text.substr(2, 2) == "5c" || (byte && digits.find(text[3]) != std::string_view::npos);
}

}  // namespace detail

/// `text` with `\xNN` (lower case) for each byte that is no UTF-8, and for a backslash with which
/// such an escape would begin: utf8_unescaped gives back any bytes.
inline std::string utf8_escaped(std::string_view text) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string out;
    while (!text.empty()) {
        detail::utf8_character const c = detail::first_utf8(text);
        auto const byte = static_cast<unsigned char>(text.front());
        if ((c.code == 0 && byte != 0) || detail::is_byte_escape(text)) {
            out.append("\\x").append({digits[byte >> 4], digits[byte & 15]});
        } else {
            out.append(text.substr(0, c.bytes));
        }
        text.remove_prefix(c.bytes);
    }
    return out;
}

/// The bytes that utf8_escaped made `text` of.
inline std::string utf8_unescaped(std::string_view text) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string out;
    while (!text.empty()) {
        bool const escape = detail::is_byte_escape(text);
        out.push_back(escape ? static_cast<char>(digits.find(text[2]) * 16 + digits.find(text[3]))
                             : text[0]);
        text.remove_prefix(escape ? 4 : 1);
    }
    return out;
}

/// Whether every byte belongs to a character of UTF-8.
inline bool is_utf8(std::string_view text) {
    while (!text.empty()) {
        detail::utf8_character const c = detail::first_utf8(text);
        if (c.code == 0 && text.front() != 0) {
            return false;
        }
        text.remove_prefix(c.bytes);
    }
    return true;
}

/// `value` with its strings and keys that are no UTF-8 as utf8_escaped makes them: dump() cannot
/// fail. What may be a path is escaped before, so that it comes back whatever it is.
template <class Json>
Json utf8_json(Json const& value) {
    if (value.is_string()) {
        auto const& text = value.template get_ref<std::string const&>();
        return Json(is_utf8(text) ? text : utf8_escaped(text));
    }
    if (value.is_array()) {
        Json out = Json::array();
        for (Json const& item : value) {
            out.push_back(utf8_json(item));
        }
        return out;
    }
    if (value.is_object()) {
        Json out = Json::object();
        for (auto const& [key, item] : value.items()) {
            out[is_utf8(key) ? key : utf8_escaped(key)] = utf8_json(item);
        }
        return out;
    }
    return value;
}

/// The text of a file: indented by two, one final line feed.
inline std::string json_file_text(nlohmann::json const& value) {
    return utf8_json(value).dump(2) + "\n";
}

/// Writes that text as write_file_whole does, with its errors.
inline void write_json_file(std::filesystem::path const& path, nlohmann::json const& value) {
    write_file_whole(path, json_file_text(value));
}

}  // namespace fpq
