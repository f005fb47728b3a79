// SPDX-License-Identifier: Apache-2.0
// Where a run is logged, and the flags for it.
#pragma once

#include <filesystem>
#include <vector>

#include "common/flag_kinds.hpp"

namespace fpq::tools {

struct log_options {
    std::filesystem::path directory;  ///< of event files; empty: none
    bool wandb = false;
};

inline std::vector<flag_spec> log_flags(log_options& o) {
    return {path_flag("log_dir", o.directory, "DIR", "an event file for TensorBoard, in DIR"),
            switch_flag("log_wandb", o.wandb, true,
                        "an offline run of Weights & Biases, which wandb sync takes; project, name "
                        "and entity as WANDB_PROJECT, WANDB_NAME and WANDB_ENTITY say")};
}

}  // namespace fpq::tools
