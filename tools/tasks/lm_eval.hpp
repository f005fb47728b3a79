// SPDX-License-Identifier: Apache-2.0
// Tasks of lm-evaluation-harness over a checkpoint: fpq-serve serves it on loopback, the harness
// asks it.
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "fpq/pipeline/recipe.hpp"
#include "fpq/pipeline/report.hpp"

namespace fpq::tools {

/// Where a checkpoint is served for the harness.
struct serve_place {
    std::filesystem::path checkpoint;
    std::string device = "auto";  ///< of several cards the first
    int threads = 0;              ///< 0: all processors
};

/// Takes a line for the user.
using line_sink = std::function<void(std::string const&)>;

/// Everything that can be known before a run: the harness and fpq-serve are there, the tasks have
/// names that it knows, `model`, whose tokenizer a checkpoint will have, has the chat template that
/// they want. Throws fpq::error (usage). What has no effect is said.
void check_tasks(task_args const& tasks, std::filesystem::path const& model, line_sink const& say);

/// Runs the tasks; every command is said before it runs. Throws fpq::error (input) when one fails.
task_scores run_tasks(task_args const& tasks, serve_place const& place, line_sink const& say);

/// One run of the harness: the tasks that share their settings.
struct task_group {
    std::vector<std::string> tasks;
    int shots = -1;     ///< examples before a question; -1: as the task says
    bool chat = false;  ///< questions are turns of a conversation

    [[nodiscard]] bool operator==(task_group const&) const noexcept = default;
};

/// The tasks in groups, in the order of their first tasks. The settings are those of FP-Quant's
/// harness: winogrande with 5 examples, hellaswag with 10, the llama variants as conversations.
std::vector<task_group> grouped_tasks(std::vector<std::string> const& names);

}  // namespace fpq::tools
