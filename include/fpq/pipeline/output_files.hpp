// SPDX-License-Identifier: Apache-2.0
// Floor 8. The files of an output by name, and what lies in their way that is somebody else's.
#pragma once

#include <fcntl.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/dialect/carried_files.hpp"
#include "fpq/dialect/carried_tensors.hpp"
#include "fpq/io/file/journal_file.hpp"
#include "fpq/io/file/look.hpp"
#include "fpq/io/file/output_place.hpp"
#include "fpq/io/json/json_file.hpp"
#include "fpq/io/safetensors/checkpoint.hpp"
#include "fpq/io/safetensors/shard_plan.hpp"
#include "fpq/pipeline/plan.hpp"

namespace fpq {

/// Relative paths of all files that a run writes.
inline std::vector<std::string> output_files(planned_output const& out, checkpoint const& source) {
    std::vector<std::string> names{"README.md", "recipe.json", std::string(index_name)};
    for (shard_layout const& shard : out.shards) {
        names.push_back(shard.file);
    }
    for (named_json const& file : out.layout->files(out.linears, source.config())) {
        names.push_back(file.name);
    }
    for (std::string const& name : carried_files(source.directory())) {
        names.push_back(name);
    }
    return names;
}

/// Refuses (fpq::error, input) what lies in `staging`, the work of a run that writes `files`, and
/// is none of them: it would be published as a part of the checkpoint.
inline void require_own_files(std::filesystem::path const& staging,
                              std::vector<std::string> const& files) {
    for (std::filesystem::path const& path : paths_in(staging)) {
        std::string const name = path.filename().string();
        bool const own = std::any_of(files.begin(), files.end(), [&](std::string const& file) {
            return file == name || file.starts_with(name + "/");
        });
        if (!own && name != staging_journal_name) {
            fail_input("in the way", path.string(), "files of the run that was interrupted there",
                       "one of somebody else");
        }
    }
}

/// Refuses (fpq::error, input) a directory that no run of ours wrote and that holds weights in any
/// form, or one of `files`, which would be replaced. A move that was cut short is ours. Ours is
/// known by its recipe alone: weights that were put beside one pass for ours.
inline void require_own_output(output_place const& place, std::vector<std::string> const& files) {
    if (!place.exists || is_there(place.directory / staging_journal_name) ||
        carried_tensors(place.directory).has_value()) {
        return;
    }
    std::filesystem::path const journal = place.staging() / staging_journal_name;
    if (is_there(journal) && journal_file(journal, O_RDONLY).find("move") != nullptr) {
        return;
    }
    std::vector<std::filesystem::path> paths = paths_in(place.directory);
    std::sort(paths.begin(), paths.end());
    for (std::filesystem::path const& path : paths) {
        if (detail::is_weight_file(path.filename().string()) &&
            std::filesystem::is_regular_file(look_at(path))) {
            fail_input("bad output directory", path.string(),
                       "no weights, or those of an earlier export (another --save_path, or remove "
                       "them first)",
                       "a checkpoint that fpq-quantize did not write");
        }
    }
    for (std::string const& name : files) {
        if (is_there(place.directory / name)) {
            fail_input("bad output directory", (place.directory / name).string(),
                       "no file of that name, or an earlier export (another --save_path, or remove "
                       "it first)",
                       "one that fpq-quantize did not write");
        }
    }
}

/// Whether a run of `model` for `out` would go on with the work in its staging place: it is ours,
/// and nothing of somebody else is in its way or has appeared where it goes.
inline bool can_go_on(planned_output const& out, std::filesystem::path const& model) {
    try {
        checkpoint const source(model);
        std::vector<std::string> const files = output_files(out, source);
        output_place const place = find_output_place(out.directory);
        require_own_output(place, files);
        require_own_files(place.staging(), files);
        return is_there(place.staging() / staging_journal_name);
    } catch (error const&) {
        return false;
    }
}

}  // namespace fpq
