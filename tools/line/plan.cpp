// SPDX-License-Identifier: Apache-2.0
// Recipes to plans.
#include "line/instances.hpp"

namespace fpq {

template run_plan plan_run<cpu>(cpu const&, recipe const&, architecture_list);

}  // namespace fpq
