// SPDX-License-Identifier: Apache-2.0
// Which names fpq-inspect shows.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "fpq/io/text/name_pattern.hpp"

namespace fpq::tools {

/// Names by words and patterns; every name when there are none. A word without wildcards is one or
/// several whole parts of a name: "layers.1" is in model.layers.1.mlp, not in model.layers.10.mlp.
/// Errors: fpq::error (usage) for a pattern that is none.
class name_filter {
public:
    explicit name_filter(std::vector<std::string> const& texts) {
        for (std::string const& text : texts) {
            if (text.starts_with("re:")) {
                patterns_.emplace_back(text);
            } else if (text.find_first_of("*?[") != std::string::npos) {
                patterns_.push_back(name_pattern::wildcards(text));
            } else {
                parts_.push_back("." + text + ".");
            }
        }
    }

    [[nodiscard]] bool takes(std::string_view name) const {
        if (patterns_.empty() && parts_.empty()) {
            return true;
        }
        std::string const dotted = "." + std::string(name) + ".";
        return std::any_of(
                   parts_.begin(), parts_.end(),
                   [&](std::string const& p) { return dotted.find(p) != std::string::npos; }) ||
               std::any_of(patterns_.begin(), patterns_.end(),
                           [&](name_pattern const& p) { return p.matches(name); });
    }

private:
    std::vector<name_pattern> patterns_;
    std::vector<std::string> parts_;
};

}  // namespace fpq::tools
