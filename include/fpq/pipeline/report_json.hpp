// SPDX-License-Identifier: Apache-2.0
// Floor 8. The JSON of a report, and back what a run that goes on needs.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>

#include "fpq/core/hosted/error.hpp"
#include "fpq/io/json/json_text.hpp"
#include "fpq/model/evaluate.hpp"
#include "fpq/pipeline/evaluated_text.hpp"
#include "fpq/pipeline/report.hpp"
#include "fpq/solve/options.hpp"
#include "fpq/version.hpp"

namespace fpq {

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
    nlohmann::json json{{"perplexity", json_of(e.perplexity)},
                        {"nll_se", json_of(e.nll_se)},
                        {"targets", e.targets}};
    if (e.has_reference) {
        json["kl_mean"] = json_of(e.kl_mean);
        json["kl_se"] = json_of(e.kl_se);
        json["kl_p99"] = json_of(e.kl_p99);
        json["top1_agreement"] = json_of(e.top1_agreement);
        json["top1_se"] = json_of(e.top1_se);
        json["reference_perplexity"] = json_of(e.reference_perplexity);
        json["nll_difference_se"] = json_of(e.nll_difference_se);
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
            {"kind", l.kind},
            {"layer", l.layer},
            {"rows", l.rows},
            {"cols", l.cols},
            {"sqnr_db", json_of(l.sqnr_db)},
            {"worst_row_sqnr_db", l.sqnr_db ? json_of(l.local.worst_row_db) : nlohmann::json()},
            {"nonzero_blocks", l.local.blocks},
            {"zeroed_blocks", l.local.zeroed_blocks},
            {"objective", l.objective ? nlohmann::json(name_of(*l.objective)) : nlohmann::json()},
            {"relative_error", json_of(l.relative_error)},
            {"damping_retries", l.damping_retries},
            {"damping", l.damping},
            {"row_damping", l.row_damping},
            {"dead_columns", l.dead_columns},
            {"weight_global_scale", l.global_scale},
            {"input_global_scale", l.input_global_scale},
            {"weight_peak_to_rms", json_of(l.weight_peak)},
            {"input_peak_to_rms", json_of(l.input_peak)},
            {"smooth_alpha", json_of(l.smooth_alpha)},
            {"smooth_error_ratio", json_of(l.smooth_error_ratio)}};
}

/// The inverse of json_of. Throws nlohmann::json::exception for anything else.
inline std::optional<double> number_of(nlohmann::json const& value) {
    constexpr double infinity = std::numeric_limits<double>::infinity();
    return value.is_null()   ? std::nullopt
           : value == "inf"  ? std::optional(infinity)
           : value == "-inf" ? std::optional(-infinity)
                             : std::optional(value.get<double>());
}

/// Null: nothing; else the inverse of name_of. Throws fpq::error (input) for anything else.
inline std::optional<solve_objective> objective_from(nlohmann::json const& value) {
    if (value.is_null()) {
        return std::nullopt;
    }
    for (solve_objective const one :
         {solve_objective::output, solve_objective::two_sided, solve_objective::guided}) {
        if (value == name_of(one)) {
            return one;
        }
    }
    fail_input("report", "objective", "output, two_sided, guided or null", value.dump());
}

/// The inverse of to_json. Throws nlohmann::json::exception or fpq::error for anything else.
inline linear_report linear_report_from(nlohmann::json const& row) {
    linear_report l;
    l.module = row.at("module");
    l.kind = row.at("kind");
    l.layer = row.at("layer");
    l.rows = row.at("rows");
    l.cols = row.at("cols");
    l.sqnr_db = number_of(row.at("sqnr_db"));
    l.local.worst_row_db = number_of(row.at("worst_row_sqnr_db")).value_or(l.local.worst_row_db);
    l.local.blocks = row.at("nonzero_blocks");
    l.local.zeroed_blocks = row.at("zeroed_blocks");
    l.objective = objective_from(row.at("objective"));
    l.relative_error = number_of(row.at("relative_error"));
    l.damping_retries = row.at("damping_retries");
    l.damping = row.at("damping");
    l.row_damping = row.at("row_damping");
    l.dead_columns = row.at("dead_columns");
    l.global_scale = row.at("weight_global_scale");
    l.input_global_scale = row.at("input_global_scale");
    l.weight_peak = number_of(row.at("weight_peak_to_rms"));
    l.input_peak = number_of(row.at("input_peak_to_rms"));
    l.smooth_alpha = number_of(row.at("smooth_alpha"));
    l.smooth_error_ratio = number_of(row.at("smooth_error_ratio"));
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
    nlohmann::json layers = nlohmann::json::array();
    for (layer_cost const& l : report.layers) {
        layers.push_back(
            {{"layer", l.layer}, {"seconds", l.seconds}, {"host_memory", l.host_memory}});
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
        {"layers", std::move(layers)},
        {"linears", std::move(linears)},
        {"bits_per_weight", report.bits_per_weight()},
        {"stored_bits_per_weight", report.stored_bits_per_weight()},
        {"quantized_inputs", report.quantized_inputs},
        {"quantized_values", report.quantized_values},
        {"quantized_bytes", report.quantized_bytes},
        {"input_bytes", report.input_bytes},
        {"output_bytes", report.output_bytes},
        {"host_memory", report.host_memory},
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
    auto const figure = [&e](char const* name) {
        return number_of(e.at(name)).value_or(std::numeric_limits<double>::quiet_NaN());
    };
    out.perplexity = figure("perplexity");
    out.nll_se = figure("nll_se");
    out.has_reference = e.contains("kl_mean");
    if (out.has_reference) {
        out.kl_mean = figure("kl_mean");
        out.kl_se = figure("kl_se");
        out.kl_p99 = figure("kl_p99");
        out.top1_agreement = figure("top1_agreement");
        out.top1_se = figure("top1_se");
        out.reference_perplexity = figure("reference_perplexity");
        out.nll_difference_se = figure("nll_difference_se");
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
