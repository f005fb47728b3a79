// SPDX-License-Identifier: Apache-2.0
// Floor 8. What a run tells: the error of every linear, totals, evaluation. Data only; tools print
// it; report_json.hpp writes and reads it.
#pragma once

#include <fmt/format.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "fpq/model/evaluate.hpp"
#include "fpq/pipeline/evaluated_text.hpp"
#include "fpq/quant/error_stats.hpp"
#include "fpq/solve/options.hpp"

namespace fpq {

/// One quantized linear.
struct linear_report {
    std::string module;
    std::string kind;       // what it is in every layer, such as "self_attn.q_proj"
    std::size_t layer = 0;  // the number of layers for the head
    std::size_t rows = 0;
    std::size_t cols = 0;
    std::optional<double> sqnr_db;  // of the (transformed) weight; empty: all of it is 0
    local_loss local;
    std::optional<solve_objective> objective;  // what it was solved for; empty: no input was seen
    std::optional<double> relative_error;      // of dW over that of W under the objective
    int damping_retries = 0;
    double damping = 0.0;      // added to the diagonal of the inputs' second moment
    double row_damping = 0.0;  // added to that of the outputs' gradients, two-sided
    std::size_t dead_columns = 0;
    float global_scale = 1.0F;
    float input_global_scale = 1.0F;
    std::optional<double> weight_peak;   // max |w| / rms(w), of the (transformed) weight
    std::optional<double> input_peak;    // rms of the largest input channel / rms of all of them
    std::optional<double> smooth_alpha;  // of its input's scales; empty: none are folded
    std::optional<double> smooth_error_ratio;  // of their search, over no scales; empty: no search

    void set_loss(error_stats const& error, local_loss const& where) {
        if (error.signal > 0.0 || error.noise > 0.0) {
            sqnr_db = error.sqnr_db();
        }
        local = where;
    }
    /// `signal`: the sum of squares of all weights, of which `most` is the largest size.
    void set_weight_peak(double most, double signal) {
        if (signal > 0.0) {
            weight_peak = most * std::sqrt(static_cast<double>(rows * cols) / signal);
        }
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

/// What one decoder layer took.
struct layer_cost {
    std::size_t layer = 0;
    double seconds = 0.0;
    std::uint64_t host_memory = 0;  ///< bytes of the process at its widest moment until then
};

/// What a run was, did and found. Its JSON (report_json.hpp) holds all that is needed to repeat it.
struct run_report {
    nlohmann::json recipe;            ///< recipe_json.hpp reads it back
    std::string layout;               ///< of what was written; empty: nothing
    std::filesystem::path directory;  ///< where it lies
    std::string commit = "unknown";   ///< the program's to set
    std::string processor;            ///< as the system names it
    int threads = 0;                  ///< that the run had, on each rank
    std::size_t ranks = 1;
    std::vector<phase_time> phases;
    std::vector<layer_cost> layers;  ///< in order, without the head
    std::vector<linear_report> linears;
    std::size_t quantized_inputs = 0;  ///< linears whose inputs are quantized
    std::uint64_t quantized_values = 0;
    std::uint64_t quantized_bytes = 0;
    std::uint64_t input_bytes = 0;  ///< of the model's tensors
    std::uint64_t output_bytes = 0;
    std::size_t calibration_tokens = 0;
    std::string hidden_states;      ///< where those of the calibration lay; empty: there were none
    std::uint64_t host_memory = 0;  ///< bytes of the process at its widest moment
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

}  // namespace fpq
