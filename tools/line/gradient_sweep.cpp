// SPDX-License-Identifier: Apache-2.0
// Statistics of gradients.
#include "fpq/pipeline/gradient_sweep.hpp"

#include "line/backward.hpp"

#if !defined(FPQ_LINE_GPU)
#include "fpq/backend/cpu/backward/rows.hpp"
#include "fpq/backend/cpu/forward.hpp"
#include "fpq/backend/cpu/solve.hpp"
#endif

namespace fpq {

template class gradient_sweep<line_backend>;

}  // namespace fpq
