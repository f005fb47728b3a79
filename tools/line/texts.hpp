// SPDX-License-Identifier: Apache-2.0
// Texts as windows of tokens, and models over them, on the CPU.
#pragma once

#include "fpq/pipeline/calibration.hpp"
#include "fpq/pipeline/evaluation.hpp"
#include "line/models.hpp"

namespace fpq {

// calibrate.cpp
extern template calibration_cut load_calibration_windows<cpu>(cpu const&, calibration_args const&,
                                                              opened_model<cpu> const&,
                                                              progress_sink const&);
extern template token_windows sample_windows<cpu>(cpu const&, calibration_args const&,
                                                  opened_model<cpu> const&, progress_sink const&);
// evaluate.cpp
extern template evaluation_set evaluation_windows<cpu>(opened_model<cpu> const&,
                                                       evaluation_text const&);
extern template eval_result evaluate_models<cpu>(cpu const&, opened_model<cpu> const&,
                                                 opened_model<cpu> const*, evaluation_set const&,
                                                 progress_sink const&);

}  // namespace fpq
