// SPDX-License-Identifier: Apache-2.0
// Floor 8. A report as series of numbers, as TensorBoard and Weights & Biases want them: a tag with
// slashes, a step, a value.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "fpq/model/evaluate.hpp"
#include "fpq/pipeline/report.hpp"

namespace fpq {

struct log_value {
    std::string tag;
    std::size_t step = 0;  ///< the layer; 0 of what a run has once
    double value = 0.0;
};

namespace detail {

/// What is not finite has no place in a log.
inline void add_value(std::vector<log_value>& out, std::string tag, std::size_t step,
                      double value) {
    if (std::isfinite(value)) {
        out.push_back({std::move(tag), step, value});
    }
}

inline double mebibytes(std::uint64_t bytes) {
    return static_cast<double>(bytes) / static_cast<double>(std::uint64_t{1} << 20);
}

inline void add_evaluation(std::vector<log_value>& out, eval_result const& e,
                           std::string const& under) {
    if (e.targets == 0) {
        return;
    }
    add_value(out, under + "perplexity", 0, e.perplexity);
    add_value(out, under + "nll_se", 0, e.nll_se);
    if (!e.has_reference) {
        return;
    }
    add_value(out, under + "reference_perplexity", 0, e.reference_perplexity);
    add_value(out, under + "kl_mean", 0, e.kl_mean);
    add_value(out, under + "kl_se", 0, e.kl_se);
    add_value(out, under + "kl_p99", 0, e.kl_p99);
    add_value(out, under + "top1_agreement", 0, e.top1_agreement);
    add_value(out, under + "top1_se", 0, e.top1_se);
}

}  // namespace detail

/// Errors, seconds and memory of one layer, or of the head, which has the number of layers.
[[nodiscard]] inline std::vector<log_value> layer_values(run_report const& report,
                                                         std::size_t layer) {
    std::vector<log_value> out;
    for (linear_report const& l : report.linears) {
        if (l.layer != layer) {
            continue;
        }
        if (l.relative_error) {
            detail::add_value(out, "relative_error/" + l.kind, layer, *l.relative_error);
        }
        if (l.sqnr_db) {
            detail::add_value(out, "sqnr_db/" + l.kind, layer, *l.sqnr_db);
        }
        if (l.weight_peak) {
            detail::add_value(out, "weight_peak_to_rms/" + l.kind, layer, *l.weight_peak);
        }
        if (l.input_peak) {
            detail::add_value(out, "input_peak_to_rms/" + l.kind, layer, *l.input_peak);
        }
    }
    for (layer_cost const& l : report.layers) {
        if (l.layer == layer) {
            detail::add_value(out, "layer/seconds", layer, l.seconds);
            detail::add_value(out, "layer/host_memory_mib", layer,
                              detail::mebibytes(l.host_memory));
        }
    }
    return out;
}

/// Perplexity, KL and agreement, of several texts also of each, numbered in their order.
[[nodiscard]] inline std::vector<log_value> evaluation_values(eval_result const& e) {
    std::vector<log_value> out;
    detail::add_evaluation(out, e, "evaluation/");
    for (std::size_t i = 0; i < e.texts.size(); ++i) {
        detail::add_evaluation(out, e.texts[i], "evaluation/text_" + std::to_string(i + 1) + "/");
    }
    return out;
}

/// A figure under tasks/TASK/METRIC, with the filter behind a comma where there is one.
[[nodiscard]] inline std::vector<log_value> task_values(task_scores const& tasks) {
    std::vector<log_value> out;
    for (task_score const& s : tasks.scores) {
        bool const filtered = !s.filter.empty() && s.filter != "none";
        std::string const tag =
            "tasks/" + s.task + "/" + s.metric + (filtered ? "," + s.filter : "");
        detail::add_value(out, tag, 0, s.value);
        if (s.error) {
            detail::add_value(out, tag + "_stderr", 0, *s.error);
        }
    }
    return out;
}

/// What is known at the end of a run.
[[nodiscard]] inline std::vector<log_value> final_values(run_report const& report) {
    std::vector<log_value> out;
    for (phase_time const& p : report.phases) {
        detail::add_value(out, "phase_seconds/" + p.phase, 0, p.seconds);
    }
    detail::add_value(out, "run/seconds", 0, report.seconds);
    detail::add_value(out, "run/host_memory_mib", 0, detail::mebibytes(report.host_memory));
    if (report.device_memory != 0) {
        detail::add_value(out, "run/device_memory_mib", 0, detail::mebibytes(report.device_memory));
    }
    detail::add_value(out, "size/bits_per_weight", 0, report.bits_per_weight());
    detail::add_value(out, "size/input_mib", 0, detail::mebibytes(report.input_bytes));
    if (!report.layout.empty()) {
        detail::add_value(out, "size/output_mib", 0, detail::mebibytes(report.output_bytes));
    }
    if (report.evaluation) {
        std::vector<log_value> const more = evaluation_values(*report.evaluation);
        out.insert(out.end(), more.begin(), more.end());
    }
    if (report.tasks) {
        std::vector<log_value> const more = task_values(*report.tasks);
        out.insert(out.end(), more.begin(), more.end());
    }
    return out;
}

}  // namespace fpq
