// SPDX-License-Identifier: Apache-2.0
// Scores of tasks on standard output.
#pragma once

#include <fmt/format.h>

#include <string>

#include "fpq/core/hosted/printable.hpp"
#include "fpq/pipeline/report.hpp"

namespace fpq::tools {

/// A line for each figure: task, metric, filter, value and its standard error.
inline void print_scores(task_scores const& tasks) {
    for (task_score const& s : tasks.scores) {
        fmt::print("{:<28} {:<12} {:<18} {:.6f}{}\n", fpq::detail::printable(s.task),
                   fpq::detail::printable(s.metric), fpq::detail::printable(s.filter), s.value,
                   s.error ? fmt::format(" +- {:.6f}", *s.error) : std::string());
    }
}

}  // namespace fpq::tools
