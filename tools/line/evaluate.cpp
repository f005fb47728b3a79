// SPDX-License-Identifier: Apache-2.0
// Hidden states and evaluation.
#include "fpq/backend/cpu/forward.hpp"
#include "fpq/backend/cpu/score.hpp"
#include "line/texts.hpp"

namespace fpq {

template class hidden_stream<line_backend>;
template class running_evaluation<line_backend>;
template models_evaluation evaluate_models<line_backend>(line_backend const&,
                                                         opened_model<line_backend> const&,
                                                         opened_model<line_backend> const*,
                                                         evaluation_set const&,
                                                         progress_sink const&);

}  // namespace fpq
