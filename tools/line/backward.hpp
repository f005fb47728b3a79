// SPDX-License-Identifier: Apache-2.0
// The backward pass, compiled once in backward.cpp.
#pragma once

#include "fpq/model/backward.hpp"
#include "fpq/pipeline/gradient_sweep.hpp"
#include "line/backend.hpp"

namespace fpq {

extern template class decoder<line_backend>;  // forward.cpp
extern template layer_trace<line_backend> trace_layer<line_backend>(
    line_backend const&, decoder<line_backend> const&, decoder_layer<line_backend> const&,
    line_backend::const_view, std::size_t);
extern template void backward_layer<line_backend>(line_backend const&, decoder<line_backend> const&,
                                                  decoder_layer<line_backend> const&,
                                                  line_backend::const_view, std::size_t,
                                                  layer_trace<line_backend>&&,
                                                  gradient_hooks<line_backend> const&,
                                                  line_backend::view);
extern template void backward_head<line_backend>(line_backend const&, decoder<line_backend> const&,
                                                 line_backend::const_view, std::size_t,
                                                 std::span<std::int32_t const>, label_rule const&,
                                                 std::span<std::int32_t>, std::span<label_score>,
                                                 line_backend::score_workspace&,
                                                 line_backend::view);

extern template class gradient_sweep<line_backend>;  // gradient_sweep.cpp

}  // namespace fpq
