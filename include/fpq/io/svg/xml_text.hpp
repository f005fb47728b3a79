// SPDX-License-Identifier: Apache-2.0
// Floor 5. Text within XML and HTML.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "fpq/core/hosted/printable.hpp"

namespace fpq {

/// `text` as the content of an element or an attribute between double quotes. What is no character
/// that a terminal may show, a line feed aside, becomes `?`, so that the document stays well
/// formed.
inline std::string xml_text(std::string_view text) {
    std::string out;
    while (!text.empty()) {
        detail::utf8_character const c = detail::first_utf8(text);
        switch (c.code) {
            case U'&':
                out += "&amp;";
                break;
            case U'<':
                out += "&lt;";
                break;
            case U'>':
                out += "&gt;";
                break;
            case U'"':
                out += "&quot;";
                break;
            case U'\'':
                out += "&#39;";
                break;
            default:
                c.code == U'\n' || detail::is_shown(c.code) ? void(out.append(text, 0, c.bytes))
                                                            : out.push_back('?');
        }
        text.remove_prefix(c.bytes);
    }
    return out;
}

namespace detail {

inline std::size_t count_characters(std::string_view text) {
    std::size_t count = 0;
    for (; !text.empty(); ++count) {
        text.remove_prefix(first_utf8(text).bytes);
    }
    return count;
}

/// The first characters of a longer text, and an ellipsis.
inline std::string cut_characters(std::string_view text, std::size_t most) {
    if (count_characters(text) <= most) {
        return std::string(text);
    }
    std::size_t bytes = 0;
    for (std::size_t i = 0; i + 1 < most; ++i) {
        bytes += first_utf8(text.substr(bytes)).bytes;
    }
    return std::string(text.substr(0, bytes)) + "\u2026";
}

}  // namespace detail

}  // namespace fpq
