// SPDX-License-Identifier: Apache-2.0
// Floor 5. Looks at what lies in a directory. What is absent and what could not be seen are two
// things: no result shall lack a file because a disk failed for a moment.
#pragma once

#include <filesystem>
#include <string>
#include <system_error>
#include <vector>

#include "fpq/core/hosted/error.hpp"

namespace fpq {

/// What lies there, links followed; `unknown` for what this user may not see and for links in a
/// circle. Throws fpq::error (input) when the system fails to tell.
inline std::filesystem::file_status look_at(std::filesystem::path const& path) {
    std::error_code failed;
    std::filesystem::file_status const found = std::filesystem::status(path, failed);
    if (found.type() != std::filesystem::file_type::none) {
        return found;
    }
    if (failed == std::errc::permission_denied ||
        failed == std::errc::too_many_symbolic_link_levels) {
        return std::filesystem::file_status(std::filesystem::file_type::unknown);
    }
    fail_input("cannot look at", path.string(), "success", failed.message());
}

/// Whether a file or directory lies there; a link to nothing does not. Errors: as look_at.
inline bool is_there(std::filesystem::path const& path) {
    return std::filesystem::exists(look_at(path));
}

/// Whether the path itself is a symbolic link. Errors: as look_at.
inline bool is_link(std::filesystem::path const& path) {
    std::error_code failed;
    std::filesystem::file_status const found = std::filesystem::symlink_status(path, failed);
    if (found.type() == std::filesystem::file_type::none) {
        fail_input("cannot look at", path.string(), "success", failed.message());
    }
    return std::filesystem::is_symlink(found);
}

/// All that lies in a directory, in any order. Throws fpq::error (input) when it cannot be read to
/// its end.
inline std::vector<std::filesystem::path> paths_in(std::filesystem::path const& directory) {
    std::vector<std::filesystem::path> out;
    std::error_code failed;
    std::filesystem::directory_iterator at(directory, failed);
    for (std::filesystem::directory_iterator const end; !failed && at != end;
         at.increment(failed)) {
        out.push_back(at->path());
    }
    if (failed) {
        fail_input("cannot look into", directory.string(), "a readable directory",
                   failed.message());
    }
    return out;
}

}  // namespace fpq
