// SPDX-License-Identifier: Apache-2.0
// Where quantized linears of the CPU go.
#include "fpq/pipeline/sink.hpp"

#include "line/work.hpp"

namespace fpq {

template class quantized_sink<line_backend>;

}  // namespace fpq
