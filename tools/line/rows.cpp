// SPDX-License-Identifier: Apache-2.0
// Streamed rows.
#include "fpq/pipeline/row_stream.hpp"

#include "line/work.hpp"

namespace fpq {

template class row_stream<line_backend>;

}  // namespace fpq
