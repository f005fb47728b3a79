// SPDX-License-Identifier: Apache-2.0
// Test support. Opened models on the CPU.
#pragma once

#include "line/texts.hpp"
#include "pipeline/line.hpp"

namespace fpq_test {

using model_on_cpu = fpq::opened_model<fpq::cpu>;

}  // namespace fpq_test
