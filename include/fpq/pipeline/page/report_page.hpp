// SPDX-License-Identifier: Apache-2.0
// Floor 8. A report as one page of HTML for people: what was done, what it saved, what it cost.
// The JSON (report_json.hpp) has all figures; the page depends on nothing but the report.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fpq/io/json/json_member.hpp"
#include "fpq/io/json/json_text.hpp"
#include "fpq/pipeline/page/page_parts.hpp"
#include "fpq/pipeline/page/report_charts.hpp"
#include "fpq/pipeline/report.hpp"
#include "fpq/version.hpp"

namespace fpq {

namespace detail {

/// "1.5 GiB", "87.2 MiB".
inline std::string size_words(std::uint64_t bytes) {
    constexpr double step = 1024.0;
    double value = static_cast<double>(bytes) / (step * step);
    return value < step ? fmt::format("{:.1f} MiB", value)
                        : fmt::format("{:.2f} GiB", value / step);
}

inline std::string seconds_words(double seconds) {
    return seconds < 100.0    ? fmt::format("{:.1f} s", seconds)
           : seconds < 6000.0 ? fmt::format("{:.1f} min", seconds / 60.0)
                              : fmt::format("{:.1f} h", seconds / 3600.0);
}

/// A mean and its standard error, the error to two digits.
inline std::string with_error(double value, double error) {
    if (!(error > 0.0) || !std::isfinite(error)) {
        return fmt::format("{:.5g}", value);
    }
    int const digits = std::clamp(1 - static_cast<int>(std::floor(std::log10(error))), 0, 10);
    return fmt::format("{:.{}f} \u00b1\u00a0{:.{}f}", value, digits, error, digits);
}

inline std::string optional_number(std::optional<double> value, char const* pattern) {
    return value && std::isfinite(*value) ? fmt::format(fmt::runtime(pattern), *value) : "-";
}

/// The last name of a path of the recipe.
inline std::string recipe_name(run_report const& report, std::string_view member) {
    nlohmann::json const value = member_or_null(report.recipe, member);
    if (!value.is_string()) {
        return {};
    }
    std::filesystem::path const path = value.get<std::string>();
    return path.has_filename() ? path.filename().string() : path.parent_path().filename().string();
}

inline std::string summary_part(run_report const& report) {
    std::vector<tile> all{{fmt::format("{:.3f}", report.bits_per_weight()),
                           fmt::format("bits per weight, {} linears", report.linears.size())}};
    if (!report.layout.empty() && report.input_bytes > 0) {
        all.push_back({size_words(report.output_bytes),
                       fmt::format("of tensors, {:.1f} % of {}",
                                   100.0 * static_cast<double>(report.output_bytes) /
                                       static_cast<double>(report.input_bytes),
                                   size_words(report.input_bytes))});
    }
    if (report.evaluation && report.evaluation->targets > 0) {
        eval_result const& e = *report.evaluation;
        all.push_back({with_error(e.perplexity, e.perplexity * e.nll_se),
                       fmt::format("perplexity, original {:.4f}", e.reference_perplexity)});
        all.push_back({with_error(e.kl_mean, e.kl_se), "KL to the original, nats"});
        all.push_back(
            {fmt::format("{:.2f} %", 100.0 * e.top1_agreement), "same most likely token"});
    }
    all.push_back({seconds_words(report.seconds), "the whole run"});
    return tiles(all);
}

inline std::string size_part(run_report const& report) {
    std::vector<std::vector<std::string>> rows{{"", "bytes", ""}};
    auto const row = [&](std::string what, std::uint64_t bytes) {
        rows.push_back({std::move(what), std::to_string(bytes), size_words(bytes)});
    };
    row("tensors of the model", report.input_bytes);
    if (!report.layout.empty()) {
        row("tensors that were written", report.output_bytes);
    }
    if (report.quantized_values > 0) {
        row("quantized weights, in bf16", 2 * report.quantized_values);
        row("quantized weights, with their scales", report.quantized_bytes);
    }
    std::string const inputs =
        report.quantized_inputs == 0
            ? std::string("Inputs stay as they are.")
            : fmt::format("Inputs of {} linears are quantized.", report.quantized_inputs);
    return heading("Sizes") + table(rows) +
           paragraph(
               fmt::format(
                   "{:.4f} bits per quantized weight, scales and global scales "
                   "included{}. {}",
                   report.bits_per_weight(),
                   report.is_pseudoquant() ? " (pseudoquant: the file holds decoded values)" : "",
                   inputs),
               "faint");
}

inline std::string quality_part(run_report const& report) {
    if (!report.evaluation || report.evaluation->targets == 0) {
        return {};
    }
    eval_result const& e = *report.evaluation;
    std::vector<std::vector<std::string>> rows{{"text", "perplexity", "original", "ratio",
                                                "KL, nats", "KL, 99 %", "same top token",
                                                "targets"}};
    for (eval_result const* const part : evaluated_parts(e)) {
        double const ratio = part->perplexity / part->reference_perplexity;
        rows.push_back({text_name(*part),
                        with_error(part->perplexity, part->perplexity * part->nll_se),
                        fmt::format("{:.4f}", part->reference_perplexity),
                        with_error(ratio, ratio * part->nll_difference_se),
                        with_error(part->kl_mean, part->kl_se), fmt::format("{:.5g}", part->kl_p99),
                        with_error(100.0 * part->top1_agreement, 100.0 * part->top1_se) + " %",
                        std::to_string(part->targets)});
    }
    return heading("Quality") + figures({perplexity_chart(e), divergence_chart(e)}) + table(rows) +
           paragraph(
               "Standard errors are those of means over windows, over positions where there "
               "is one window; those of perplexities follow from those of their logarithms. "
               "The ratio's is that of paired differences.",
               "faint") +
           (report.evaluates == evaluated_text::own
                ? ""
                : paragraph("The evaluation is, in part or in all, on the calibration text."));
}

inline std::string task_part(run_report const& report) {
    if (!report.tasks || report.tasks->scores.empty()) {
        return {};
    }
    std::vector<std::vector<std::string>> rows{{"task", "metric", "filter", "value"}};
    for (task_score const& s : report.tasks->scores) {
        rows.push_back({s.task, s.metric, s.filter, with_error(s.value, s.error.value_or(0.0))});
    }
    return heading("Tasks of lm-evaluation-harness") + table(rows);
}

inline std::string linear_part(run_report const& report) {
    if (report.linears.empty()) {
        return {};
    }
    std::vector<std::vector<std::string>> rows{{"linear", "rows", "columns", "SQNR, dB",
                                                "worst row", "objective", "relative error",
                                                "largest weight", "largest input channel"}};
    for (linear_report const& l : report.linears) {
        rows.push_back(
            {l.module, std::to_string(l.rows), std::to_string(l.cols),
             optional_number(l.sqnr_db, "{:.2f}"),
             optional_number(l.sqnr_db ? std::optional(l.local.worst_row_db) : std::nullopt,
                             "{:.2f}"),
             l.objective ? name_of(*l.objective) : "", optional_number(l.relative_error, "{:.6f}"),
             optional_number(l.weight_peak, "{:.1f}"), optional_number(l.input_peak, "{:.1f}")});
    }
    return heading("Errors and outliers") + figures({error_chart(report), outlier_chart(report)}) +
           paragraph(
               "The relative error of outputs is tr(dW H dW\u1d40) / tr(W H W\u1d40), H the "
               "second moment of the inputs that calibration saw (for the objective two_sided, "
               "tr(G dW H dW\u1d40) / tr(G W H W\u1d40), G that of the gradients at the outputs "
               "and "
               "H with its tokens weighted by these; guided: with such an H, without G); of "
               "weights it is the share of their energy. Outliers are of weights after a "
               "transform, if there is one, "
               "and of the rms of input channels; they are multiples of the rms of all.",
               "faint") +
           folded("every linear", table(rows));
}

inline std::string cost_part(run_report const& report) {
    std::vector<std::vector<std::string>> rows{{"phase", "seconds"}};
    for (phase_time const& p : report.phases) {
        rows.push_back({p.phase, fmt::format("{:.2f}", p.seconds)});
    }
    rows.push_back({"the whole run", fmt::format("{:.2f}", report.seconds)});
    std::vector<std::vector<std::string>> memory{{"memory at its widest", "bytes", ""}};
    auto const row = [&](std::string what, std::uint64_t bytes) {
        if (bytes > 0) {
            memory.push_back({std::move(what), std::to_string(bytes), size_words(bytes)});
        }
    };
    row("this process", report.host_memory);
    row("the card", report.device_memory);
    row("the card, as planned without hidden states", report.planned_device_memory);
    std::string out = heading("Time and memory") +
                      figures({phase_chart(report), layer_chart(report)}) + table(rows);
    out += memory.size() > 1 ? table(memory) : "";
    if (!report.hidden_states.empty()) {
        out += paragraph(fmt::format("Hidden states of {} calibration tokens lay in {}.",
                                     report.calibration_tokens, report.hidden_states),
                         "faint");
    }
    return out;
}

inline std::string recipe_part(run_report const& report) {
    std::string out = heading("Recipe");
    out += paragraph(
        "fpq-quantize --recipe FILE repeats the run from this, or from the JSON "
        "report.",
        "faint");
    return out + "<pre>" + xml_text(json_file_text(report.recipe)) + "</pre>\n";
}

inline std::string note_part(run_report const& report) {
    if (report.notes.empty()) {
        return {};
    }
    std::string out = heading("Notes") + "<ul>\n";
    for (std::string const& note : report.notes) {
        out += "<li>" + xml_text(note) + "</li>\n";
    }
    return out + "</ul>\n";
}

}  // namespace detail

/// The page. `products`: what computed the matrix products, for its foot.
[[nodiscard]] inline std::string report_page(run_report const& report, std::string_view products) {
    std::string const model = detail::recipe_name(report, "model");
    std::string out =
        detail::page_begin((model.empty() ? std::string("a model") : model) + ", quantized");
    out += detail::paragraph(
        report.layout.empty()
            ? std::string("Nothing was written: a trial run.")
            : fmt::format("Written as {} to {}.", report.layout, report.directory.string()),
        "faint");
    out += detail::summary_part(report);
    out += detail::quality_part(report);
    out += detail::task_part(report);
    out += detail::linear_part(report);
    out += detail::size_part(report);
    out += detail::cost_part(report);
    out += detail::note_part(report);
    out += detail::recipe_part(report);
    out += detail::paragraph(
        fmt::format(
            "fpq {}, commit {}; {}, {} threads{}; products: {}.", FPQ_VERSION_STRING, report.commit,
            report.processor, report.threads,
            report.ranks > 1 ? fmt::format(" on each of {} ranks", report.ranks) : std::string(),
            products),
        "faint");
    return out + detail::page_end();
}

}  // namespace fpq
