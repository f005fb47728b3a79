// SPDX-License-Identifier: Apache-2.0
// A run on the CPU as far as it can be told without running it.
#include "line/instances.hpp"

namespace fpq {

template rehearsal rehearse<cpu>(cpu const&, run_plan&, architecture_list, progress_sink const&);

}  // namespace fpq
