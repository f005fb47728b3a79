// SPDX-License-Identifier: Apache-2.0
// The line's templates, compiled once each in the units beside this header: what
// includes it sees declarations, and no unit takes long.
#pragma once

#include "fpq/pipeline/plan_run.hpp"
#include "fpq/pipeline/run.hpp"
#include "line/calls.hpp"
#include "line/texts.hpp"
#include "line/work.hpp"

namespace fpq {

// preflight.cpp
extern template void check_inputs<line_backend>(run_plan const&, opened_model<line_backend> const&);
extern template run_windows read_windows<line_backend>(line_backend const&, run_plan const&,
                                                       opened_model<line_backend> const&,
                                                       progress_sink const&);
extern template double estimate_seconds<line_backend>(line_backend const&, run_plan const&,
                                                      run_work const&);
// layers.cpp
namespace detail {
extern template class layer_line<line_backend>;
}

}  // namespace fpq
