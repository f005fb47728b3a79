// SPDX-License-Identifier: Apache-2.0
// Floor 8. What a run tells: the error of every linear, totals, evaluation. Data only; tools print
// it.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "fpq/io/json/json_text.hpp"
#include "fpq/model/evaluate.hpp"
#include "fpq/pipeline/evaluated_text.hpp"
#include "fpq/pipeline/progress.hpp"
#include "fpq/quant/error_stats.hpp"
#include "fpq/version.hpp"

namespace fpq {

/// One quantized linear.
struct linear_report {
    std::string module;
    std::size_t rows = 0;
    std::size_t cols = 0;
    std::optional<double> sqnr_db;  // of the (transformed) weight; empty: all of it is 0
    local_loss local;
    std::optional<double> relative_error;  // tr(dW H dW^T) / tr(W H W^T)
    int damping_retries = 0;
    double damping = 0.0;
    std::size_t dead_columns = 0;
    float global_scale = 1.0F;
    float input_global_scale = 1.0F;

    void set_loss(error_stats const& error, local_loss const& where) {
        if (error.signal > 0.0 || error.noise > 0.0) {
            sqnr_db = error.sqnr_db();
        }
        local = where;
    }
    /// Blocks that no token ever excited may become 0 as a whole; more than that is a loss.
    [[nodiscard]] bool lost_blocks() const noexcept {
        constexpr double tolerated = 0.001;
        double const dead =
            cols == 0 ? 0.0 : static_cast<double>(dead_columns) / static_cast<double>(cols);
        return local.zeroed_share() > tolerated + dead;
    }
};

/// One figure of a task of lm-evaluation-harness.
struct task_score {
    std::string task;
    std::string metric;
    std::string filter;  ///< by which answers were read
    double value = 0.0;
    std::optional<double> error;  ///< standard error
};

/// What the harness found, and the commands that were run for it.
struct task_scores {
    std::vector<task_score> scores;
    std::vector<std::string> commands;
};

/// Seconds that a phase of a run took.
struct phase_time {
    std::string phase;
    double seconds = 0.0;
};

/// What a run was, did and found. Its JSON holds all that is needed to repeat it.
struct run_report {
    nlohmann::json recipe;            ///< recipe_json.hpp reads it back
    std::string layout;               ///< of what was written; empty: nothing
    std::filesystem::path directory;  ///< where it lies
    std::string commit = "unknown";   ///< the program's to set
    std::string processor;            ///< as the system names it
    int threads = 0;                  ///< that the run had, on each rank
    std::size_t ranks = 1;
    std::vector<phase_time> phases;
    std::vector<linear_report> linears;
    std::size_t quantized_inputs = 0;  ///< linears whose inputs are quantized
    std::uint64_t quantized_values = 0;
    std::uint64_t quantized_bytes = 0;
    std::uint64_t output_bytes = 0;
    std::size_t calibration_tokens = 0;
    std::string hidden_states;  ///< where those of the calibration lay; empty: there were none
    std::uint64_t device_memory = 0;  ///< bytes of a card at the widest moment; 0: on the CPU
    std::uint64_t planned_device_memory = 0;  ///< that the plan counted, without hidden states
    double seconds = 0.0;
    std::optional<eval_result> evaluation;
    evaluated_text evaluates = evaluated_text::own;
    std::optional<task_scores> tasks;  ///< the program's to set
    std::vector<std::string> notes;

    /// One more quantized linear of `bytes` bytes.
    void add(linear_report line, std::uint64_t bytes) {
        quantized_values += std::uint64_t{line.rows} * line.cols;
        quantized_bytes += bytes;
        if (line.lost_blocks()) {
            notes.push_back(fmt::format(
                "{}: {:.1f} % of the blocks that were not 0 became 0 (an outlier sets the global "
                "scale); worst row {:.2f} dB",
                line.module, 100.0 * line.local.zeroed_share(), line.local.worst_row_db));
        }
        linears.push_back(std::move(line));
    }

    /// Pseudoquant: what was written holds decoded values.
    [[nodiscard]] bool is_pseudoquant() const {
        return recipe.is_object() && recipe.contains("output") &&
               recipe.at("output").value("kind", "") == "pseudoquant";
    }

