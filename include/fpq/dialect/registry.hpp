// SPDX-License-Identifier: Apache-2.0
// Floor 6. The layouts that fpq reads and writes, and what is common to every export.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fpq/dialect/compressed_tensors.hpp"
#include "fpq/dialect/dialect.hpp"
#include "fpq/dialect/fp_quant.hpp"
#include "fpq/dialect/modelopt.hpp"

namespace fpq {

/// Directories of safetensors files, in the order in which `auto` tries them.
inline constexpr std::array<dialect const*, 3> dialects{&compressed_tensors, &fp_quant, &modelopt};

/// Why `d` cannot hold the plan; empty when it can.
inline std::optional<refusal> refuses(dialect const& d, export_plan const& plan) {
    for (export_linear const& linear : plan.linears) {
        if (std::optional<refusal> why = d.refuses(plan, linear)) {
            return why;
        }
    }
    return d.file == nullptr ? std::nullopt : d.file->refuses(plan);
}

}  // namespace fpq
