// SPDX-License-Identifier: Apache-2.0
// The forward pass on the CPU.
#include "fpq/model/forward.hpp"

#include "fpq/backend/cpu/forward.hpp"

namespace fpq {

template class decoder<cpu>;

}  // namespace fpq
