// SPDX-License-Identifier: Apache-2.0
// Recipes to plans, and their rehearsal on the CPU.
#include "line/instances.hpp"

namespace fpq {

template run_plan plan_run<cpu>(cpu const&, recipe const&, architecture_list);
template rehearsal rehearse<cpu>(cpu const&, run_plan&, architecture_list, progress_sink const&);

}  // namespace fpq
