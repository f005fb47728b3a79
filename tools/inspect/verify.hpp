// SPDX-License-Identifier: Apache-2.0
// What --verify finds.
#pragma once

#include <string>
#include <vector>

#include "fpq/io/safetensors/checkpoint.hpp"

namespace fpq::tools {

struct verification {
    std::vector<std::string> findings;  ///< warnings begin with "warning: "
    bool faulty = false;                ///< one of them is no warning
};

verification verify(checkpoint& source);

}  // namespace fpq::tools
