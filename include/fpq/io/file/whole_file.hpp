// SPDX-License-Identifier: Apache-2.0
// Floor 5. A small file that appears under its name only when it is whole: reports, results.
#pragma once

#include <unistd.h>

#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

#include "fpq/core/hosted/error.hpp"
#include "fpq/io/file/staging_directory.hpp"

namespace fpq {

/// Writes `text` beside `path` and renames it. Errors: fpq::error (input); nothing is left behind.
inline void write_file_whole(std::filesystem::path const& path, std::string_view text) {
    std::filesystem::path const temporary =
        path.string() + ".partial-" + std::to_string(::getpid());
    std::error_code failed;
    try {
        detail::unique_fd const fd = detail::create_file(temporary);
        detail::write_all(fd.get(), std::as_bytes(std::span(text)), 0, temporary);
    } catch (error const&) {
        std::filesystem::remove(temporary, failed);
        throw;
    }
    std::filesystem::rename(temporary, path, failed);
    if (failed) {
        std::error_code ignored;
        std::filesystem::remove(temporary, ignored);
        fail_input("cannot write", path.string(), "a file", failed.message());
    }
}

}  // namespace fpq
