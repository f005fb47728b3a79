// SPDX-License-Identifier: Apache-2.0
// Floor 8. What a run that writes a checkpoint leaves behind for one that goes on: what it was, and
// for each finished layer what was written and reported.
#pragma once

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/core/hosted/parallel.hpp"
#include "fpq/io/file/journal_file.hpp"
#include "fpq/io/file/look.hpp"
#include "fpq/io/file/mapped_file.hpp"
#include "fpq/io/file/output_place.hpp"
#include "fpq/io/file/staging_directory.hpp"
#include "fpq/io/json/json_member.hpp"
#include "fpq/io/json/json_text.hpp"
#include "fpq/io/safetensors/checkpoint.hpp"
#include "fpq/io/text/token_windows.hpp"
#include "fpq/linalg/products.hpp"
#include "fpq/pipeline/output_files.hpp"
#include "fpq/pipeline/plan.hpp"
#include "fpq/pipeline/report.hpp"
#include "fpq/pipeline/report_json.hpp"
#include "fpq/version.hpp"

namespace fpq {

/// To notice a byte that did not arrive or is another, not an adversary. Four interleaved chains of
/// words; each step is one to one in the word, so that one wrong word always shows.
inline std::uint64_t fingerprint(std::span<std::byte const> bytes) {
    constexpr std::uint64_t prime = 0x9E3779B97F4A7C15u;
    std::array<std::uint64_t, 4> chain{1, 2, 3, 4};
    std::array<std::uint64_t, 4> word{};
    std::size_t at = 0;
    for (; at + sizeof word <= bytes.size(); at += sizeof word) {
        std::memcpy(word.data(), bytes.data() + at, sizeof word);
        for (std::size_t i = 0; i < chain.size(); ++i) {
            chain[i] = std::rotl(chain[i] ^ word[i], 29) * prime;
        }
    }
    std::uint64_t hash = bytes.size();
    for (std::uint64_t const c : chain) {
        hash = (hash ^ c) * prime;
    }
    for (; at < bytes.size(); ++at) {
        hash = (hash ^ static_cast<std::uint64_t>(bytes[at])) * prime;
    }
    return hash;
}

/// Fingerprints of tensors, by name.
using tensor_prints = std::map<std::string, std::uint64_t>;

namespace detail {

/// By sizes and time stamps, for runs that are as quick as reading all of it.
inline nlohmann::json quick_identity(checkpoint const& source) {
    nlohmann::json files = nlohmann::json::array();
    for (safetensors_file const& shard : source.shards()) {
        std::error_code ignored;
        auto const when = std::filesystem::last_write_time(shard.path(), ignored);
        files.push_back({shard.path().string(), std::filesystem::file_size(shard.path(), ignored),
                         static_cast<std::int64_t>(when.time_since_epoch().count())});
    }
    return files;
}

/// By the bytes of every tensor, each read once.
inline nlohmann::json content_identity(checkpoint const& source, int threads) {
    std::vector<std::uint64_t> prints(source.names().size());
    parallel_for(prints.size(), 1, threads, [&](std::size_t begin, std::size_t end) {
        for (std::size_t i = begin; i < end; ++i) {
            std::string const& name = source.names()[i];
            std::uint64_t all = fingerprint(std::as_bytes(std::span(name)));
            for_each_piece(source.at(name).bytes, [&](std::span<std::byte const> piece) {
                all = all * 0x9E3779B97F4A7C15u + fingerprint(piece);
                source.release(name, piece);
            });
            prints[i] = all;
        }
    });
    return {fingerprint(std::as_bytes(std::span(prints)))};
}

}  // namespace detail

/// All that decides the bytes of a run, in parts that a refusal can name: threads, and where the
/// texts and the output lie, do not. Valid UTF-8, as a journal gives it back.
inline nlohmann::json run_identity(run_plan const& plan, checkpoint const& source,
                                   token_windows const& calibration,
                                   token_windows const& evaluation) {
    nlohmann::json recipe = plan.recipe;
    recipe.erase("model");
    recipe.erase("threads");
    recipe["calibration"].erase("dataset");
    recipe["evaluation"].erase("texts");
    recipe["output"].erase("directory");
    if (!plan.guided.empty()) {  // by the memory that there is
        recipe["guided"] = plan.guided;
    }
    bool const looks_at_text =
        !calibration.empty() || !evaluation.empty() || plan.calibration.dataset == "self";
    nlohmann::json files = looks_at_text ? detail::content_identity(source, plan.threads)
                                         : detail::quick_identity(source);
    std::string const config = source.config().dump();
    files.push_back(fingerprint(std::as_bytes(std::span(config))));
    auto const print = [](token_windows const& windows) {
        std::uint64_t all = 0;
        for (auto const& window : windows) {
            all = all * 0x9E3779B97F4A7C15u + fingerprint(std::as_bytes(std::span(window)));
        }
        return all;
    };
    nlohmann::json const text = {plan.calibration.dataset == "self", print(calibration),
                                 print(evaluation)};
    return utf8_json<nlohmann::json>(
        {{"version", FPQ_VERSION_STRING},
         {"recipe", std::move(recipe)},
         {"model", std::move(files)},
         {"text", text},
         {"matrix products",
          plan.backend == "cpu" ? std::string(active_products().name) : plan.backend}});
}

/// What distinguishes two identities, in one word; empty when nothing does. The model comes last:
/// how it is identified follows from whether the recipe looks at a text.
inline std::string difference(nlohmann::json const& before, nlohmann::json const& now) {
    for (char const* const part : {"recipe", "text", "version", "matrix products", "model"}) {
        if (detail::member_or_null(before, part) != now.at(part)) {
            return part;
        }
    }
    return {};
}

/// Whether a run of `identity` goes on with what another left. Work of another identity is refused
/// (fpq::error, usage) unless `restart` discards it; one that finished no layer is not missed.
/// Refuses (input) what lies there beside the `files` of the run.
inline bool goes_on_with(journal_file const& journal, nlohmann::json const& identity,
                         std::filesystem::path const& staging,
                         std::vector<std::string> const& files, bool restart) {
    nlohmann::json const* const begin = journal.find("begin");
    bool const worth = journal.find("layer") != nullptr;
    if (restart || begin == nullptr) {
        return false;
    }
    std::string const other = difference(*begin, identity);
    if (other.empty()) {
        require_own_files(staging, files);
    }
    if (worth && !other.empty()) {
        fail_usage("restart", staging.string(),
                   "the run that was interrupted there (or --restart, which discards it)",
                   "another " + other);
    }
    return worth;
}

/// Refuses, as the run of a plan with an output would, to take the place of another run that was
/// interrupted. Nothing is written.
inline void refuse_other_run(run_plan const& plan, checkpoint const& source,
                             token_windows const& calibration, token_windows const& evaluation) {
    std::filesystem::path const staging = staging_path(plan.output->directory);
    if (!is_there(staging / staging_journal_name)) {
        return;
    }
    journal_file const journal(staging / staging_journal_name, O_RDONLY);
    if (journal.find("move") == nullptr) {  // else the run finishes it first
        (void)goes_on_with(journal, run_identity(plan, source, calibration, evaluation), staging,
                           output_files(*plan.output, source), plan.restart);
    }
}

/// One finished layer of a journal.
struct layer_record {
    std::size_t layer = 0;
    tensor_prints tensors;
    std::vector<linear_report> linears;
    std::uint64_t bytes = 0;  ///< of the linears, as the report counts them
};

inline nlohmann::json to_json(layer_record const& r) {
    nlohmann::json linears = nlohmann::json::array();
    for (linear_report const& l : r.linears) {
        linears.push_back(to_json(l));
    }
    return {{"layer", r.layer},
            {"tensors", r.tensors},
            {"linears", std::move(linears)},
            {"bytes", r.bytes}};
}

/// The inverse of to_json. Throws nlohmann::json::exception for anything else.
inline layer_record layer_record_from(nlohmann::json const& line) {
    layer_record record;
    record.layer = line.at("layer");
    record.tensors = line.at("tensors").get<tensor_prints>();
    record.bytes = line.at("bytes");
    for (nlohmann::json const& l : line.at("linears")) {
        record.linears.push_back(linear_report_from(l));
    }
    return record;
}

/// What of an interrupted run can be gone on with.
struct earlier_work {
    std::vector<layer_record> layers;  ///< 0, 1, ... whose tensors are still what was written
    std::string lost;                  ///< for the user: finished ones that are not; empty: none

