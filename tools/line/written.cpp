// SPDX-License-Identifier: Apache-2.0
// What a run wrote, compared.
#include "fpq/pipeline/check_written.hpp"
#include "line/models.hpp"

namespace fpq {

template void check_written<line_backend>(run_plan const&, opened_model<line_backend> const&,
                                          std::filesystem::path const&, tensor_prints const&,
                                          run_report&);

}  // namespace fpq
