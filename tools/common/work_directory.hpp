// SPDX-License-Identifier: Apache-2.0
// A directory of its own below TMPDIR, for what is handed to another program. It goes away with
// the object.
#pragma once

#include <stdlib.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string>
#include <system_error>

#include "fpq/core/hosted/error.hpp"

namespace fpq::tools {

class work_directory {
public:
    /// Named after `whose`. Throws fpq::error (input) when it cannot be made.
    explicit work_directory(std::string const& whose) {
        std::error_code failed;
        std::filesystem::path const base = std::filesystem::temp_directory_path(failed);
        if (failed) {
            fail_input("cannot make a directory", "TMPDIR", "a directory", failed.message());
        }
        std::string name = (base / ("fpq-" + whose + "-XXXXXX")).string();
        if (::mkdtemp(name.data()) == nullptr) {
            fail_input("cannot make a directory", name, {}, std::strerror(errno));
        }
        path_ = name;
    }
    ~work_directory() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    work_directory(work_directory const&) = delete;
    work_directory& operator=(work_directory const&) = delete;
    [[nodiscard]] std::filesystem::path const& path() const noexcept { return path_; }

private:
    std::filesystem::path path_;
};

}  // namespace fpq::tools
