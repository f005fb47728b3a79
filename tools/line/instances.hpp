// SPDX-License-Identifier: Apache-2.0
// The line's templates, compiled once each in the units beside this header: what
// includes it sees declarations, and no unit takes long.
#pragma once

#include "fpq/pipeline/layer_smoothing.hpp"
#include "fpq/pipeline/plan_run.hpp"
#include "fpq/pipeline/run.hpp"
#include "fpq/pipeline/solve_by_gradients.hpp"
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
// smooth.cpp
extern template class layer_smoothing<line_backend>;
// by_gradients.cpp
extern template std::vector<solved_layer> solve_by_gradients<line_backend>(
    line_backend const&, rank_group&, run_plan const&, opened_model<line_backend> const&,
    layer_work<line_backend>&, token_windows const&, std::size_t,
    std::function<std::vector<linear_nodes>(std::size_t)> const&, progress_sink const&, double&);
// layers.cpp
namespace detail {
extern template class layer_line<line_backend>;
}

}  // namespace fpq
