// SPDX-License-Identifier: Apache-2.0
// The flags of fpq-evaluate.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include "common/command_line.hpp"
#include "fpq/pipeline/recipe.hpp"
#include "logs/log_options.hpp"

namespace fpq::tools {

struct evaluate_options {
    std::filesystem::path model;
    std::filesystem::path reference;
    std::vector<std::filesystem::path> texts;
    std::filesystem::path json;
    log_options logs;
    std::size_t sequence_length = 2048;
    std::size_t max_characters = 0;
    std::size_t max_windows = 0;
    bool add_special = true;
    std::string text_column;
    int threads = 0;
    std::string device = "auto";
    std::string products = "auto";
    bool verbose = false;
    task_args tasks;
    bool openllm = false;  ///< --eval_openllm was given
};

/// The flags as a table over `options`, which holds the defaults and gets the values.
program_spec evaluate_program(evaluate_options& options);

}  // namespace fpq::tools
