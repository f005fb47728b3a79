// SPDX-License-Identifier: Apache-2.0
// Floor 8. What a run tells: the error of every linear, totals, evaluation; and the progress events
// it raises on the way. Data only; tools print it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "fpq/model/evaluate.hpp"
#include "fpq/pipeline/recipe.hpp"

namespace fpq {

/// One quantized linear.
struct linear_report {
    std::string module;
    std::size_t rows = 0;
    std::size_t cols = 0;
    double sqnr_db = 0.0;                  // of the (transformed) weight
    std::optional<double> relative_error;  // tr(dW H dW^T) / tr(W H W^T)
    int damping_retries = 0;
    double damping = 0.0;
    std::size_t dead_columns = 0;
    float global_scale = 1.0F;
    float input_global_scale = 1.0F;
};

struct run_report {
    recipe choices;
    std::vector<linear_report> linears;
    std::uint64_t quantized_values = 0;
    std::uint64_t quantized_bytes = 0;
    std::uint64_t output_bytes = 0;
    std::size_t calibration_tokens = 0;
    double seconds = 0.0;
    std::optional<eval_result> evaluation;
    std::vector<std::string> notes;

    /// Of the quantized linears, scales and global scales included.
    [[nodiscard]] double bits_per_weight() const {
        return quantized_values == 0 ? 0.0
                                     : 8.0 * static_cast<double>(quantized_bytes) /
                                           static_cast<double>(quantized_values);
    }
};

/// Raised by a run; `done` of `total` steps of the same size, in the phase named.
struct progress_event {
    std::string phase;
    std::size_t done = 0;
    std::size_t total = 0;
    std::string detail;
};

using progress_sink = std::function<void(progress_event const&)>;

inline nlohmann::json to_json(eval_result const& e) {
    nlohmann::json json{{"perplexity", e.perplexity}, {"targets", e.targets}};
    if (e.has_reference) {
        json["kl_mean"] = e.kl_mean;
        json["kl_se"] = e.kl_se;
        json["kl_p99"] = e.kl_p99;
        json["top1_agreement"] = e.top1_agreement;
        json["top1_se"] = e.top1_se;
        json["reference_perplexity"] = e.reference_perplexity;
    }
    return json;
}

inline nlohmann::json to_json(run_report const& report) {
    nlohmann::json linears = nlohmann::json::array();
    for (linear_report const& l : report.linears) {
        nlohmann::json row{{"module", l.module},
                           {"rows", l.rows},
                           {"cols", l.cols},
                           {"sqnr_db", l.sqnr_db},
                           {"damping_retries", l.damping_retries},
                           {"damping", l.damping},
                           {"dead_columns", l.dead_columns},
                           {"weight_global_scale", l.global_scale},
                           {"input_global_scale", l.input_global_scale}};
        if (l.relative_error) {
            row["relative_error"] = *l.relative_error;
        }
        linears.push_back(std::move(row));
    }
    nlohmann::json json{{"recipe", to_json(report.choices)},
                        {"linears", std::move(linears)},
                        {"bits_per_weight", report.bits_per_weight()},
                        {"quantized_values", report.quantized_values},
                        {"quantized_bytes", report.quantized_bytes},
                        {"output_bytes", report.output_bytes},
                        {"calibration_tokens", report.calibration_tokens},
                        {"seconds", report.seconds},
                        {"notes", report.notes}};
    if (report.evaluation) {
        json["evaluation"] = to_json(*report.evaluation);
    }
    return json;
}

}  // namespace fpq
