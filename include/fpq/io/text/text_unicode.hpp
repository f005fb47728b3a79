// SPDX-License-Identifier: Apache-2.0
// Floor 5. What text handling needs of Unicode: UTF-8 decoding and repair, the character classes
// of the pre-tokenizer patterns (from utf8proc's categories), and NFC (by utf8proc).
// Not a Unicode library: no case mapping, no segmentation.
#pragma once

#include <utf8proc.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "fpq/core/hosted/error.hpp"

namespace fpq {

/// One code point of a UTF-8 text.
struct utf8_char {
    char32_t value;   // U+FFFD when the bytes are malformed
    unsigned length;  // bytes; of malformed bytes, the longest prefix of a valid sequence (>= 1)
    bool valid;
};

namespace detail {

inline constexpr char32_t replacement_char = 0xFFFD;
inline constexpr char32_t unicode_limit = 0x110000;

/// The non-ASCII half of decode_utf8. The first continuation byte has a narrower range after
/// E0, ED, F0 and F4 (Unicode 15, table 3-7).
inline utf8_char decode_multibyte(unsigned char const* p, std::size_t left) noexcept {
    unsigned const lead = p[0];
    unsigned const need = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    if (lead < 0xC2 || lead > 0xF4) {
        return {replacement_char, 1, false};
    }
    unsigned low = 0x80;
    unsigned high = 0xBF;
    if (lead == 0xE0) {
        low = 0xA0;
    } else if (lead == 0xED) {
        high = 0x9F;
    } else if (lead == 0xF0) {
        low = 0x90;
    } else if (lead == 0xF4) {
        high = 0x8F;
    }
    char32_t value = lead & (0x7Fu >> need);
    for (unsigned i = 1; i < need; ++i) {
        if (i >= left || p[i] < low || p[i] > high) {
            return {replacement_char, i, false};
        }
        value = (value << 6) | (p[i] & 0x3Fu);
        low = 0x80;
        high = 0xBF;
    }
    return {value, need, true};
}

}  // namespace detail

/// Decodes the code point at text[at], at < text.size(). Errors: none; see utf8_char.
inline utf8_char decode_utf8(std::string_view text, std::size_t at) noexcept {
    auto const* p = reinterpret_cast<unsigned char const*>(text.data()) + at;
    if (*p < 0x80) {
        return {*p, 1, true};
    }
    return detail::decode_multibyte(p, text.size() - at);
}

/// Appends one code point (below 0x110000, no surrogate) as UTF-8.
inline void append_utf8(std::string& out, char32_t c) {
    auto const byte = [&out](char32_t x) { out.push_back(static_cast<char>(x)); };
    if (c < 0x80) {
        byte(c);
    } else if (c < 0x800) {
        byte(0xC0 | (c >> 6));
        byte(0x80 | (c & 0x3F));
    } else if (c < 0x10000) {
        byte(0xE0 | (c >> 12));
        byte(0x80 | ((c >> 6) & 0x3F));
        byte(0x80 | (c & 0x3F));
    } else {
        byte(0xF0 | (c >> 18));
        byte(0x80 | ((c >> 12) & 0x3F));
        byte(0x80 | ((c >> 6) & 0x3F));
        byte(0x80 | (c & 0x3F));
    }
}

/// Byte offset of the first malformed sequence, or text.size().
inline std::size_t valid_utf8_prefix(std::string_view text) noexcept {
    std::size_t at = 0;
    while (at < text.size()) {
        if (std::uint64_t eight = 0; text.size() - at >= sizeof eight) {
            std::memcpy(&eight, text.data() + at, sizeof eight);
            if ((eight & 0x8080808080808080u) == 0) {
                at += sizeof eight;
                continue;
            }
        }
        utf8_char const c = decode_utf8(text, at);
        if (!c.valid) {
            break;
        }
        at += c.length;
    }
    return at;
}

/// A copy in which each maximal malformed prefix is one U+FFFD: what Python's errors="replace" and
/// Rust's from_utf8_lossy give (Unicode 15, section 3.9, U+FFFD substitution).
inline std::string repair_utf8(std::string_view text) {
    std::string out;
    out.reserve(text.size() + 16);
    for (std::size_t at = 0; at < text.size();) {
        utf8_char const c = decode_utf8(text, at);
        if (c.valid) {
            out.append(text, at, c.length);
        } else {
            append_utf8(out, detail::replacement_char);
        }
        at += c.length;
    }
    return out;
}

/// Bits of a character's class; "other" (punctuation, symbols, marks, unassigned) is zero.
enum char_class : std::uint8_t {
    class_letter = 1,  // \p{L}
    class_number = 2,  // \p{N}
    class_space = 4,   // \s: the property White_Space
    class_word = 8,    // \w: letters, marks, numbers, connector punctuation
};

namespace detail {

/// White_Space of Unicode 15 (PropList.txt).
constexpr bool is_white_space(char32_t c) noexcept {
    return (c >= 0x9 && c <= 0xD) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
           c == 0x205F || c == 0x3000;
}

inline std::uint8_t classify(char32_t c) noexcept {
    unsigned bits = is_white_space(c) ? unsigned{class_space} : 0U;
    switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
        case UTF8PROC_CATEGORY_LU:
        case UTF8PROC_CATEGORY_LL:
        case UTF8PROC_CATEGORY_LT:
        case UTF8PROC_CATEGORY_LM:
        case UTF8PROC_CATEGORY_LO:
            bits |= class_letter | class_word;
            break;
        case UTF8PROC_CATEGORY_ND:
        case UTF8PROC_CATEGORY_NL:
        case UTF8PROC_CATEGORY_NO:
            bits |= class_number | class_word;
            break;
        case UTF8PROC_CATEGORY_MN:
        case UTF8PROC_CATEGORY_MC:
        case UTF8PROC_CATEGORY_ME:
        case UTF8PROC_CATEGORY_PC:
            bits |= class_word;
            break;
        default:
            break;
    }
    return static_cast<std::uint8_t>(bits);
}

inline std::vector<std::uint8_t> make_char_classes() {
    std::vector<std::uint8_t> table(unicode_limit);
    for (char32_t c = 0; c < unicode_limit; ++c) {
        table[c] = classify(c);
    }
    return table;
}

}  // namespace detail

