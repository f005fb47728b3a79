// SPDX-License-Identifier: Apache-2.0
// The texts of a run, read and cut.
#include "line/texts.hpp"

#include "fpq/pipeline/read_texts.hpp"

namespace fpq {

template calibration_cut load_calibration_windows<cpu>(cpu const&, calibration_args const&,
                                                       opened_model<cpu> const&,
                                                       progress_sink const&);
template std::int32_t first_token<cpu>(opened_model<cpu> const&);
template evaluation_set evaluation_windows<cpu>(opened_model<cpu> const&, evaluation_text const&);

}  // namespace fpq
