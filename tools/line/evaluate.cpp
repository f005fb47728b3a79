// SPDX-License-Identifier: Apache-2.0
// Hidden states and evaluation on the CPU.
#include "fpq/backend/cpu/forward.hpp"
#include "fpq/backend/cpu/score.hpp"
#include "line/texts.hpp"

namespace fpq {

template class hidden_stream<cpu>;
template class running_evaluation<cpu>;
template eval_result evaluate_models<cpu>(cpu const&, opened_model<cpu> const&,
                                          opened_model<cpu> const*, evaluation_set const&,
                                          progress_sink const&);

}  // namespace fpq
