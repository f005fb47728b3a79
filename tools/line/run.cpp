// SPDX-License-Identifier: Apache-2.0
// The run.
#include "line/instances.hpp"

namespace fpq {

template run_report run<line_backend>(line_backend const&, run_plan const&, architecture_list,
                                      progress_sink const&);
template run_report run<line_backend>(line_backend const&, run_plan const&, architecture_list,
                                      progress_sink const&, rank_group&);

}  // namespace fpq
