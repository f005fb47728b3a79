// SPDX-License-Identifier: Apache-2.0
// The logs of a run: an event file that grows with it, a run of Weights & Biases at its end. A log
// that cannot be written any more is a warning, never the end of a run.
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "common/command_line.hpp"
#include "fpq/io/tensorboard/event_file.hpp"
#include "fpq/pipeline/log_values.hpp"
#include "fpq/pipeline/report.hpp"
#include "logs/log_options.hpp"

namespace fpq::tools {

/// Every flag of a program with its value: what was given, else the default, or nothing where a
/// recipe gave it.
nlohmann::json flag_values(program_spec const& program, command_line const& line, bool from_recipe);

class run_logs {
public:
    /// `config`: the flags as W&B shows them; `say` takes a line for the user.
    run_logs(log_options options, nlohmann::json config,
             std::function<void(std::string const&)> say);

    /// Before the run: makes the event file, whose text is `recipe`, or the flags where there is
    /// none, and looks for wandb. Throws fpq::error (input) where there can be no event file;
    /// without wandb, a line says so.
    void open(nlohmann::json const& recipe = {});

    /// Behind each layer: logs those that are new.
    void take(run_report const& found);

    /// All that is left of the report, at the end of the run.
    void finish(run_report const& report);
    /// Of a program that has no report.
    void finish(std::vector<log_value> const& values);

private:
    void write(std::vector<log_value> const& values);
    void write_events(std::vector<log_value> const& values);
    void write_text(std::string const& tag, std::string const& markdown);
    void end_events(std::string const& why);
    void hand_over();

    log_options options_;
    std::function<void(std::string const&)> say_;
    std::optional<event_file> events_;
    std::optional<std::filesystem::path> python_;  // that has wandb
    nlohmann::json run_;                           // as log_to_wandb takes it
    std::size_t layers_ = 0;                       // logged so far
};

}  // namespace fpq::tools
