// SPDX-License-Identifier: Apache-2.0
// Floor 5. Values as text: str, repr and json.dumps(ensure_ascii=False) of Python.
#pragma once

#include <utf8proc.h>

#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "fpq/io/chat/chat_error.hpp"
#include "fpq/io/chat/chat_strings.hpp"
#include "fpq/io/chat/chat_value.hpp"

namespace fpq::chat {

/// repr(float): the shortest digits that read back, a point or an exponent among them.
inline std::string printed(double x) {
    if (!std::isfinite(x)) {
        return std::isnan(x) ? "nan" : x < 0 ? "-inf" : "inf";
    }
    std::array<char, 64> text{};
    double const size = std::abs(x);
    bool const plain = size == 0 || (size >= 1e-4 && size < 1e16);
    auto const end = std::to_chars(text.data(), text.data() + text.size(), x,
                                   plain ? std::chars_format::fixed : std::chars_format::scientific)
                         .ptr;
    std::string out(text.data(), end);
    return plain && out.find('.') == std::string::npos ? out + ".0" : out;
}

/// repr(str).
inline std::string quoted_text(std::string_view text) {
    char const quote = text.find('\'') != text.npos && text.find('"') == text.npos ? '"' : '\'';
    std::string out(1, quote);
    auto const hex = [&out](char32_t c, int digits) {
        while (digits-- > 0) {
            out.push_back("0123456789abcdef"[c >> (4 * digits) & 15]);
        }
    };
    for (std::size_t at = 0; at < text.size();) {
        utf8_char const c = decode_utf8(text, at);
        auto const category = utf8proc_category(static_cast<utf8proc_int32_t>(c.value));
        bool const printable = c.value == ' ' || !(category == UTF8PROC_CATEGORY_CN ||
                                                   category >= UTF8PROC_CATEGORY_ZS);
        if (c.value == static_cast<char32_t>(quote) || c.value == '\\') {
            out.push_back('\\');
            out.push_back(static_cast<char>(c.value));
        } else if (c.value == '\n' || c.value == '\r' || c.value == '\t') {
            out += c.value == '\n' ? "\\n" : c.value == '\r' ? "\\r" : "\\t";
        } else if (printable) {
            out += text.substr(at, c.length);
        } else if (c.value < 0x100) {
            out += "\\x";
            hex(c.value, 2);
        } else {
            out += c.value < 0x10000 ? "\\u" : "\\U";
            hex(c.value, c.value < 0x10000 ? 4 : 8);
        }
        at += c.length;
    }
    out.push_back(quote);
    return out;
}

/// str(v); strings inside of lists and dicts as repr.
inline std::string text_of(value const& v, place const& at, bool inside = false) {
    if (auto const* s = v.string()) {
        return inside ? quoted_text(*s) : *s;
    }
    if (v.is<undefined>()) {
        return inside ? "Undefined" : "";
    }
    if (v.is<value::none>()) {
        return "None";
    }
    if (auto const* b = v.get<bool>()) {
        return *b ? "True" : "False";
    }
    if (auto const* i = v.get<std::int64_t>()) {
        return std::to_string(*i);
    }
    if (auto const* d = v.get<double>()) {
        return printed(*d);
    }
    std::string out;
    if (auto const* l = v.items()) {
        bool const is_tuple = v.is<value::tuple>();
        for (value const& item : *l) {
            out.append(out.empty() ? "" : ", ").append(text_of(item, at, true));
        }
        return is_tuple ? "(" + out + (l->size() == 1 ? ",)" : ")") : "[" + out + "]";
    }
    if (auto const* m = v.members()) {
        for (auto const& [key, item] : *m) {
            out.append(out.empty() ? "{" : ", ").append(quoted_text(key)).append(": ");
            out += text_of(item, at, true);
        }
        return out.empty() ? "{}" : out + "}";
    }
    fail_construct(at, "printing an object that is no text, number, list or dict");
}

namespace detail {

inline std::string json_string(std::string_view text) {
    std::string out = "\"";
    for (char const c : text) {
        static constexpr std::string_view letters = "\"\\nrtbf";
        static constexpr std::string_view meaning = "\"\\\n\r\t\b\f";
        if (std::size_t const k = meaning.find(c); k != std::string_view::npos) {
            out.push_back('\\');
            out.push_back(letters[k]);
        } else if (static_cast<unsigned char>(c) < 0x20) {
            out += "\\u00";
            out.push_back("01"[c >> 4]);
            out.push_back("0123456789abcdef"[c & 15]);
        } else {
            out.push_back(c);
        }
    }
    return out + "\"";
}

}  // namespace detail

/// json.dumps(v, ensure_ascii=False, indent=indent); `level`: of nesting, for the indent.
inline std::string json_of(value const& v, std::optional<std::size_t> indent, place const& at,
                           std::size_t level = 0) {
    if (auto const* s = v.string()) {
        return detail::json_string(*s);
    }
    if (v.is<value::none>()) {
        return "null";
    }
    if (auto const* b = v.get<bool>()) {
        return *b ? "true" : "false";
    }
    if (auto const* d = v.get<double>()) {
        return std::isnan(*d)   ? "NaN"
               : std::isinf(*d) ? (*d < 0 ? "-Infinity" : "Infinity")
                                : printed(*d);
    }
    if (v.is<std::int64_t>()) {
        return text_of(v, at);
    }
    bool const is_list = v.items() != nullptr;
    if (!is_list && v.members() == nullptr) {
        fail_render(at, "tojson of " + std::string(type_name(v)));
    }
    std::string out;
    auto const begin_item = [&] {
        out += out.empty() ? (is_list ? "[" : "{") : indent ? "," : ", ";
        if (indent) {
            out.append("\n").append(*indent * (level + 1), ' ');
        }
    };
    if (is_list) {
        for (value const& item : *v.items()) {
            begin_item();
            out += json_of(item, indent, at, level + 1);
        }
    } else {
        for (auto const& [key, item] : *v.members()) {
            begin_item();
            out.append(detail::json_string(key)).append(": ");
            out += json_of(item, indent, at, level + 1);
        }
    }
    if (out.empty()) {
        return is_list ? "[]" : "{}";
    }
    if (indent) {
        out.append("\n").append(*indent * level, ' ');
    }
    return out + (is_list ? "]" : "}");
}

}  // namespace fpq::chat
