// SPDX-License-Identifier: Apache-2.0
// Calibration windows sampled from a model on the CPU.
#include "fpq/pipeline/sample.hpp"

#include "fpq/backend/cpu/forward.hpp"
#include "fpq/backend/cpu/sample.hpp"
#include "line/texts.hpp"

namespace fpq {

template token_windows sample_windows<cpu>(cpu const&, calibration_args const&,
                                           opened_model<cpu> const&, progress_sink const&);

}  // namespace fpq
