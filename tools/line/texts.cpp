// SPDX-License-Identifier: Apache-2.0
// The texts of a run, read and cut.
#include "fpq/pipeline/read_texts.hpp"

#include "line/texts.hpp"

namespace fpq {

template calibration_cut load_calibration_windows<line_backend>(line_backend const&,
                                                                calibration_args const&,
                                                                opened_model<line_backend> const&,
                                                                progress_sink const&);
template std::int32_t first_token<line_backend>(opened_model<line_backend> const&);
template evaluation_set evaluation_windows<line_backend>(opened_model<line_backend> const&,
                                                         evaluation_text const&);

}  // namespace fpq
