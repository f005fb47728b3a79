// SPDX-License-Identifier: Apache-2.0
// Layers that are solved within a backward pass.
#include "line/backward.hpp"

#if !defined(FPQ_LINE_GPU)
#include "fpq/backend/cpu/forward.hpp"
#include "fpq/backend/cpu/load.hpp"
#include "fpq/backend/cpu/quant.hpp"
#include "fpq/backend/cpu/score.hpp"
#include "fpq/backend/cpu/solve.hpp"
#endif
#include "fpq/pipeline/solve_by_gradients.hpp"
#include "line/work.hpp"

namespace fpq {

template std::vector<solved_layer> solve_by_gradients<line_backend>(
    line_backend const&, rank_group&, run_plan const&, opened_model<line_backend> const&,
    layer_work<line_backend>&, token_windows const&, std::size_t,
    std::function<std::vector<linear_nodes>(std::size_t)> const&, progress_sink const&, double&);

}  // namespace fpq
