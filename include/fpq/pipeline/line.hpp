// SPDX-License-Identifier: Apache-2.0
// Floor 8. The calls of fpq-quantize, only declared: who calls them need not compile what they do.
// Defined in plan_run.hpp, preflight.hpp and run.hpp.
#pragma once

#include "fpq/core/hosted/ranks.hpp"
#include "fpq/graph/architecture.hpp"
#include "fpq/pipeline/plan.hpp"
#include "fpq/pipeline/progress.hpp"
#include "fpq/pipeline/recipe.hpp"
#include "fpq/pipeline/report.hpp"

namespace fpq {

template <class B>
run_plan plan_run(B const& b, recipe const& r, architecture_list known);

template <class B>
rehearsal rehearse(B const& b, run_plan& plan, architecture_list known,
                   progress_sink const& progress);

template <class B>
run_report run(B const& b, run_plan const& plan, architecture_list known,
               progress_sink const& progress);

template <class B>
run_report run(B const& b, run_plan const& plan, architecture_list known,
               progress_sink const& progress, rank_group& ranks);

}  // namespace fpq
