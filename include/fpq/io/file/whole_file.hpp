// SPDX-License-Identifier: Apache-2.0
// Floor 5. Small files as strings: read at once, and written so that they appear under their name
// only when they are whole (reports, results).
#pragma once

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

#include "fpq/core/hosted/error.hpp"
#include "fpq/io/file/file_actions.hpp"
#include "fpq/io/file/lfs_pointer.hpp"
#include "fpq/io/file/mapped_file.hpp"

namespace fpq {

namespace detail {

/// Calls f(piece) for the bytes of a regular file in order, at most `most` (at least 1024) at a
/// time; not at all for an empty one. Errors: fpq::error (input) by path.
template <class F>
void read_in_pieces(std::filesystem::path const& path, std::size_t most, F f) {
    regular_file const file = open_regular(path);
    std::string piece;
    for (std::uint64_t done = 0; done < file.size;) {
        auto const size = static_cast<std::size_t>(std::min<std::uint64_t>(most, file.size - done));
        piece.resize(size);
        for (std::size_t at = 0; at < size;) {
            ::ssize_t const got = ::read(file.fd.get(), piece.data() + at, size - at);
            if (got < 0 && errno == EINTR) {
                continue;
            }
            if (got <= 0) {
                fail_input("cannot read file", path.string(), std::to_string(file.size) + " bytes",
                           got == 0 ? std::to_string(done + at) : system_words(errno));
            }
            at += static_cast<std::size_t>(got);
        }
        done += size;
        if (size == file.size) {
            refuse_lfs_pointer(std::as_bytes(std::span(piece)), path);
        }
        f(piece);
    }
}

/// The bytes of a regular file. Errors: fpq::error (input) by path.
inline std::string read_whole_file(std::filesystem::path const& path) {
    std::string text;
    read_in_pieces(path, std::numeric_limits<std::size_t>::max(),
                   [&](std::string& all) { text.swap(all); });
    return text;
}

/// What write_file_whole replaces: the file itself, or the one that a link points to. Refuses a
/// device, a pipe and a directory: a rename over one would take it away from everybody.
inline std::filesystem::path replaced_file(std::filesystem::path const& path) {
    std::error_code failed;
    std::filesystem::file_status const status = std::filesystem::status(path, failed);
    if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status)) {
        fail_input("cannot write", path.string(), "a regular file or nothing",
                   std::filesystem::is_directory(status) ? "a directory" : "a device or a pipe");
    }
    if (std::filesystem::is_symlink(std::filesystem::symlink_status(path, failed))) {
        std::filesystem::path const target = std::filesystem::weakly_canonical(path, failed);
        return failed ? path : target;
    }
    return path;
}

}  // namespace detail

/// Refuses a path under which write_file_whole could not put a file: a directory, something in a
/// directory that is absent or may not be written, and where this process's limit of file size is
/// below `bytes`. Errors: fpq::error (input); nothing is left.
inline void require_writable_file(std::filesystem::path const& path, std::uint64_t bytes) {
    std::filesystem::path const file = detail::replaced_file(path);
    std::error_code failed;
    rlimit limit{};
    if (::getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
        limit.rlim_cur < bytes) {
        fail_input("cannot write", path.string(), "some " + std::to_string(bytes) + " bytes",
                   "a limit of " + std::to_string(limit.rlim_cur) + " bytes for a file");
    }
    std::filesystem::path const temporary =
        file.string() + ".partial-" + std::to_string(::getpid());
    { detail::unique_fd const fd = detail::create_file(temporary); }
    std::filesystem::remove(temporary, failed);
}

/// Writes `text` beside `path`, or what it links to, and renames it. Errors: fpq::error (input);
/// nothing is left behind.
inline void write_file_whole(std::filesystem::path const& path, std::string_view text) {
    std::filesystem::path const file = detail::replaced_file(path);
    std::filesystem::path const temporary =
        file.string() + ".partial-" + std::to_string(::getpid());
    std::error_code failed;
    try {
        detail::unique_fd const fd = detail::create_file(temporary);
        detail::write_all(fd.get(), std::as_bytes(std::span(text)), 0, temporary);
    } catch (error const&) {
        std::filesystem::remove(temporary, failed);
        throw;
    }
    std::filesystem::rename(temporary, file, failed);
    if (failed) {
        std::error_code ignored;
        std::filesystem::remove(temporary, ignored);
        fail_input("cannot write", path.string(), "a file", failed.message());
    }
}

/// Refuses (fpq::error, usage, by flag) a file to be written that is `input`, links followed.
inline void require_other_file(std::string_view flag, std::filesystem::path const& file,
                               std::filesystem::path const& input) {
    std::error_code ignored;
    if (std::filesystem::equivalent(file, input, ignored)) {
        fail_usage(flag, file.string(), "another file", "one that is read");
    }
}

/// Refuses (fpq::error, usage, by flag) a file to be written right in `directory`, links followed:
/// it could take the place of one that is read.
inline void require_outside(std::string_view flag, std::filesystem::path const& file,
                            std::filesystem::path const& directory) {
    std::error_code ignored;
    for (std::filesystem::path const& at :
         {std::filesystem::absolute(file, ignored),
          std::filesystem::weakly_canonical(std::filesystem::absolute(file, ignored), ignored)}) {
        if (std::filesystem::equivalent(at.parent_path(), directory, ignored)) {
            fail_usage(flag, file.string(), "a file outside of the model",
                       "one in its directory " + directory.string());
        }
    }
}

}  // namespace fpq
