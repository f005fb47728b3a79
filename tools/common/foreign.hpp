// SPDX-License-Identifier: Apache-2.0
// Flags that people bring from other quantizers and evaluators, and ours that does the same.
#pragma once

#include <vector>

#include "common/command_line.hpp"

namespace fpq::tools {

std::vector<foreign_flag> quantize_foreign();
std::vector<foreign_flag> evaluate_foreign();
std::vector<foreign_flag> inspect_foreign();

}  // namespace fpq::tools
