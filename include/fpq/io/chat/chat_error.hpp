// SPDX-License-Identifier: Apache-2.0
// Floor 5. How a chat template fails: one line with the template, its line, and what was met.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "fpq/core/hosted/error.hpp"

namespace fpq::chat {

/// A place in a template.
struct place {
    std::string file;  // and, while it renders, the row
    std::size_t line = 1;

    [[nodiscard]] std::string text() const { return file + " line " + std::to_string(line); }
};

/// The template is no Jinja.
[[noreturn]] inline void fail_syntax(place const& at, std::string_view expected,
                                     std::string_view found) {
    fail_input("chat template not understood", at.text(), expected, found);
}

/// Jinja that this interpreter does not run: docs/decisions/0011-chat-templates.md.
[[noreturn]] inline void fail_construct(place const& at, std::string_view construct) {
    fail_input("chat template needs what is not supported", at.text(), {}, construct);
}

/// The template and the conversation do not fit.
[[noreturn]] inline void fail_render(place const& at, std::string_view why) {
    fail_input("chat template fails", at.text(), {}, why);
}

}  // namespace fpq::chat
