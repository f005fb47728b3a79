// SPDX-License-Identifier: Apache-2.0
// The run on the CPU.
#include "line/instances.hpp"

namespace fpq {

template run_report run<cpu>(cpu const&, run_plan const&, architecture_list, progress_sink const&);

}  // namespace fpq