    void lose(std::size_t finished, std::string const& why) {
        lost = std::to_string(finished - layers.size()) + " of " + std::to_string(finished) +
               " layers that an interrupted run had finished are done again: " + why;
    }
};

/// The finished layers of a journal; a later one does not count when one before it is missing or
/// damaged.
inline earlier_work finished_layers(journal_file const& journal,
                                    std::filesystem::path const& staging) {
    earlier_work work;
    std::vector<layer_record>& out = work.layers;
    std::optional<checkpoint> written;
    auto const finished = static_cast<std::size_t>(
        std::count_if(journal.lines().begin(), journal.lines().end(),
                      [](nlohmann::json const& line) { return line.contains("layer"); }));
    for (nlohmann::json const& line : journal.lines()) {
        if (!line.contains("layer")) {
            continue;
        }
        try {
            layer_record record = layer_record_from(line);
            if (!written) {
                written.emplace(staging);
            }
            bool sound = record.layer == out.size();
            for (auto const& [name, print] : record.tensors) {
                sound = sound && fingerprint(written->at(name).bytes) == print;
                written->release(name);
            }
            if (!sound) {
                work.lose(finished, "bytes of layer " + std::to_string(out.size()) + " differ");
                break;
            }
            out.push_back(std::move(record));
        } catch (std::exception const& why) {  // no journal line of this version, or no checkpoint
            work.lose(finished, why.what());
            break;
        }
    }
    return work;
}

}  // namespace fpq
