// SPDX-License-Identifier: Apache-2.0
// The JSON files of fpq-quantize.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "fpq/pipeline/flags.hpp"

namespace fpq {
struct run_report;
}

namespace fpq::tools {

/// The flags of a recipe or a report. Throws fpq::error: input for what is no JSON, usage for what
/// is no recipe.
harness_flags read_recipe(std::filesystem::path const& file);

/// Refuses a file to be written that is a text or one of the model's or of the checkpoint to be
/// written (usage, by flag). Empty: none.
void check_written_file(std::string_view flag, std::filesystem::path const& file, recipe const& r);

/// Refuses a directory of logs in the model's or in that of the checkpoint to be written, which
/// takes the place of what was there (usage). Empty: none.
void check_log_directory(std::filesystem::path const& directory, recipe const& r);

/// Empty: nowhere.
void save_recipe(recipe const& r, std::filesystem::path const& file);
/// As a page where the name ends in .html or .htm, else as JSON.
void save_report(run_report const& report, std::string const& products,
                 std::filesystem::path const& file);

}  // namespace fpq::tools
