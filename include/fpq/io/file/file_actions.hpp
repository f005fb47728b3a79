// SPDX-License-Identifier: Apache-2.0
// Floor 5. What the writers of files do: create, size, write and flush, each failure one line with
// the system's words; and free space, asked for beforehand.
#pragma once

#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

#include "fpq/core/hosted/error.hpp"
#include "fpq/io/file/mapped_file.hpp"

namespace fpq {

namespace detail {

[[noreturn]] inline void fail_write(std::string_view what, std::filesystem::path const& where,
                                    int code) {
    fail_input(what, where.string(), "success", system_words(code));
}

/// The nearest existing ancestor of `path`, or path itself.
inline std::filesystem::path existing_ancestor(std::filesystem::path path) {
    std::error_code ignored;
    path = std::filesystem::absolute(path, ignored);
    while (!std::filesystem::exists(path, ignored) && path.has_relative_path()) {
        path = path.parent_path();
    }
    return path;
}

/// Writes every byte at `offset`, whatever the kernel takes at a time.
inline void write_all(int fd, std::span<std::byte const> bytes, std::uint64_t offset,
                      std::filesystem::path const& path) {
    while (!bytes.empty()) {
        std::size_t const chunk = std::min<std::size_t>(bytes.size(), std::size_t{1} << 30);
        ::ssize_t const done = ::pwrite(fd, bytes.data(), chunk, static_cast<::off_t>(offset));
        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done <= 0) {
            fail_write("cannot write", path, done == 0 ? ENOSPC : errno);
        }
        bytes = bytes.subspan(static_cast<std::size_t>(done));
        offset += static_cast<std::uint64_t>(done);
    }
}

inline unique_fd create_file(std::filesystem::path const& path) {
    unique_fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
    if (!fd) {
        fail_write("cannot create", path, errno);
    }
    return fd;
}

/// Gives a new file its size and, where the file system can, its blocks.
inline void reserve_file(int fd, std::uint64_t size, std::filesystem::path const& path) {
    if (size == 0 || ::fallocate(fd, 0, 0, static_cast<::off_t>(size)) == 0) {
        return;
    }
    if (errno != EOPNOTSUPP && errno != ENOSYS) {
        fail_write("cannot reserve " + std::to_string(size) + " bytes", path, errno);
    }
    if (::ftruncate(fd, static_cast<::off_t>(size)) != 0) {
        fail_write("cannot size", path, errno);
    }
}

/// Asks the kernel to begin writing a range to disk now, so that the flush at the end is short.
inline void start_flush(int fd, std::uint64_t offset, std::size_t size) noexcept {
#if defined(SYNC_FILE_RANGE_WRITE)
    ::sync_file_range(fd, static_cast<::off_t>(offset), static_cast<::off_t>(size),
                      SYNC_FILE_RANGE_WRITE);
#else
    static_cast<void>(fd), static_cast<void>(offset), static_cast<void>(size);
#endif
}

inline void sync_path(std::filesystem::path const& path, int flags) {
    unique_fd const fd(::open(path.c_str(), flags | O_CLOEXEC));
    if (!fd || (::fsync(fd.get()) != 0 && errno != EINVAL && errno != EROFS)) {
        fail_write("cannot flush", path, errno);
    }
}

inline void sync_directory(std::filesystem::path const& path) {
    sync_path(path, O_RDONLY | O_DIRECTORY);
}

}  // namespace detail

/// Refuses (fpq::error, input) when the file system of `directory`, which need not exist yet, has
/// fewer than `bytes` bytes free for this user.
inline void require_space(std::filesystem::path const& directory, std::uint64_t bytes) {
    std::filesystem::path const at = detail::existing_ancestor(directory);
    struct statvfs facts {};
    if (::statvfs(at.c_str(), &facts) != 0) {
        detail::fail_write("cannot ask for free space", at, errno);
    }
    std::uint64_t const free = std::uint64_t{facts.f_bavail} * facts.f_frsize;
    if (free < bytes) {
        fail_input("not enough space on disk", directory.string(), std::to_string(bytes) + " bytes",
                   std::to_string(free) + " bytes free");
    }
}

}  // namespace fpq
