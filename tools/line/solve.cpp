// SPDX-License-Identifier: Apache-2.0
// The methods.
#include "fpq/backend/cpu/solve.hpp"

#include "fpq/method/methods.hpp"
#include "line/backend.hpp"

namespace fpq {

template void apply<line_backend>(line_backend const&, std::vector<method> const&,
                                  linear_group<line_backend>&);

}  // namespace fpq
