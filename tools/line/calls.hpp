// SPDX-License-Identifier: Apache-2.0
// The calls of the line on the CPU, for who only calls them.
#pragma once

#include "fpq/backend/cpu/cpu.hpp"
#include "fpq/pipeline/line.hpp"

namespace fpq {

// plan.cpp
extern template run_plan plan_run<cpu>(cpu const&, recipe const&, architecture_list);
// rehearse.cpp
extern template rehearsal rehearse<cpu>(cpu const&, run_plan&, architecture_list,
                                        progress_sink const&);
// run.cpp
extern template run_report run<cpu>(cpu const&, run_plan const&, architecture_list,
                                    progress_sink const&);

}  // namespace fpq
