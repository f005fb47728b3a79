// SPDX-License-Identifier: Apache-2.0
// What happens to the inputs of linears, on the CPU.
#include "fpq/backend/cpu/quant.hpp"
#include "fpq/model/treatment.hpp"

namespace fpq {

template void treat<cpu>(cpu const&, input_treatment const&, cpu::view);

}  // namespace fpq
