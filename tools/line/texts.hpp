// SPDX-License-Identifier: Apache-2.0
// Texts as windows of tokens, and models over them, on the CPU.
#pragma once

#include "fpq/pipeline/evaluation.hpp"
#include "fpq/pipeline/texts.hpp"
#include "line/models.hpp"

namespace fpq {

// texts.cpp
extern template calibration_cut load_calibration_windows<cpu>(cpu const&, calibration_args const&,
                                                              opened_model<cpu> const&,
                                                              progress_sink const&);
extern template std::int32_t first_token<cpu>(opened_model<cpu> const&);
extern template evaluation_set evaluation_windows<cpu>(opened_model<cpu> const&,
                                                       evaluation_text const&);
// chat.cpp
extern template conversation_writer writer_of_chats<cpu>(opened_model<cpu> const&);
// sample.cpp
extern template token_windows sample_windows<cpu>(cpu const&, calibration_args const&,
                                                  opened_model<cpu> const&, progress_sink const&);
// evaluate.cpp
extern template eval_result evaluate_models<cpu>(cpu const&, opened_model<cpu> const&,
                                                 opened_model<cpu> const*, evaluation_set const&,
                                                 progress_sink const&);

}  // namespace fpq
