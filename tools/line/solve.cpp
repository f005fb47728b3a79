// SPDX-License-Identifier: Apache-2.0
// The methods on the CPU.
#include "fpq/backend/cpu/solve.hpp"

#include "fpq/method/methods.hpp"

namespace fpq {

template void apply<cpu>(cpu const&, std::vector<method> const&, linear_group<cpu>&);

}  // namespace fpq
