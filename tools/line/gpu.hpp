// SPDX-License-Identifier: Apache-2.0
// What programs call of the line on a CUDA device, compiled in the library fpq_line_gpu. Nothing
// where a build has no CUDA.
#pragma once

#if defined(FPQ_HAVE_GPU)

#include "fpq/backend/cuda/gpu.hpp"
#include "fpq/backend/cuda/step_tables.hpp"
#include "fpq/model/engine.hpp"
#include "fpq/pipeline/evaluation.hpp"
#include "fpq/pipeline/line.hpp"
#include "fpq/pipeline/texts.hpp"

namespace fpq {

extern template class decoder<gpu>;
extern template class opened_model<gpu>;
extern template resident_model<gpu> load_resident<gpu>(gpu const&, opened_model<gpu> const&);
extern template class engine<gpu>;
extern template evaluation_set evaluation_windows<gpu>(opened_model<gpu> const&,
                                                       evaluation_text const&);
extern template models_evaluation evaluate_models<gpu>(gpu const&, opened_model<gpu> const&,
                                                       opened_model<gpu> const*,
                                                       evaluation_set const&, progress_sink const&);

}  // namespace fpq

#endif
