// SPDX-License-Identifier: Apache-2.0
// Streamed rows on the CPU.
#include "fpq/pipeline/row_stream.hpp"

#include "line/work.hpp"

namespace fpq {

template class row_stream<cpu>;

}  // namespace fpq
