// SPDX-License-Identifier: Apache-2.0
// Floor 5. Which files a text is: by what their names end with. What is in them is text.hpp's.
#pragma once

#include <algorithm>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/io/file/look.hpp"
#include "fpq/io/text/data_sets.hpp"

namespace fpq {

namespace detail {

enum class text_kind { none, plain, compressed_plain, lines, compressed_lines };

/// What turns a file of another kind into one that is read; empty when nothing is known.
inline std::string conversion_hint(std::filesystem::path const& path) {
    std::string const name = path.filename().string();
    if (name.ends_with(".parquet")) {
        return " (" + parquet_command(name) + " converts it)";
    }
    return name.ends_with(".zst") ? " (zstd -d " + name + " converts it)" : "";
}

inline text_kind kind_of_file(std::filesystem::path const& path) {
    std::string const name = path.filename().string();
    auto const ends = [&](std::string_view suffix) { return name.ends_with(suffix); };
    if (ends(".txt") || ends(".raw")) {
        return text_kind::plain;
    }
    if (ends(".txt.gz") || ends(".raw.gz")) {
        return text_kind::compressed_plain;
    }
    if (ends(".jsonl") || ends(".json")) {
        return text_kind::lines;
    }
    return ends(".jsonl.gz") || ends(".json.gz") ? text_kind::compressed_lines : text_kind::none;
}

inline constexpr std::string_view text_suffixes = ".txt, .raw, .jsonl or .json, or these with .gz";

}  // namespace detail

/// The files of a text: itself, those of a directory in the order of their names (other names are
/// left out), or those of a data set in the hub's cache. Errors: fpq::error (input) for a name that
/// is neither, with the command that downloads it.
inline std::vector<std::filesystem::path> text_files(std::filesystem::path const& path) {
    auto const is_text = [](std::filesystem::path const& file) {
        return detail::kind_of_file(file) != detail::text_kind::none;
    };
    std::vector<std::filesystem::path> files;
    if (std::filesystem::is_directory(look_at(path))) {
        for (std::filesystem::path const& file : paths_in(path)) {
            if (std::filesystem::is_regular_file(look_at(file)) && is_text(file)) {
                files.push_back(file);
            }
        }
        std::sort(files.begin(), files.end());
    } else if (!is_there(path) && !is_text(path)) {
        files = cached_data_set(path.string(), is_text);
        if (files.empty()) {
            fail_input("no such file; data sets are not downloaded", path.string(),
                       "a local file or directory, or a data set in the hub's cache (" +
                           detail::download_hint(path.string()) + ")",
                       "none");
        }
    } else {
        files.push_back(path);
    }
    return files;
}

/// The first file of `text` that is one of `other`, too, by whatever path; empty: none, or one of
/// the texts cannot be found.
inline std::filesystem::path shared_text_file(std::filesystem::path const& text,
                                              std::filesystem::path const& other) {
    try {
        std::vector<std::filesystem::path> const others = text_files(other);
        for (std::filesystem::path const& file : text_files(text)) {
            for (std::filesystem::path const& one : others) {
                std::error_code absent;
                if (file == one || std::filesystem::equivalent(file, one, absent)) {
                    return file;
                }
            }
        }
    } catch (error const&) {  // whoever reads it says so
    }
    return {};
}

}  // namespace fpq
