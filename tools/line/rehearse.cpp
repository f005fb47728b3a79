// SPDX-License-Identifier: Apache-2.0
// A run as far as it can be told without running it.
#include "line/instances.hpp"

namespace fpq {

template rehearsal rehearse<line_backend>(line_backend const&, run_plan&, architecture_list,
                                          progress_sink const&);

}  // namespace fpq
