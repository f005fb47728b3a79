// SPDX-License-Identifier: Apache-2.0
// Floor 5. Python's string methods on UTF-8: positions count characters, white space is Unicode's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "fpq/io/text/text_unicode.hpp"

namespace fpq::chat {

inline std::string utf8_of(std::uint32_t code) {
    std::string out;
    append_utf8(out, static_cast<char32_t>(code));
    return out;
}

/// str.isspace: White_Space and the four separators U+001C to U+001F.
inline bool is_space(char32_t c) {
    return fpq::detail::is_white_space(c) || (c >= 0x1C && c <= 0x1F);
}

inline std::string_view strip_left(std::string_view text) {
    while (!text.empty()) {
        utf8_char const c = decode_utf8(text, 0);
        if (!is_space(c.value)) {
            break;
        }
        text.remove_prefix(c.length);
    }
    return text;
}

/// Where the last character begins; the text is not empty.
inline std::size_t last_character(std::string_view text) {
    std::size_t at = text.size() - 1;
    while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) {
        --at;
    }
    return at;
}

inline std::string_view strip_right(std::string_view text) {
    while (!text.empty()) {
        std::size_t const at = last_character(text);
        if (!is_space(decode_utf8(text, at).value)) {
            break;
        }
        text = text.substr(0, at);
    }
    return text;
}

/// The characters as views.
inline std::vector<std::string_view> characters(std::string_view text) {
    std::vector<std::string_view> out;
    for (std::size_t at = 0; at < text.size();) {
        std::size_t const length = decode_utf8(text, at).length;
        out.push_back(text.substr(at, length));
        at += length;
    }
    return out;
}

/// With the characters of `set` instead of white space.
inline std::string_view strip_set(std::string_view text, std::string_view set, bool left,
                                  bool right) {
    auto const has = [&](std::string_view c) { return set.find(c) != std::string_view::npos; };
    while (left && !text.empty() && has(text.substr(0, decode_utf8(text, 0).length))) {
        text.remove_prefix(decode_utf8(text, 0).length);
    }
    while (right && !text.empty() && has(text.substr(last_character(text)))) {
        text = text.substr(0, last_character(text));
    }
    return text;
}

/// str.split(separator, most): at most `most` cuts.
inline std::vector<std::string_view> split(std::string_view text, std::string_view separator,
                                           std::size_t most) {
    std::vector<std::string_view> out;
    for (;;) {
        std::size_t const at = text.find(separator);
        if (at == std::string_view::npos || out.size() == most) {
            out.push_back(text);
            return out;
        }
        out.push_back(text.substr(0, at));
        text.remove_prefix(at + separator.size());
    }
}

/// str.split(): runs of white space separate.
inline std::vector<std::string_view> split_words(std::string_view text) {
    std::vector<std::string_view> out;
    for (text = strip_left(text); !text.empty(); text = strip_left(text)) {
        std::size_t end = 0;
        while (end < text.size() && !is_space(decode_utf8(text, end).value)) {
            end += decode_utf8(text, end).length;
        }
        out.push_back(text.substr(0, end));
        text.remove_prefix(end);
    }
    return out;
}

/// str.replace; `from` is not empty.
inline std::string replaced(std::string_view text, std::string_view from, std::string_view to,
                            std::size_t most) {
    std::string out;
    std::size_t count = 0;
    for (std::string_view const part : split(text, from, most)) {
        out.append(count++ == 0 ? "" : to).append(part);
    }
    return out;
}

inline bool is_ascii(std::string_view text) {
    for (char const c : text) {
        if (static_cast<unsigned char>(c) > 0x7F) {
            return false;
        }
    }
    return true;
}
inline char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }
inline char upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; }

}  // namespace fpq::chat
