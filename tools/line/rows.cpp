// SPDX-License-Identifier: Apache-2.0
// Streamed rows on the CPU.
#include "fpq/pipeline/row_stream.hpp"

#include "line/instances.hpp"

namespace fpq {

template class row_stream<cpu>;

}  // namespace fpq
