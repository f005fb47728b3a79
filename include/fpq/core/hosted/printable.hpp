// SPDX-License-Identifier: Apache-2.0
// Floor 0, hosted. Text of files and command lines as a terminal may safely show it, within bounds.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace fpq {

namespace detail {

/// One character of UTF-8 text: its code point and its bytes; a byte that starts none is 0 and 1.
struct utf8_character {
    char32_t code = 0;
    std::size_t bytes = 1;
};

inline utf8_character first_utf8(std::string_view text) noexcept {
    auto const byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    unsigned char const lead = byte(0);
    std::size_t const length = lead < 0x80   ? 1
                               : lead < 0xC2 ? 0
                               : lead < 0xE0 ? 2
                               : lead < 0xF0 ? 3
                               : lead < 0xF5 ? 4
                                             : 0;
    if (length == 0 || length > text.size()) {
        return {};
    }
    char32_t code = length == 1 ? lead : lead & (0xFFu >> (length + 1));
    for (std::size_t i = 1; i < length; ++i) {
        if ((byte(i) & 0xC0u) != 0x80u) {
            return {};
        }
        code = code << 6 | (byte(i) & 0x3Fu);
    }
    constexpr char32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (code < least[length] || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) {
        return {};
    }
    return {code, length};
}

/// False for control characters of both sets, for what turns the direction of text or has no
/// width, and for private and unused planes.
constexpr bool is_shown(char32_t c) noexcept {
    return c >= 0x20 && !(c >= 0x7F && c < 0xA0) && c != 0xAD && !(c >= 0x200B && c <= 0x200F) &&
           !(c >= 0x2028 && c <= 0x202E) && !(c >= 0x2060 && c <= 0x206F) && c != 0xFEFF &&
           !(c >= 0xE000 && c <= 0xF8FF) && !(c >= 0xFFF0 && c <= 0xFFFC) &&
           (c & 0xFFFEu) != 0xFFFEu && c < 0xE0000;
}

/// `text` with `?` for each byte or character that a terminal must not get, and "..." for the
/// middle of what is longer than `most` bytes.
inline std::string printable(std::string_view text, std::size_t most = 120) {
    auto const clean = [](std::string_view part) {
        std::string out;
        while (!part.empty()) {
            utf8_character const c = first_utf8(part);
            if (is_shown(c.code)) {
                out.append(part.substr(0, c.bytes));
            } else {
                out.push_back('?');
            }
            part.remove_prefix(c.bytes);
        }
        return out;
    };
    if (text.size() <= most) {
        return clean(text);
    }
    std::size_t begin = most / 2;
    std::size_t end = text.size() - (most - begin);
    auto const inside = [&](std::size_t at) {
        return (static_cast<unsigned char>(text[at]) & 0xC0u) == 0x80u;
    };
    while (begin > most / 2 - 3 && begin > 0 && inside(begin)) {
        --begin;  // not in the middle of a character
    }
    while (end < text.size() && inside(end)) {
        ++end;
    }
    return clean(text.substr(0, begin)) + "..." + clean(text.substr(end));
}

/// "3 tensors WHAT: a, b, c", of many names the first eight.
inline std::string tensors_line(std::vector<std::string> const& names, std::string_view what) {
    constexpr std::size_t most = 8;
    std::string line =
        std::to_string(names.size()) + (names.size() == 1 ? " tensor " : " tensors ");
    line += what;
    for (std::size_t i = 0; i < names.size() && i < most; ++i) {
        line += (i == 0 ? ": " : ", ") + printable(names[i]);
    }
    return line + (names.size() > most ? ", ..." : "");
}

}  // namespace detail

}  // namespace fpq
