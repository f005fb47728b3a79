// SPDX-License-Identifier: Apache-2.0
// Which addresses only this machine reaches.
#pragma once

#include <string_view>

namespace fpq::tools {

/// Whether an address, or a name, is of this machine alone.
inline bool is_loopback(std::string_view host) noexcept {
    return host == "localhost" || host == "::1" || host == "[::1]" ||
           (host.starts_with("127.") &&
            host.find_first_not_of("0123456789.") == std::string_view::npos);
}

}  // namespace fpq::tools
