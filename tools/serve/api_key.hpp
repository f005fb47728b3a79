// SPDX-License-Identifier: Apache-2.0
// The key that a server wants of its clients.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace fpq::tools {

/// Compares in a time that depends on the length of what was given alone.
inline bool is_key(std::string_view key, std::string_view given) noexcept {
    std::size_t difference = key.size() ^ given.size();
    for (std::size_t i = 0; i < given.size(); ++i) {
        char const expected = key.empty() ? '\0' : key[i % key.size()];
        difference |= static_cast<unsigned char>(expected ^ given[i]);
    }
    return difference == 0;
}

/// Whether the header "Authorization: Bearer KEY" holds the key.
inline bool authorizes(std::string_view key, std::string_view header) noexcept {
    constexpr std::string_view scheme = "Bearer ";
    return header.starts_with(scheme) && is_key(key, header.substr(scheme.size()));
}

}  // namespace fpq::tools
