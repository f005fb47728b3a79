// SPDX-License-Identifier: Apache-2.0
// Floor 5. The directory that somebody asked a result to appear in: what it is, and whether it can
// take one. Nothing is written here.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/io/file/file_actions.hpp"
#include "fpq/io/file/mapped_file.hpp"

namespace fpq {

/// A target with every link followed.
struct output_place {
    std::filesystem::path directory;
    bool exists = false;

    /// Where its files are written before they appear: inside of a directory that is there, on its
    /// own file system; beside one that is not.
    [[nodiscard]] std::filesystem::path staging() const {
        return exists ? directory / ".fpq-partial"
                      : std::filesystem::path(directory.string() + ".partial");
    }
};

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
        return {std::filesystem::canonical(clean), true};
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
    std::error_code ignored;
    for (auto const& entry : std::filesystem::directory_iterator(directory, ignored)) {
        std::string const name = entry.path().filename().string();
        std::string const kind = entry.path().extension().string();
        bool const replaced = name.starts_with("model") && kind == ".safetensors";
        if (!replaced && (kind == ".safetensors" || kind == ".bin" || kind == ".pth" ||
                          kind == ".pt" || kind == ".gguf")) {
            out.push_back(name);
        }
    }
    std::sort(out.begin(), out.end());
    return out;
}

/// Refuses (fpq::error, input) a target that find_output_place refuses, one that this user may not
/// write, and one that holds a directory under a name of `files`. What passes may still fill up.
inline output_place check_output_directory(std::filesystem::path const& target,
                                           std::span<std::string const> files) {
    output_place place = find_output_place(target);
    std::filesystem::path const written =
        place.exists ? place.directory : detail::existing_ancestor(place.directory);
    if (::access(written.c_str(), W_OK | X_OK) != 0) {
        fail_input("bad output directory", place.directory.string(), "a directory to write in",
                   detail::system_words(errno) + " for " + written.string());
    }
    std::error_code ignored;
    for (std::string const& name : files) {
        if (place.exists && std::filesystem::is_directory(place.directory / name, ignored)) {
            fail_input("bad output directory", (place.directory / name).string(),
                       "a file or nothing", "a directory");
        }
    }
    return place;
}

}  // namespace fpq
