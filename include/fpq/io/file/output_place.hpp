// SPDX-License-Identifier: Apache-2.0
// Floor 5. The directory that somebody asked a result to appear in: what it is, and whether it can
// take one. Nothing is written here.
#pragma once

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/io/file/file_actions.hpp"
#include "fpq/io/file/look.hpp"
#include "fpq/io/file/mapped_file.hpp"

namespace fpq {

/// The journal of a staging directory, by which it is known to be ours.
inline constexpr char const* staging_journal_name = "fpq-journal.jsonl";

/// A target with every link followed.
struct output_place {
    std::filesystem::path directory;
    bool exists = false;
    bool began_absent = false;  ///< it is there, and a run left work that began when it was not

    [[nodiscard]] std::filesystem::path inside() const { return directory / ".fpq-partial"; }
    [[nodiscard]] std::filesystem::path beside() const { return directory.string() + ".partial"; }
    /// Where its files are written before they appear: inside of a directory that is there, on its
    /// own file system; beside one that is not, or was not when the work began.
    [[nodiscard]] std::filesystem::path staging() const {
        return exists && !began_absent ? inside() : beside();
    }
};

namespace detail {

/// Without waiting; `exclusive` or shared. True: taken, until `fd` is closed. False: another holds
/// it. Errors: fpq::error (input) where the file system has no locks: two runs could mix there.
inline bool try_lock(int fd, bool exclusive, std::filesystem::path const& path) {
    while (::flock(fd, (exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB) != 0) {
        if (errno == EWOULDBLOCK) {
            return false;
        }
        if (errno != EINTR) {
            fail_input("cannot lock", path.string(), "a file system with locks (flock)",
                       system_words(errno));
        }
    }
    return true;
}

}  // namespace detail

namespace detail {

/// Whether work of ours lies beside a directory that is there, none inside of it, and both on one
/// file system, so that files can be moved in.
inline bool has_work_beside(output_place const& place) {
    struct stat here {};
    struct stat there {};
    return std::filesystem::is_regular_file(look_at(place.beside() / staging_journal_name)) &&
           !is_there(place.inside() / staging_journal_name) &&
           ::stat(place.directory.c_str(), &here) == 0 &&
           ::stat(place.beside().c_str(), &there) == 0 && here.st_dev == there.st_dev;
}

}  // namespace detail

/// Refuses (fpq::error, input) what can never be a directory of ours: a file, a place below a file,
/// a link to nothing, a loop of links, a name that is none.
inline output_place find_output_place(std::filesystem::path const& target) {
    auto const refuse = [&](std::string_view expected, std::string_view found) {
        fail_input("bad output directory", target.string(), expected, found);
    };
    std::error_code failed;
    std::filesystem::path clean = std::filesystem::absolute(target, failed).lexically_normal();
    if (!clean.has_filename()) {
        clean = clean.parent_path();  // without a final separator
    }
    if (failed || clean.empty()) {
        refuse("a directory", "no name");
    }
    std::filesystem::file_status const status = std::filesystem::status(clean, failed);
    if (failed && failed != std::errc::no_such_file_or_directory) {
        refuse("a directory", failed == std::errc::too_many_symbolic_link_levels
                                  ? "a loop of links"
                                  : failed.message());
    }
    if (std::filesystem::exists(status)) {
        if (!std::filesystem::is_directory(status)) {
            refuse("a directory", "a file");
        }
        std::filesystem::path const whole = std::filesystem::canonical(clean, failed);
        if (failed) {
            refuse("a directory", failed.message());
        }
        output_place place{whole, true};
        place.began_absent = detail::has_work_beside(place);
        return place;
    }
    if (std::filesystem::is_symlink(std::filesystem::symlink_status(clean, failed))) {
        refuse("a directory", "a link to nothing");
    }
    std::filesystem::path const above = detail::existing_ancestor(clean);
    if (!std::filesystem::is_directory(above, failed)) {
        refuse("a directory above it", above.string() + ", which is none");
    }
    std::filesystem::path const whole = std::filesystem::weakly_canonical(clean, failed);
    if (failed || !whole.has_filename()) {
        refuse("a directory with a name", failed ? failed.message() : "none");
    }
    return {whole, false};
}

/// Weight files in `directory` that a checkpoint written there neither replaces nor removes:
/// loaders may take them instead of it or beside it. In the order of their names.
inline std::vector<std::string> other_weights(std::filesystem::path const& directory) {
    std::vector<std::string> out;
    if (!is_there(directory)) {
        return out;
    }
    for (std::filesystem::path const& path : paths_in(directory)) {
        std::string const name = path.filename().string();
        std::string const kind = path.extension().string();
        bool const replaced = name.starts_with("model") && kind == ".safetensors";
        if (!replaced && (kind == ".safetensors" || kind == ".bin" || kind == ".pth" ||
                          kind == ".pt" || kind == ".gguf")) {
            out.push_back(name);
        }
    }
    std::sort(out.begin(), out.end());
    return out;
}

/// Bytes on disk of the files right in `directory`; 0 when there is none.
inline std::uint64_t bytes_on_disk(std::filesystem::path const& directory) {
    std::uint64_t total = 0;
    std::error_code ignored;  // it may be published at this moment
    for (std::filesystem::directory_iterator at(directory, ignored), end; !ignored && at != end;
         at.increment(ignored)) {
        struct stat facts {};
        if (::lstat(at->path().c_str(), &facts) == 0 && S_ISREG(facts.st_mode)) {
            total += static_cast<std::uint64_t>(facts.st_blocks) * 512;
        }
    }
    return total;
}

/// Refuses (fpq::error, input) a staging place that can never be a directory of this user.
inline void require_staging(output_place const& place) {
    std::filesystem::path const at = place.staging();
    struct stat facts {};
    if (::lstat(at.c_str(), &facts) != 0) {
        if (errno != ENOENT) {
            detail::fail_write("cannot create", at, errno);  // a name that is too long
        }
        return;
    }
    std::error_code failed;
    if (!std::filesystem::is_directory(at, failed)) {
        fail_input("in the way", at.string(), "nothing there, or a partial result",
                   S_ISLNK(facts.st_mode) ? "a link to nothing" : "a file");
    }
    if (::access(at.c_str(), R_OK | W_OK | X_OK) != 0) {
        detail::fail_write("cannot go on in", at, errno);
    }
}

/// Refuses (fpq::error, input) a directory at `at` that holds files and no journal of ours.
inline void require_ours(std::filesystem::path const& at) {
    std::error_code absent;
    auto const has_journal = [&] { return is_there(at / staging_journal_name); };
    // Twice: a run at work there may end in between.
    if (std::filesystem::is_directory(look_at(at)) && !has_journal() &&
        !std::filesystem::is_empty(at, absent) && !absent && !has_journal()) {
        fail_input("directory in the way", at.string(), "nothing there, or a partial result",
                   "files of somebody else");
    }
}

/// Refuses (fpq::error, input) a target that find_output_place refuses, one that this user may not
/// write, one that holds a directory under a name of `files`, a staging place that is somebody
/// else's, a file system without locks, and less free space than `bytes` beside what an earlier run
/// left there.
inline output_place check_output_directory(std::filesystem::path const& target,
                                           std::span<std::string const> files,
                                           std::uint64_t bytes = 0) {
    output_place place = find_output_place(target);
    std::filesystem::path const written =
        place.exists ? place.directory : detail::existing_ancestor(place.directory);
    if (::access(written.c_str(), W_OK | X_OK) != 0) {
        fail_input("bad output directory", place.directory.string(), "a directory to write in",
                   detail::system_words(errno) + " for " + written.string());
    }
    for (std::string const& name : files) {
        if (place.exists && std::filesystem::is_directory(look_at(place.directory / name))) {
            fail_input("bad output directory", (place.directory / name).string(),
                       "a file or nothing", "a directory");
        }
    }
    require_staging(place);
    require_ours(place.staging());
    detail::unique_fd const above(::open(written.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (above) {  // write permission alone is enough for a directory
        (void)detail::try_lock(above.get(), false, place.directory);
    }
    std::uint64_t const left = bytes_on_disk(place.staging());
    require_space(place.staging(), bytes - std::min(bytes, left));
    return place;
}

}  // namespace fpq
