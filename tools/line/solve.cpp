// SPDX-License-Identifier: Apache-2.0
// The chain of methods.
#include "fpq/method/methods.hpp"

#include "fpq/backend/cpu/solve.hpp"
#include "line/backend.hpp"
#include "line/solvers.hpp"

namespace fpq {

template void apply<line_backend>(line_backend const&, std::vector<method> const&,
                                  linear_group<line_backend>&);

}  // namespace fpq
