// SPDX-License-Identifier: Apache-2.0
// Calibration windows, also sampled, on the CPU.
#include "fpq/backend/cpu/forward.hpp"
#include "fpq/backend/cpu/sample.hpp"
#include "line/texts.hpp"

namespace fpq {

template calibration_cut load_calibration_windows<cpu>(cpu const&, calibration_args const&,
                                                       opened_model<cpu> const&,
                                                       progress_sink const&);
template token_windows sample_windows<cpu>(cpu const&, calibration_args const&,
                                           opened_model<cpu> const&, progress_sink const&);

}  // namespace fpq
