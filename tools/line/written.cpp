// SPDX-License-Identifier: Apache-2.0
// What a run on the CPU wrote, compared.
#include "fpq/pipeline/check_written.hpp"
#include "line/models.hpp"

namespace fpq {

template void check_written<cpu>(run_plan const&, opened_model<cpu> const&,
                                 std::filesystem::path const&, tensor_prints const&, run_report&);

}  // namespace fpq
