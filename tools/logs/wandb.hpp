// SPDX-License-Identifier: Apache-2.0
// Weights & Biases, through its Python package: a run is handed over when it has ended, and lies
// offline for `wandb sync`.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

namespace fpq::tools {

/// The python3 that has the package; nothing, and why in `missing`, where there is none.
std::optional<std::filesystem::path> find_wandb(std::string& missing);

/// {"config": {...}, "history": [{"step": N, "values": {...}}], "summary": {...}} as a run. Returns
/// the run's directory. Throws fpq::error (input) when the package fails; what it said is on
/// standard error.
std::string log_to_wandb(std::filesystem::path const& python, nlohmann::json const& run);

}  // namespace fpq::tools
