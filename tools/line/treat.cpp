// SPDX-License-Identifier: Apache-2.0
// What happens to the inputs of linears,.
#include "fpq/backend/cpu/quant.hpp"
#include "fpq/model/treatment.hpp"
#include "line/backend.hpp"

namespace fpq {

template void treat<line_backend>(line_backend const&, input_treatment const&, line_backend::view);

}  // namespace fpq
