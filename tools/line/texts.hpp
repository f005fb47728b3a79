// SPDX-License-Identifier: Apache-2.0
// Texts as windows of tokens, and models over them,.
#pragma once

#include "fpq/pipeline/evaluation.hpp"
#include "fpq/pipeline/texts.hpp"
#include "line/models.hpp"

namespace fpq {

// texts.cpp
extern template calibration_cut load_calibration_windows<line_backend>(
    line_backend const&, calibration_args const&, opened_model<line_backend> const&,
    progress_sink const&);
extern template std::int32_t first_token<line_backend>(opened_model<line_backend> const&);
extern template evaluation_set evaluation_windows<line_backend>(opened_model<line_backend> const&,
                                                                evaluation_text const&);
// chat.cpp
extern template conversation_writer writer_of_chats<line_backend>(
    opened_model<line_backend> const&);
// sample.cpp
extern template token_windows sample_windows<line_backend>(line_backend const&,
                                                           calibration_args const&,
                                                           opened_model<line_backend> const&,
                                                           progress_sink const&);
// evaluate.cpp
extern template models_evaluation evaluate_models<line_backend>(line_backend const&,
                                                                opened_model<line_backend> const&,
                                                                opened_model<line_backend> const*,
                                                                evaluation_set const&,
                                                                progress_sink const&);

}  // namespace fpq
