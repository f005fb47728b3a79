// SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "common/places.hpp"
#include "evaluate/measure.hpp"
#include "fpq/core/hosted/error.hpp"
#include "fpq/io/file/hub_cache.hpp"
#include "fpq/io/file/whole_file.hpp"
#include "fpq/io/json/json_file.hpp"
#include "fpq/io/json/json_text.hpp"
#include "fpq/pipeline/report.hpp"
#include "fpq/pipeline/report_json.hpp"
#include "fpq/version.hpp"

namespace fpq::tools {

namespace {

bool is_earlier_result(std::filesystem::path const& file) {
    try {
        nlohmann::json const json = read_json_file(file);
        return json.contains("perplexity") || json.contains("tasks");
    } catch (error const&) {
        return false;
    }
}

/// Every text that was given, in order, with its figures; of one that gave no window, none.
nlohmann::json texts_of(measurement const& m) {
    // One text has no figures of its own: those of all are its.
    std::vector<eval_result> const parts =
        m.texts.size() == 1 ? std::vector<eval_result>{m.result} : m.result.texts;
    nlohmann::json out = nlohmann::json::array();
    for (std::size_t i = 0; i < parts.size(); ++i) {
        out.push_back(to_json(parts[i]));
        out.back()["text"] = utf8_escaped(m.texts[i].name);
    }
    return out;
}

}  // namespace

void check_json_file(evaluate_options const& options) {
    std::filesystem::path const& file = options.json;
    if (file.empty()) {
        return;
    }
    for (std::filesystem::path const& text : options.texts) {
        require_other_file("json", file, text);
    }
    // A result beside the weights is fine, one in the place of a file of theirs is not.
    std::error_code absent;
    if (std::filesystem::exists(file, absent) && !is_earlier_result(file)) {
        require_outside("json", file, model_directory(options.model));
        if (!options.reference.empty()) {
            require_outside("json", file, model_directory(options.reference));
        }
    }
    require_writable_file(file, 512);
}

void check_log_directory(evaluate_options const& options) {
    if (options.logs.directory.empty()) {
        return;
    }
    for (std::filesystem::path const& checkpoint : {options.model, options.reference}) {
        if (!checkpoint.empty()) {
            refuse_within("log_dir", options.logs.directory, model_directory(checkpoint),
                          "one of the model");
        }
    }
}

std::vector<log_value> values_of(std::optional<measurement> const& m,
                                 std::optional<task_scores> const& tasks) {
    std::vector<log_value> out;
    if (m) {
        out = evaluation_values(m->result);
        out.push_back({"size/bits_per_weight", 0, m->bits_per_weight});
        out.push_back({"phase_seconds/open", 0, m->open_seconds});
        out.push_back({"phase_seconds/load", 0, m->load_seconds});
        out.push_back({"phase_seconds/compute", 0, m->compute_seconds});
    }
    if (tasks) {
        std::vector<log_value> const more = task_values(*tasks);
        out.insert(out.end(), more.begin(), more.end());
    }
    return out;
}

void save_results(std::optional<measurement> const& m, std::optional<task_scores> const& tasks,
                  evaluate_options const& options, std::string const& products) {
    nlohmann::json json = nlohmann::json::object();
    if (m) {
        json = to_json(m->result);
        json["texts"] = texts_of(*m);
        json["reference"] = options.reference.empty()
                                ? nlohmann::json()
                                : nlohmann::json(utf8_escaped(options.reference.string()));
        json["max_windows"] = options.max_windows;
        json["max_characters"] = options.max_characters;
        json["bos"] = options.add_special ? "auto" : "never";
        json["text_column"] = utf8_escaped(options.text_column);
        json["bits_per_weight"] = m->bits_per_weight;
        json["stored_bits_per_weight"] = m->stored_bits_per_weight;
        json["products"] = products;
        json["seconds"] = {
            {"open", m->open_seconds}, {"load", m->load_seconds}, {"compute", m->compute_seconds}};
        json["sequence_length"] = options.sequence_length;
    }
    if (tasks) {
        json["tasks"] = to_json(*tasks);
    }
    json["version"] = FPQ_VERSION_STRING;
    json["model"] = utf8_escaped(options.model.string());
    write_json_file(options.json, json);
}

}  // namespace fpq::tools