    /// The same of what the file holds: of pseudoquant, values decoded to bf16.
    [[nodiscard]] double stored_bits_per_weight() const {
        constexpr double decoded = 16.0;
        return is_pseudoquant() && quantized_values != 0 ? decoded : bits_per_weight();
    }

    /// Of the quantized linears in their formats, scales and global scales included.
    [[nodiscard]] double bits_per_weight() const {
        return quantized_values == 0 ? 0.0
                                     : 8.0 * static_cast<double>(quantized_bytes) /
                                           static_cast<double>(quantized_values);
    }
};

/// A number, or "inf", "-inf" where it is none, which JSON cannot say; null: nothing was measured.
inline nlohmann::json json_of(std::optional<double> value) {
    if (!value || std::isnan(*value)) {
        return nullptr;
    }
    return std::isinf(*value) ? nlohmann::json(*value > 0 ? "inf" : "-inf")
                              : nlohmann::json(*value);
}

/// Of a text without a window, no figures.
inline nlohmann::json to_json(eval_result const& e) {
    if (e.targets == 0) {
        return {{"targets", 0}};
    }
    nlohmann::json json{{"perplexity", e.perplexity}, {"targets", e.targets}};
    if (e.has_reference) {
        json["kl_mean"] = e.kl_mean;
        json["kl_se"] = e.kl_se;
        json["kl_p99"] = e.kl_p99;
        json["top1_agreement"] = e.top1_agreement;
        json["top1_se"] = e.top1_se;
        json["reference_perplexity"] = e.reference_perplexity;
    }
    for (eval_result const& apart : e.texts) {
        nlohmann::json one = to_json(apart);
        one["text"] = utf8_escaped(apart.text);
        json["texts"].push_back(std::move(one));
    }
    return json;
}

inline nlohmann::json to_json(task_scores const& tasks) {
    nlohmann::json scores = nlohmann::json::array();
    for (task_score const& s : tasks.scores) {
        scores.push_back({{"task", s.task},
                          {"metric", s.metric},
                          {"filter", s.filter},
                          {"value", json_of(s.value)},
                          {"stderr", json_of(s.error)}});
    }
    nlohmann::json commands = nlohmann::json::array();
    for (std::string const& command : tasks.commands) {
        commands.push_back(utf8_escaped(command));
    }
    return {{"scores", std::move(scores)}, {"commands", std::move(commands)}};
}

inline nlohmann::json to_json(linear_report const& l) {
    return {{"module", l.module},
            {"rows", l.rows},
            {"cols", l.cols},
            {"sqnr_db", json_of(l.sqnr_db)},
            {"worst_row_sqnr_db", l.sqnr_db ? json_of(l.local.worst_row_db) : nlohmann::json()},
            {"nonzero_blocks", l.local.blocks},
            {"zeroed_blocks", l.local.zeroed_blocks},
            {"relative_error", json_of(l.relative_error)},
            {"damping_retries", l.damping_retries},
            {"damping", l.damping},
            {"dead_columns", l.dead_columns},
            {"weight_global_scale", l.global_scale},
            {"input_global_scale", l.input_global_scale}};
}

/// The inverse of json_of. Throws nlohmann::json::exception for anything else.
inline std::optional<double> number_of(nlohmann::json const& value) {
    constexpr double infinity = std::numeric_limits<double>::infinity();
    return value.is_null()   ? std::nullopt
           : value == "inf"  ? std::optional(infinity)
           : value == "-inf" ? std::optional(-infinity)
                             : std::optional(value.get<double>());
}

/// The inverse of to_json. Throws nlohmann::json::exception for anything else.
inline linear_report linear_report_from(nlohmann::json const& row) {
    linear_report l;
    l.module = row.at("module");
    l.rows = row.at("rows");
    l.cols = row.at("cols");
    l.sqnr_db = number_of(row.at("sqnr_db"));
    l.local.worst_row_db = number_of(row.at("worst_row_sqnr_db")).value_or(l.local.worst_row_db);
    l.local.blocks = row.at("nonzero_blocks");
    l.local.zeroed_blocks = row.at("zeroed_blocks");
    l.relative_error = number_of(row.at("relative_error"));
    l.damping_retries = row.at("damping_retries");
    l.damping = row.at("damping");
    l.dead_columns = row.at("dead_columns");
    l.global_scale = row.at("weight_global_scale");
    l.input_global_scale = row.at("input_global_scale");
    return l;
}

inline nlohmann::json to_json(run_report const& report) {
    nlohmann::json linears = nlohmann::json::array();
    for (linear_report const& l : report.linears) {
        linears.push_back(to_json(l));
    }
    nlohmann::json phases = nlohmann::json::array();
    for (phase_time const& p : report.phases) {
        phases.push_back({{"phase", p.phase}, {"seconds", p.seconds}});
    }
    nlohmann::json json{
        {"recipe", report.recipe},
        {"version", FPQ_VERSION_STRING},
        {"commit", report.commit},
        {"processor", report.processor},
        {"threads", report.threads},
        {"ranks", report.ranks},
        {"layout", report.layout.empty() ? nlohmann::json() : nlohmann::json(report.layout)},
        {"phases", std::move(phases)},
        {"linears", std::move(linears)},
        {"bits_per_weight", report.bits_per_weight()},
        {"stored_bits_per_weight", report.stored_bits_per_weight()},
        {"quantized_inputs", report.quantized_inputs},
        {"quantized_values", report.quantized_values},
        {"quantized_bytes", report.quantized_bytes},
        {"output_bytes", report.output_bytes},
        {"calibration_tokens", report.calibration_tokens},
        {"seconds", report.seconds},
        {"notes", report.notes}};
    if (!report.hidden_states.empty()) {
        json["hidden_states"] = report.hidden_states;
    }
    if (report.device_memory != 0) {
        json["device_memory"] = report.device_memory;
        json["planned_device_memory"] = report.planned_device_memory;
    }
    if (report.evaluation) {
        json["evaluation"] = to_json(*report.evaluation);
        json["evaluation"]["text"] = name_of(report.evaluates);
    }
    if (report.tasks) {
        json["tasks"] = to_json(*report.tasks);
    }
    return json;
}

/// The inverse of to_json, for the figures that it writes.
inline eval_result eval_result_from(nlohmann::json const& e) {
    eval_result out;
    out.targets = e.at("targets");
    if (out.targets == 0) {
        return out;
    }
    out.perplexity = e.at("perplexity");
    out.has_reference = e.contains("kl_mean");
    if (out.has_reference) {
        out.kl_mean = e.at("kl_mean");
        out.kl_se = e.at("kl_se");
        out.kl_p99 = e.at("kl_p99");
        out.top1_agreement = e.at("top1_agreement");
        out.top1_se = e.at("top1_se");
        out.reference_perplexity = e.at("reference_perplexity");
    }
    if (e.contains("texts")) {
        for (nlohmann::json const& one : e.at("texts")) {
            out.texts.push_back(eval_result_from(one));
            out.texts.back().text = utf8_unescaped(one.at("text").get<std::string>());
        }
    }
    return out;
}

/// Puts what `json`, a report of the same run, says of linears and evaluation into `report`, with
/// those of its notes that are not there. Throws nlohmann::json::exception for anything else.
inline void take_results(nlohmann::json const& json, run_report& report) {
    report.linears.clear();
    for (nlohmann::json const& row : json.at("linears")) {
        report.linears.push_back(linear_report_from(row));
    }
    report.quantized_values = json.at("quantized_values");
    report.quantized_bytes = json.at("quantized_bytes");
    report.calibration_tokens = json.at("calibration_tokens");
    if (json.contains("evaluation")) {
        report.evaluation = eval_result_from(json.at("evaluation"));
    }
    for (nlohmann::json const& row : json.at("notes")) {
        std::string note = row;
        if (std::find(report.notes.begin(), report.notes.end(), note) == report.notes.end()) {
            report.notes.push_back(std::move(note));
        }
    }
}

}  // namespace fpq
