// SPDX-License-Identifier: Apache-2.0
// One layer's work on the CPU.
#include "line/work.hpp"

#include "fpq/backend/cpu/quant.hpp"
#include "fpq/backend/cpu/solve.hpp"

namespace fpq {

template class layer_work<cpu>;

}  // namespace fpq
