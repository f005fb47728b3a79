// SPDX-License-Identifier: Apache-2.0
// Floor 5. Data sets that other tools know by name, or by their id on the hub, as local files.
#pragma once

#include <algorithm>
#include <array>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/io/file/hub_cache.hpp"

namespace fpq {

/// A name, the repository on the hub, and how the paths of its training text begin.
struct known_data_set {
    std::string_view name, id, files, download;
};

inline constexpr std::array<known_data_set, 4> known_data_sets{
    {{"c4", "allenai/c4", "en/c4-train", " en/c4-train.00000-of-01024.json.gz"},
     {"wikitext2", "Salesforce/wikitext", "wikitext-2-raw-v1/train",
      " --include 'wikitext-2-raw-v1/*'"},
     {"fineweb-edu", "HuggingFaceFW/fineweb-edu", "sample/10BT/",
      " --include 'sample/10BT/000_00000.parquet'"},
     {"open-platypus", "garage-bAInd/Open-Platypus", "", ""}}};

namespace detail {

/// The python line that turns a parquet file into one that is read.
inline std::string parquet_command(std::string const& path) {
    return "python3 -c \"import pandas; pandas.read_parquet('" + path +
           "').to_json('text.jsonl', orient='records', lines=True)\"";
}

/// A data set by its name or id; for others the name is the id.
inline known_data_set data_set_of(std::string_view name) {
    for (known_data_set const& each : known_data_sets) {
        if (each.name == name || each.id == name) {
            return {name, each.id, each.files, each.download};
        }
    }
    return {name, name, "", ""};
}

/// The command that downloads it.
inline std::string download_hint(std::string const& name) {
    known_data_set const set = data_set_of(name);
    std::string const directory = set.id == name ? "DIR" : name;
    return "hf download --repo-type dataset --local-dir " + directory + " " + std::string(set.id) +
           std::string(set.download);
}

}  // namespace detail

/// The files of a data set in the hub's local cache that `reads` accepts, in the order of their
/// names; those named "train" alone where there are such. Empty when it is not there.
/// Errors: fpq::error (input) when it is there as parquet only, with the line that converts it.
template <class Reads>
std::vector<std::filesystem::path> cached_data_set(std::string const& name, Reads&& reads) {
    namespace fs = std::filesystem;
    known_data_set const set = detail::data_set_of(name);
    auto const snapshot = hub_snapshot("datasets", std::string(set.id));
    if (!snapshot) {
        return {};
    }
    std::vector<fs::path> all;
    std::error_code none;
    for (fs::recursive_directory_iterator at(*snapshot, none), end; !none && at != end;
         at.increment(none)) {
        std::string const path = at->path().lexically_relative(*snapshot).string();
        std::string const file = at->path().filename().string();
        if (path.starts_with(set.files) && at->is_regular_file(none) && file[0] != '.' &&
            file != "dataset_infos.json") {
            all.push_back(at->path());
        }
    }
    std::sort(all.begin(), all.end());
    std::vector<fs::path> out;
    for (bool const train : {true, false}) {
        for (fs::path const& path : all) {
            bool const is_train = path.filename().string().find("train") != std::string::npos;
            if (reads(path) && (is_train || !train)) {
                out.push_back(path);
            }
        }
        if (!out.empty()) {
            return out;
        }
    }
    for (fs::path const& path : all) {
        if (path.extension() == ".parquet") {
            fail_input("text file not understood", path.string(),
                       "rows of JSON (" + detail::parquet_command(path.string()) + " converts it)",
                       "parquet");
        }
    }
    return out;
}

}  // namespace fpq
