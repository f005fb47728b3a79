// SPDX-License-Identifier: Apache-2.0
// What is known of a CUDA device before an engine is timed on it.
#pragma once

#include "speed/table.hpp"

namespace fpq::tools {

/// A table without rows: name, compute capability, driver and copy rate of the first device.
/// Throws fpq::error (device) when there is none.
speed_table table_of_card();

}  // namespace fpq::tools
