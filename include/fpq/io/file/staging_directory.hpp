// SPDX-License-Identifier: Apache-2.0
// Floor 5. Files that appear under their final names only when all of them are whole: they are
// written in `<target>.partial-<pid>` beside the target and renamed at the end. A killed process
// leaves only that directory, and the next run for the same target removes it.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <system_error>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

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

/// Where what becomes `target` is written by this process; empty when `target` has no name.
inline std::filesystem::path staging_path(std::filesystem::path const& target) {
    std::error_code failed;
    std::filesystem::path clean =
        std::filesystem::weakly_canonical(std::filesystem::absolute(target, failed), failed);
    if (!clean.has_filename()) {
        clean = clean.parent_path();  // without a final separator
    }
    if (failed || !clean.has_filename()) {
        return {};
    }
    return clean.string() + ".partial-" + std::to_string(::getpid());
}

/// A locked directory beside `target`. publish() renames it or its files; the destructor removes
/// what was not published, and any parents that were made for it. Not thread-safe. Move nothing.
/// Errors: fpq::error (input) with the system's words; nothing stays behind.
class staging_directory {
public:
    explicit staging_directory(std::filesystem::path const& target) {
        std::error_code failed;
        std::filesystem::path const clean =
            std::filesystem::weakly_canonical(std::filesystem::absolute(target, failed), failed);
        target_ = clean.has_filename() ? clean : clean.parent_path();  // without a final separator
        if (failed || !target_.has_filename()) {
            fail_input("bad output directory", target.string(), "a directory with a name", "none");
        }
        if (std::filesystem::exists(target_) && !std::filesystem::is_directory(target_)) {
            fail_input("bad output directory", target_.string(), "a directory", "a file");
        }
        try {
            make_parents(target_.parent_path());
            remove_stale();
            path_ = target_.string() + ".partial-" + std::to_string(::getpid());
            if (::mkdir(path_.c_str(), 0777) != 0) {
                int const code = errno;
                std::filesystem::path const failed_path = path_;
                path_.clear();
                detail::fail_write("cannot create", failed_path, code);
            }
            lock_ = lock(path_);
        } catch (...) {
            discard();
            throw;
        }
    }
    ~staging_directory() { discard(); }
    staging_directory(staging_directory const&) = delete;
    staging_directory& operator=(staging_directory const&) = delete;

    [[nodiscard]] std::filesystem::path const& path() const noexcept { return path_; }
    [[nodiscard]] std::filesystem::path const& target() const noexcept { return target_; }

    /// Makes the files visible under the target's name. A target that is absent or empty appears at
    /// once by one rename. In one that holds files, `first_removed` and everything that `is_stale`
    /// names go first, then the files move, those of `last` in that order at the end: whenever it
    /// is cut short, no `last` file stands beside files of another generation.
    template <class IsStale>
    void publish(std::span<std::string const> last, IsStale is_stale) {
        for (auto const& entry : std::filesystem::recursive_directory_iterator(path_)) {
            detail::sync_path(entry.path(), O_RDONLY);
        }
        detail::sync_directory(path_);
        if (::rename(path_.c_str(), target_.c_str()) != 0) {
            if (errno != ENOTEMPTY && errno != EEXIST) {
                detail::fail_write("cannot rename to", target_, errno);
            }
            move_files(last, is_stale);
            ::rmdir(path_.c_str());
        }
        path_.clear();
        made_.clear();
        detail::sync_directory(target_);
        detail::sync_directory(target_.parent_path());
    }

private:
    void make_parents(std::filesystem::path const& parent) {
        std::vector<std::filesystem::path> missing;
        std::filesystem::path at = parent;
        std::error_code ignored;
        while (!std::filesystem::exists(at, ignored) && at.has_relative_path()) {
            missing.push_back(at);
            at = at.parent_path();
        }
        for (auto it = missing.rbegin(); it != missing.rend(); ++it) {
            if (::mkdir(it->c_str(), 0777) == 0) {
                made_.push_back(*it);
            } else if (errno != EEXIST) {
                detail::fail_write("cannot create", *it, errno);
            }
        }
    }

    /// An exclusive lock on a directory; empty when another open file holds it.
    static detail::unique_fd lock(std::filesystem::path const& path) {
        detail::unique_fd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        if (fd && ::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
            return {};
        }
        return fd;
    }

    /// Removes what dead processes left for the same target. A directory is stale when its process
    /// is gone (or has our own number) and nobody holds its lock.
    void remove_stale() const {
        std::string const prefix = target_.filename().string() + ".partial-";
        std::error_code ignored;
        std::vector<std::filesystem::path> stale;
        for (auto const& entry :
             std::filesystem::directory_iterator(target_.parent_path(), ignored)) {
            std::string const name = entry.path().filename().string();
            if (!name.starts_with(prefix) || !entry.is_directory(ignored)) {
                continue;
            }
            ::pid_t pid = 0;
            char const* const end = name.data() + name.size();
            auto const parsed = std::from_chars(name.data() + prefix.size(), end, pid);
            bool const numeric = parsed.ec == std::errc() && parsed.ptr == end && pid > 0;
            bool const gone =
                numeric && (pid == ::getpid() || (::kill(pid, 0) != 0 && errno == ESRCH));
            if (gone && lock(entry.path())) {
                stale.push_back(entry.path());
            }
        }
        for (std::filesystem::path const& path : stale) {
            std::filesystem::remove_all(path, ignored);
        }
    }

    template <class IsStale>
    void move_files(std::span<std::string const> last, IsStale is_stale) {
        std::vector<std::filesystem::path> doomed;
        for (auto const& entry : std::filesystem::directory_iterator(target_)) {
            std::string const name = entry.path().filename().string();
            bool const is_last = std::find(last.begin(), last.end(), name) != last.end();
            if (!entry.is_directory() && (is_last || is_stale(name))) {
                (is_last ? doomed.insert(doomed.begin(), entry.path())
                         : doomed.insert(doomed.end(), entry.path()));
            }
        }
        for (std::filesystem::path const& path : doomed) {
            if (::unlink(path.c_str()) != 0) {
                detail::fail_write("cannot remove", path, errno);
            }
        }
        std::vector<std::string> names;
        for (auto const& entry : std::filesystem::directory_iterator(path_)) {
            names.push_back(entry.path().filename().string());
        }
        auto const rank = [&last](std::string const& name) {
            auto const at = std::find(last.begin(), last.end(), name);
            return at == last.end() ? -1 : static_cast<int>(at - last.begin());
        };
        std::sort(names.begin(), names.end(), [&rank](auto const& a, auto const& b) {
            return rank(a) != rank(b) ? rank(a) < rank(b) : a < b;
        });
        for (std::string const& name : names) {
            std::filesystem::path const to = target_ / name;
            if (std::filesystem::is_directory(path_ / name) && std::filesystem::is_directory(to)) {
                std::filesystem::remove_all(to);  // of side files: the new one stands for it
            }
            if (::rename((path_ / name).c_str(), to.c_str()) != 0) {
                detail::fail_write("cannot rename to", to, errno);
            }
        }
    }

    void discard() noexcept {
        std::error_code ignored;
        if (!path_.empty()) {
            std::filesystem::remove_all(path_, ignored);
        }
        for (auto it = made_.rbegin(); it != made_.rend(); ++it) {
            ::rmdir(it->c_str());  // fails, as it should, when somebody put something there
        }
    }

    std::filesystem::path target_;
    std::filesystem::path path_;
    std::vector<std::filesystem::path> made_;
    detail::unique_fd lock_;
};

}  // namespace fpq
