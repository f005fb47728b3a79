// SPDX-License-Identifier: Apache-2.0
// The backward pass, on the CPU: a CUDA device has no backward verbs.
#include "fpq/model/backward.hpp"

#include "line/backward.hpp"

#if !defined(FPQ_LINE_GPU)

#include "fpq/backend/cpu/backward/attention.hpp"
#include "fpq/backend/cpu/backward/head.hpp"
#include "fpq/backend/cpu/backward/linear.hpp"
#include "fpq/backend/cpu/backward/rows.hpp"
#include "fpq/backend/cpu/forward.hpp"

namespace fpq {

template layer_trace<cpu> trace_layer<cpu>(cpu const&, decoder<cpu> const&,
                                           decoder_layer<cpu> const&, cpu::const_view, std::size_t);
template void backward_layer<cpu>(cpu const&, decoder<cpu> const&, decoder_layer<cpu> const&,
                                  cpu::const_view, std::size_t, layer_trace<cpu>&&,
                                  gradient_hooks<cpu> const&, cpu::view);
template void backward_head<cpu>(cpu const&, decoder<cpu> const&, cpu::const_view, std::size_t,
                                 std::span<std::int32_t const>, label_rule const&,
                                 std::span<std::int32_t>, std::span<label_score>,
                                 cpu::score_workspace&, cpu::view);

}  // namespace fpq

#endif
