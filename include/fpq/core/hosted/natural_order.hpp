// SPDX-License-Identifier: Apache-2.0
// Floor 0, hosted. The order in which people read numbered names: layers.2 before layers.10.
#pragma once

#include <cstddef>
#include <string_view>

namespace fpq {

/// Compares byte by byte, but runs of digits by their number (leading zeros do not count). A strict
/// weak order.
inline bool natural_less(std::string_view a, std::string_view b) noexcept {
    auto const is_digit = [](char c) { return c >= '0' && c <= '9'; };
    auto const number = [&](std::string_view& text) {
        while (text.size() > 1 && text[0] == '0' && is_digit(text[1])) {
            text.remove_prefix(1);
        }
        std::size_t length = 0;
        while (length < text.size() && is_digit(text[length])) {
            ++length;
        }
        std::string_view const digits = text.substr(0, length);
        text.remove_prefix(length);
        return digits;
    };
    while (!a.empty() && !b.empty()) {
        if (is_digit(a[0]) && is_digit(b[0])) {
            std::string_view const x = number(a);
            std::string_view const y = number(b);
            if (x != y) {
                return x.size() != y.size() ? x.size() < y.size() : x < y;
            }
            continue;
        }
        if (a[0] != b[0]) {
            return static_cast<unsigned char>(a[0]) < static_cast<unsigned char>(b[0]);
        }
        a.remove_prefix(1);
        b.remove_prefix(1);
    }
    return a.size() < b.size();
}

}  // namespace fpq
