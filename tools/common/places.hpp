// SPDX-License-Identifier: Apache-2.0
// Where files of a program's flags lie to each other, whether they are there yet or not.
#pragma once

#include <algorithm>
#include <filesystem>
#include <string>
#include <system_error>

#include "fpq/core/hosted/error.hpp"

namespace fpq::tools {

/// Absolute, links followed as far as it is there; as given where the system does not tell.
inline std::filesystem::path whole_path(std::filesystem::path const& path) {
    std::error_code failed;
    std::filesystem::path absolute = std::filesystem::absolute(path, failed);
    std::filesystem::path whole =
        std::filesystem::weakly_canonical(failed ? path : absolute, failed);
    return failed ? path : whole;
}

/// whole_path of a directory, a separator at its end or not.
inline std::filesystem::path whole_directory(std::filesystem::path const& directory) {
    return whole_path(directory / "x").parent_path();
}

/// Refuses (fpq::error, usage) a directory that is `outer` or lies in it: `what` says which.
inline void refuse_within(char const* flag, std::filesystem::path const& directory,
                          std::filesystem::path const& outer, char const* what) {
    std::filesystem::path const inside = whole_directory(directory);
    std::filesystem::path const around = whole_directory(outer);
    if (std::mismatch(around.begin(), around.end(), inside.begin(), inside.end()).first ==
        around.end()) {
        fail_usage(flag, directory.string(), "a directory outside of " + outer.string(), what);
    }
}

/// Refuses a directory and a file, either of which may be empty, at one place.
inline void check_apart(char const* flag, std::filesystem::path const& directory, char const* other,
                        std::filesystem::path const& file) {
    if (!directory.empty() && !file.empty() && whole_directory(directory) == whole_path(file)) {
        fail_usage(flag, directory.string(), std::string("another place than ") + other,
                   "the same");
    }
}

}  // namespace fpq::tools
