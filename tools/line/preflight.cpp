// SPDX-License-Identifier: Apache-2.0
// What is looked for before a run on the CPU, and how long it will take.
#include "fpq/pipeline/preflight.hpp"

#include "fpq/backend/cpu/forward.hpp"
#include "fpq/backend/cpu/quant.hpp"
#include "line/texts.hpp"

namespace fpq {

template void check_inputs<cpu>(run_plan const&, opened_model<cpu> const&);
template run_windows read_windows<cpu>(cpu const&, run_plan const&, opened_model<cpu> const&,
                                       progress_sink const&);
template double estimate_seconds<cpu>(cpu const&, run_plan const&, run_work const&);

}  // namespace fpq
