// SPDX-License-Identifier: Apache-2.0
// The work of fpq-evaluate, and its JSON.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "common/device.hpp"
#include "evaluate/options.hpp"
#include "fpq/model/evaluate.hpp"
#include "fpq/pipeline/log_values.hpp"
#include "fpq/pipeline/report.hpp"

namespace fpq::tools {

struct measurement {
    eval_result result;
    std::vector<text_windows_count> texts;  ///< that gave any window, in order
    std::size_t windows = 0;
    double bits_per_weight = 0.0;
    double stored_bits_per_weight = 0.0;  ///< another where the file holds decoded values
    double open_seconds = 0.0;            ///< for checkpoints and texts, before the first layer
    double load_seconds = 0.0;            ///< that computing waited for layers
    double compute_seconds = 0.0;         ///< the rest of the evaluation
};

/// Opens the checkpoints and reads the texts of `options`, then evaluates on the device, with
/// `threads` threads of the host.
measurement measure(evaluate_options const& options, chosen_device const& device, int threads);

/// Refuses a JSON file that cannot be written (input), or that would take the place of a text or a
/// file of a checkpoint that is read (usage).
void check_json_file(evaluate_options const& options);

/// Refuses a directory of logs that is a checkpoint's (usage).
void check_log_directory(evaluate_options const& options);

/// Of the two, what there is.
[[nodiscard]] std::vector<log_value> values_of(std::optional<measurement> const& m,
                                               std::optional<task_scores> const& tasks);
/// The same as JSON.
void save_results(std::optional<measurement> const& m, std::optional<task_scores> const& tasks,
                  evaluate_options const& options, std::string const& products);

}  // namespace fpq::tools
