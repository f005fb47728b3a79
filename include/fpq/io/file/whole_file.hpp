// SPDX-License-Identifier: Apache-2.0
// Floor 5. Small files as strings: read at once, and written so that they appear under their name
// only when they are whole (reports, results). A pipe, a device or a standard stream is written to,
// never replaced.
#pragma once

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
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

/// The bytes of a regular file. Errors: fpq::error (input) by path.
inline std::string read_whole_file(std::filesystem::path const& path) {
    regular_file const file = open_regular(path);
    std::string text(static_cast<std::size_t>(file.size), '\0');
    for (std::size_t at = 0; at < text.size();) {
        ::ssize_t const got = ::read(file.fd.get(), text.data() + at, text.size() - at);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            fail_input("cannot read file", path.string(), std::to_string(file.size) + " bytes",
                       got == 0 ? std::to_string(at) : system_words(errno));
        }
        at += static_cast<std::size_t>(got);
    }
    refuse_lfs_pointer(std::as_bytes(std::span(text)), path);
    return text;
}

/// Where a path leads: a file that a rename replaces (links followed, so that a link stays one), or
/// something that is only written to.
struct written_place {
    std::filesystem::path path;
    bool replaced = true;
    int stream = -1;  // 1 or 2: what the path leads to is open there
};

/// Errors: fpq::error (input) for a directory.
inline written_place written_place_of(std::filesystem::path const& path) {
    struct stat named {};
    if (::stat(path.c_str(), &named) != 0) {
        return {path};  // what is wrong with it shows when it is written
    }
    if (S_ISDIR(named.st_mode)) {
        fail_input("cannot write", path.string(), "a file", "a directory");
    }
    for (int const fd : {1, 2}) {  // /dev/stdout may well lead to a regular file
        struct stat facts {};
        if (::fstat(fd, &facts) == 0 && facts.st_dev == named.st_dev &&
            facts.st_ino == named.st_ino) {
            return {path, false, fd};
        }
    }
    if (!S_ISREG(named.st_mode)) {
        return {path, false};
    }
    std::error_code failed;
    std::filesystem::path const whole = std::filesystem::canonical(path, failed);
    return {failed ? path : whole};
}

/// Writes `text` to a pipe, a device or an open stream. A pipe that nobody reads is an error, not a
/// wait.
inline void write_into(written_place const& place, std::string_view text) {
    static_cast<void>(std::fflush(nullptr));  // what was printed before comes before
    unique_fd fd;
    if (place.stream < 0) {
        fd = unique_fd(::open(place.path.c_str(), O_WRONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC));
        if (!fd || ::fcntl(fd.get(), F_SETFL, 0) != 0) {
            fail_write("cannot write", place.path, errno);
        }
    }
    while (!text.empty()) {
        ::ssize_t const done = ::write(fd ? fd.get() : place.stream, text.data(), text.size());
        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done <= 0) {
            fail_write("cannot write", place.path, done == 0 ? ENOSPC : errno);
        }
        text.remove_prefix(static_cast<std::size_t>(done));
    }
}

}  // namespace detail

/// Refuses a path under which write_file_whole could not put a file: a directory, something in a
/// directory that is absent or may not be written, and where this process's limit of file size is
/// below `bytes`. Errors: fpq::error (input); nothing is left.
inline void require_writable_file(std::filesystem::path const& path, std::uint64_t bytes) {
    detail::written_place const place = detail::written_place_of(path);
    if (!place.replaced) {
        if (::access(path.c_str(), W_OK) != 0) {
            detail::fail_write("cannot write", path, errno);
        }
        return;
    }
    rlimit limit{};
    if (::getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
        limit.rlim_cur < bytes) {
        fail_input("cannot write", path.string(), "some " + std::to_string(bytes) + " bytes",
                   "a limit of " + std::to_string(limit.rlim_cur) + " bytes for a file");
    }
    std::filesystem::path const temporary =
        place.path.string() + ".partial-" + std::to_string(::getpid());
    { detail::unique_fd const fd = detail::create_file(temporary); }
    std::error_code ignored;
    std::filesystem::remove(temporary, ignored);
}

/// Writes `text` beside `path` and renames it; into a pipe, a device or a standard stream it goes
/// as it is. Errors: fpq::error (input); nothing is left behind.
inline void write_file_whole(std::filesystem::path const& path, std::string_view text) {
    detail::written_place const place = detail::written_place_of(path);
    if (!place.replaced) {
        detail::write_into(place, text);
        return;
    }
    std::filesystem::path const temporary =
        place.path.string() + ".partial-" + std::to_string(::getpid());
    std::error_code failed;
    try {
        detail::unique_fd const fd = detail::create_file(temporary);
        detail::write_all(fd.get(), std::as_bytes(std::span(text)), 0, temporary);
    } catch (error const&) {
        std::filesystem::remove(temporary, failed);
        throw;
    }
    std::filesystem::rename(temporary, place.path, failed);
    if (failed) {
        std::error_code ignored;
        std::filesystem::remove(temporary, ignored);
        fail_input("cannot write", path.string(), "a file", failed.message());
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
