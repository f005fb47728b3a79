// SPDX-License-Identifier: Apache-2.0
// The flags of tasks of lm-evaluation-harness, for every program that runs them.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/flag_kinds.hpp"
#include "fpq/pipeline/recipe.hpp"

namespace fpq::tools {

namespace detail {

/// The names in "a,b". Throws fpq::error (usage) for an empty one.
inline void add_task_names(std::string_view text, std::vector<std::string>& names) {
    for (;;) {
        std::size_t const end = text.find(',');
        std::string_view const name = text.substr(0, end);
        if (name.empty() || name.starts_with('-')) {
            fail_usage("--lm_eval_tasks", {}, "names of tasks", fpq::detail::shown(name));
        }
        names.emplace_back(name);
        if (end == std::string_view::npos) {
            return;
        }
        text.remove_prefix(end + 1);
    }
}

}  // namespace detail

inline std::vector<flag_spec> task_flags(task_args& tasks) {
    return {
        {"lm_eval_tasks",
         "NAME",
         "tasks of lm-evaluation-harness on the checkpoint; several, or one,two",
         {},
         [&tasks, first = std::make_shared<bool>(true)](std::string const& text) {
             if (std::exchange(*first, false)) {
                 tasks.names.clear();
             }
             detail::add_task_names(text, tasks.names);
         },
         true},
        {"lm_eval_batch_size", "N", "sequences side by side, or auto: as fpq-serve does", "auto",
         [&tasks](std::string const& text) {
             tasks.batch = text == "auto" ? 0
                                          : static_cast<std::size_t>(read_count(
                                                "--lm_eval_batch_size", bounds::task_batch, text));
         }},
        path_flag("lm_eval_include_path", tasks.include, "DIR", "more tasks, as files there"),
        switch_flag("disable_thinking", tasks.thinking, false,
                    "chat templates get enable_thinking = false")};
}

}  // namespace fpq::tools
