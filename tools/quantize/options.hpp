// SPDX-License-Identifier: Apache-2.0
// The flags of fpq-quantize: every one with its field, its help and its check, declared once. Those
// of the Python harness (FP-Quant's model_quant.py) keep their names and defaults.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "common/command_line.hpp"
#include "fpq/backend/memory_budget.hpp"
#include "fpq/pipeline/effects.hpp"
#include "fpq/pipeline/flags.hpp"
#include "logs/log_options.hpp"

namespace fpq::tools {

/// What the command line sets beside the recipe.
struct run_options {
    std::filesystem::path report;
    std::filesystem::path save_recipe;
    log_options logs;
    std::string device = "auto";
    std::string products = "auto";
    memory_budget memory;
    bool dry_run = false;
    bool restart = false;
    bool verbose = false;
};

/// The flags as a table over `flags` and `run`, which hold the defaults and get the values.
program_spec quantize_program(harness_flags& flags, run_options& run);

/// What was asked for beside values.
struct given_options {
    given_flags given;               ///< by the command line, or by a recipe file against a default
    std::vector<std::string> notes;  ///< what was not taken as it was given
};

/// Gives a command line of `program` to its flags. `from_recipe`: they hold those of a recipe file,
/// which may say the model and the bits. Throws fpq::error (usage) by flag.
given_options take_quantize_flags(program_spec const& program, command_line const& line,
                                  harness_flags& flags, bool from_recipe);

/// One line for each reason why something that was given has nothing to do in this run, whose
/// modules have `schemes`.
std::vector<std::string> idle_flags(given_options const& options, recipe const& r,
                                    std::vector<scheme> const& schemes, run_options const& run);

}  // namespace fpq::tools
