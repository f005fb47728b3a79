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

/// `text` with `\xNN` (lower case) for each byte that is no UTF-8.
inline std::string utf8_escaped(std::string_view text) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string out;
    while (!text.empty()) {
        detail::utf8_character const c = detail::first_utf8(text);
        auto const byte = static_cast<unsigned char>(text.front());
        if (c.code == 0 && byte != 0) {
            out.append("\\x").append({digits[byte >> 4], digits[byte & 15]});
        } else {
            out.append(text.substr(0, c.bytes));
        }
        text.remove_prefix(c.bytes);
    }
    return out;
}

/// The bytes that utf8_escaped made `text` of. A text that had `\x80` to `\xff` written out from
/// the beginning is taken for an escaped one.
inline std::string utf8_unescaped(std::string_view text) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string out;
    for (std::size_t at = 0; at < text.size(); ++at) {
        if (text.substr(at, 2) == "\\x" && at + 3 < text.size()) {
            std::size_t const high = digits.find(text[at + 2]);
            std::size_t const low = digits.find(text[at + 3]);
            if (high != std::string_view::npos && high >= 8 && low != std::string_view::npos) {
                out.push_back(static_cast<char>(high * 16 + low));
                at += 3;
                continue;
            }
        }
        out.push_back(text[at]);
    }
    return out;
}

/// `value` with all its strings and keys as utf8_escaped makes them: dump() cannot fail.
template <class Json>
Json utf8_json(Json const& value) {
    if (value.is_string()) {
        return Json(utf8_escaped(value.template get_ref<std::string const&>()));
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
            out[utf8_escaped(key)] = utf8_json(item);
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
