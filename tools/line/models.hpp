// SPDX-License-Identifier: Apache-2.0
// Models on the CPU, compiled once each in the units beside this header.
#pragma once

#include "fpq/backend/cpu/cpu.hpp"
#include "fpq/model/forward.hpp"
#include "fpq/model/opened_model.hpp"
#include "fpq/model/treatment.hpp"
#include "fpq/pipeline/streams.hpp"

namespace fpq {

// forward.cpp
extern template class decoder<cpu>;
// treat.cpp
extern template void treat<cpu>(cpu const&, input_treatment const&, cpu::view);
// open.cpp
extern template class opened_model<cpu>;
// evaluate.cpp
extern template class hidden_stream<cpu>;
extern template class running_evaluation<cpu>;

}  // namespace fpq
