// SPDX-License-Identifier: Apache-2.0
// The calls of the line, for who only calls them.
#pragma once

#include "fpq/pipeline/line.hpp"
#include "line/backend.hpp"

namespace fpq {

// plan.cpp
extern template run_plan plan_run<line_backend>(line_backend const&, recipe const&,
                                                architecture_list);
// rehearse.cpp
extern template rehearsal rehearse<line_backend>(line_backend const&, run_plan&, architecture_list,
                                                 progress_sink const&);
// run.cpp
extern template run_report run<line_backend>(line_backend const&, run_plan const&,
                                             architecture_list, progress_sink const&);
extern template run_report run<line_backend>(line_backend const&, run_plan const&,
                                             architecture_list, progress_sink const&, rank_group&);

}  // namespace fpq
