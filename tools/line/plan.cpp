// SPDX-License-Identifier: Apache-2.0
// Recipes to plans.
#include "fpq/pipeline/plan_run.hpp"
#include "line/backend.hpp"

namespace fpq {

template run_plan plan_run<line_backend>(line_backend const&, recipe const&, architecture_list);

}  // namespace fpq
