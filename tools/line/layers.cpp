// SPDX-License-Identifier: Apache-2.0
// The layers of a run.
#include "fpq/backend/cpu/score.hpp"

#include "fpq/backend/cpu/forward.hpp"
#include "fpq/backend/cpu/load.hpp"
#include "fpq/backend/cpu/quant.hpp"
#include "fpq/backend/cpu/solve.hpp"
#include "line/backward.hpp"
#include "line/instances.hpp"

namespace fpq {

template class detail::layer_line<line_backend>;

}  // namespace fpq
