// SPDX-License-Identifier: Apache-2.0
// Floor 0, hosted. The one exception type of floors 4-7 and its one-line grammar: what, where,
// expected, found. fpq/format.hpp does not include it.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

#include "fpq/core/hosted/printable.hpp"

namespace fpq {

/// Which exit code a tool returns for an error (design: 2 usage, 3 input, 4 numeric, 5 device).
enum class error_category { usage = 2, input = 3, numeric = 4, device = 5 };

/// what() is one line: "what: where: expected E, found F"; empty parts are left out.
class error : public std::runtime_error {
public:
    error(error_category category, std::string const& line)
        : std::runtime_error(line), category_(category) {}
    [[nodiscard]] error_category category() const noexcept { return category_; }
    [[nodiscard]] int exit_code() const noexcept { return static_cast<int>(category_); }

private:
    error_category category_;
};

/// Throws fpq::error. One error is one line of fewer than 1,000 bytes that a terminal may show:
/// what names and values of files bring along is made printable, and its middle is cut.
[[noreturn]] inline void fail(error_category category, std::string_view what,
                              std::string_view where = {}, std::string_view expected = {},
                              std::string_view found = {}) {
    std::string line = detail::printable(what, 120);
    if (!where.empty()) {
        line.append(": ").append(detail::printable(where, 300));
    }
    if (!expected.empty()) {
        line.append(": expected ").append(detail::printable(expected, 360));
    }
    if (!found.empty()) {
        line.append(expected.empty() ? ": found " : ", found ")
            .append(detail::printable(found, 160));
    }
    throw error(category, line);
}

/// A wrong flag or combination of options: exit code 2.
[[noreturn]] inline void fail_usage(std::string_view what, std::string_view where = {},
                                    std::string_view expected = {}, std::string_view found = {}) {
    fail(error_category::usage, what, where, expected, found);
}

/// A file or its contents: exit code 3.
[[noreturn]] inline void fail_input(std::string_view what, std::string_view where = {},
                                    std::string_view expected = {}, std::string_view found = {}) {
    fail(error_category::input, what, where, expected, found);
}

/// Numbers that cannot be used: exit code 4.
[[noreturn]] inline void fail_numeric(std::string_view what, std::string_view where = {},
                                      std::string_view expected = {}, std::string_view found = {}) {
    fail(error_category::numeric, what, where, expected, found);
}

}  // namespace fpq
