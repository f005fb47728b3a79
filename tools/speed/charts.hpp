// SPDX-License-Identifier: Apache-2.0
// Charts of a table of speeds: SVG files of their own, for light and dark.
#pragma once

#include <string>

#include "speed/table.hpp"

namespace fpq::tools {

/// How many times as fast as bf16 a step is, by batch: a panel a shape, a line a format and
/// context.
std::string decode_chart(speed_table const& table);

/// Tokens a second of a prompt, by its length: a panel a shape, a line a format.
std::string prefill_chart(speed_table const& table);

}  // namespace fpq::tools
