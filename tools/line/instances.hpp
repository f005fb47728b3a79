// SPDX-License-Identifier: Apache-2.0
// The line's templates on the CPU, compiled once each in the units beside this header: what
// includes it sees declarations, and no unit takes long.
#pragma once

#include "fpq/backend/cpu/cpu.hpp"
#include "fpq/method/methods.hpp"
#include "fpq/model/forward.hpp"
#include "fpq/model/opened_model.hpp"
#include "fpq/pipeline/calibration.hpp"
#include "fpq/pipeline/evaluation.hpp"
#include "fpq/pipeline/run.hpp"

namespace fpq {

// forward.cpp
extern template class decoder<cpu>;
// open.cpp
extern template class opened_model<cpu>;
// solve.cpp
extern template void apply<cpu>(cpu const&, std::vector<method> const&, linear_group<cpu>&);
// work.cpp
extern template class layer_work<cpu>;
// rows.cpp
extern template class row_stream<cpu>;
// sink.cpp
extern template class quantized_sink<cpu>;
// calibrate.cpp
extern template calibration_cut load_calibration_windows<cpu>(cpu const&, calibration_args const&,
                                                              opened_model<cpu> const&,
                                                              progress_sink const&);
extern template token_windows sample_windows<cpu>(cpu const&, calibration_args const&,
                                                  opened_model<cpu> const&, progress_sink const&);
// evaluate.cpp
extern template class hidden_stream<cpu>;
extern template class running_evaluation<cpu>;
extern template evaluation_set evaluation_windows<cpu>(opened_model<cpu> const&,
                                                       evaluation_text const&);
extern template eval_result evaluate_models<cpu>(cpu const&, opened_model<cpu> const&,
                                                 opened_model<cpu> const*, evaluation_set const&,
                                                 progress_sink const&);
// preflight.cpp
extern template void check_inputs<cpu>(run_plan const&, opened_model<cpu> const&);
extern template run_windows read_windows<cpu>(cpu const&, run_plan const&, opened_model<cpu> const&,
                                              progress_sink const&);
extern template double estimate_seconds<cpu>(cpu const&, run_plan const&, run_work const&);
// plan.cpp
extern template run_plan plan_run<cpu>(cpu const&, recipe const&, architecture_list);
extern template rehearsal rehearse<cpu>(cpu const&, run_plan&, architecture_list,
                                        progress_sink const&);
// run.cpp
extern template run_report run<cpu>(cpu const&, run_plan const&, architecture_list,
                                    progress_sink const&);

}  // namespace fpq
