// SPDX-License-Identifier: Apache-2.0
// GPTQ under the two-sided objective.
#include "fpq/backend/cpu/solve.hpp"

#include "fpq/method/two_sided.hpp"
#include "line/backend.hpp"

namespace fpq {

template void two_sided_method::apply<line_backend>(line_backend const&,
                                                    linear_group<line_backend>&) const;

}  // namespace fpq
