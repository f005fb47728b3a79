// SPDX-License-Identifier: Apache-2.0
// Scales of inputs that are folded before a layer is solved.
#include "fpq/pipeline/layer_smoothing.hpp"

#include "fpq/backend/cpu/forward.hpp"
#include "fpq/backend/cpu/quant.hpp"
#include "fpq/backend/cpu/solve.hpp"
#include "line/work.hpp"

namespace fpq {

template class layer_smoothing<line_backend>;

}  // namespace fpq
