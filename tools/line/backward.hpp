// SPDX-License-Identifier: Apache-2.0
// The backward pass on the CPU, compiled once in backward.cpp.
#pragma once

#include "fpq/model/backward.hpp"
#include "fpq/pipeline/gradient_sweep.hpp"
#include "line/backend.hpp"

#if !defined(FPQ_LINE_GPU)

namespace fpq {

extern template class decoder<cpu>;  // forward.cpp
extern template layer_trace<cpu> trace_layer<cpu>(cpu const&, decoder<cpu> const&,
                                                  decoder_layer<cpu> const&, cpu::const_view,
                                                  std::size_t);
extern template void backward_layer<cpu>(cpu const&, decoder<cpu> const&, decoder_layer<cpu> const&,
                                         cpu::const_view, std::size_t, layer_trace<cpu>&&,
                                         gradient_hooks<cpu> const&, cpu::view);
extern template void backward_head<cpu>(cpu const&, decoder<cpu> const&, cpu::const_view,
                                        std::size_t, std::span<std::int32_t const>,
                                        label_rule const&, std::span<std::int32_t>,
                                        std::span<label_score>, cpu::score_workspace&, cpu::view);

extern template class gradient_sweep<cpu>;  // gradient_sweep.cpp

}  // namespace fpq

#endif
