// SPDX-License-Identifier: Apache-2.0
// One layer's work.
#include "line/work.hpp"

#include "fpq/backend/cpu/quant.hpp"
#include "fpq/backend/cpu/solve.hpp"

namespace fpq {

template class layer_work<line_backend>;

}  // namespace fpq
