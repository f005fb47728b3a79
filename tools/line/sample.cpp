// SPDX-License-Identifier: Apache-2.0
// Calibration windows sampled from a model.
#include "fpq/pipeline/sample.hpp"

#include "fpq/backend/cpu/forward.hpp"
#include "fpq/backend/cpu/load.hpp"
#include "fpq/backend/cpu/sample.hpp"
#include "line/texts.hpp"

namespace fpq {

template token_windows sample_windows<line_backend>(line_backend const&, calibration_args const&,
                                                    opened_model<line_backend> const&,
                                                    progress_sink const&);

}  // namespace fpq
