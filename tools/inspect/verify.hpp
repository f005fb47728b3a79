// SPDX-License-Identifier: Apache-2.0
// The findings of --verify on standard output.
#pragma once

#include "fpq/io/safetensors/checkpoint.hpp"

namespace fpq::tools {

/// True when something is at fault.
bool verify(checkpoint& source);

}  // namespace fpq::tools
