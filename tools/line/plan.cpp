// SPDX-License-Identifier: Apache-2.0
// Recipes to plans on the CPU.
#include "fpq/backend/cpu/cpu.hpp"
#include "fpq/pipeline/plan_run.hpp"

namespace fpq {

template run_plan plan_run<cpu>(cpu const&, recipe const&, architecture_list);

}  // namespace fpq