/// char_class bits of every code point, indexed by it (0x110000 bytes, made once).
inline std::uint8_t const* char_classes() {
    static std::vector<std::uint8_t> const table = detail::make_char_classes();
    return table.data();
}

namespace detail {

inline void append_nfc(std::string& out, std::string_view text) {
    utf8proc_uint8_t* composed = nullptr;
    auto const options = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    utf8proc_ssize_t const size =
        utf8proc_map(reinterpret_cast<utf8proc_uint8_t const*>(text.data()),
                     static_cast<utf8proc_ssize_t>(text.size()), &composed, options);
    if (size < 0) {
        std::free(composed);
        fail_input("text cannot be normalized to NFC", "utf8proc", {}, utf8proc_errmsg(size));
    }
    out.append(reinterpret_cast<char const*>(composed), static_cast<std::size_t>(size));
    std::free(composed);
}

}  // namespace detail

/// Unicode normalization form C of valid UTF-8. Code points below U+0300 are their own NFC and
/// never join what stands before them, so only runs at or above it (with the one character before)
/// are composed. Errors: fpq::error (input) when utf8proc refuses. Source: UAX #15.
inline std::string to_nfc(std::string_view text) {
    auto const below_0300 = [&](std::size_t i) {
        return static_cast<unsigned char>(text[i]) < 0xCC;  // lead byte of U+0300 is CC
    };
    std::string out;
    out.reserve(text.size() + 16);
    std::size_t done = 0;
    std::size_t previous = 0;  // start of the character before `at`
    for (std::size_t at = 0; at < text.size();) {
        if (below_0300(at)) {
            previous = at;
            at += decode_utf8(text, at).length;
            continue;
        }
        std::size_t end = at;
        while (end < text.size() && !below_0300(end)) {
            end += decode_utf8(text, end).length;
        }
        out.append(text, done, previous - done);
        detail::append_nfc(out, text.substr(previous, end - previous));
        done = previous = at = end;
    }
    out.append(text, done);
    return out;
}

}  // namespace fpq
