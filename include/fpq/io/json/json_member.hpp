// SPDX-License-Identifier: Apache-2.0
// Floor 5. Lenient looks into JSON of other programs, where a member that is absent and one that is
// null mean the same and a wrong type is only another value. Typed access with errors:
// json_value.hpp.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace fpq::detail {

/// object[key], or null when the key or the object is absent.
inline nlohmann::json const& member_or_null(nlohmann::json const& object, std::string_view key) {
    static nlohmann::json const null;
    if (!object.is_object()) {
        return null;
    }
    auto const found = object.find(std::string(key));
    return found == object.end() ? null : *found;
}

/// Whether the value is this text.
inline bool json_equals(nlohmann::json const& value, std::string_view text) {
    return value.is_string() && value.get_ref<std::string const&>() == text;
}

}  // namespace fpq::detail
