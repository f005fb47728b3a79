// SPDX-License-Identifier: Apache-2.0
// Floor 5. A git-lfs pointer: the few lines that a clone without git-lfs leaves in place of a large
// file.
#pragma once

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <span>
#include <string_view>

#include "fpq/core/hosted/error.hpp"

namespace fpq {

/// Refuses (fpq::error, input) a file whose bytes are a git-lfs pointer, with the command that
/// fetches it.
inline void refuse_lfs_pointer(std::span<std::byte const> bytes,
                               std::filesystem::path const& path) {
    constexpr std::string_view mark = "version https://git-lfs.github.com/spec/";
    constexpr std::size_t most = 1024;  // by its specification
    bool const same = bytes.size() >= mark.size() && bytes.size() <= most &&
                      std::equal(mark.begin(), mark.end(), bytes.begin(), [](char a, std::byte b) {
                          return static_cast<std::byte>(a) == b;
                      });
    if (same) {
        fail_input("git-lfs pointer instead of the file", path.string(),
                   "its content (git lfs pull --include '" + path.filename().string() + "')",
                   "a pointer");
    }
}

}  // namespace fpq
