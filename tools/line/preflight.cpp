// SPDX-License-Identifier: Apache-2.0
// What is looked for before a run, and how long it will take.
#include "fpq/pipeline/preflight.hpp"

#include "fpq/backend/cpu/forward.hpp"
#include "fpq/backend/cpu/load.hpp"
#include "fpq/backend/cpu/quant.hpp"
#include "line/texts.hpp"

namespace fpq {

template void check_inputs<line_backend>(run_plan const&, opened_model<line_backend> const&);
template run_windows read_windows<line_backend>(line_backend const&, run_plan const&,
                                                opened_model<line_backend> const&,
                                                progress_sink const&);
template double estimate_seconds<line_backend>(line_backend const&, run_plan const&,
                                               run_work const&);

}  // namespace fpq
