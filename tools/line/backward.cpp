// SPDX-License-Identifier: Apache-2.0
// The backward pass.
#include "fpq/model/backward.hpp"

#include "line/backward.hpp"

#if !defined(FPQ_LINE_GPU)
#include "fpq/backend/cpu/backward/attention.hpp"
#include "fpq/backend/cpu/backward/head.hpp"
#include "fpq/backend/cpu/backward/linear.hpp"
#include "fpq/backend/cpu/backward/rows.hpp"
#include "fpq/backend/cpu/forward.hpp"
#endif

namespace fpq {

template layer_trace<line_backend> trace_layer<line_backend>(line_backend const&,
                                                             decoder<line_backend> const&,
                                                             decoder_layer<line_backend> const&,
                                                             line_backend::const_view, std::size_t);
template void backward_layer<line_backend>(line_backend const&, decoder<line_backend> const&,
                                           decoder_layer<line_backend> const&,
                                           line_backend::const_view, std::size_t,
                                           layer_trace<line_backend>&&,
                                           gradient_hooks<line_backend> const&, line_backend::view);
template void backward_head<line_backend>(line_backend const&, decoder<line_backend> const&,
                                          line_backend::const_view, std::size_t,
                                          std::span<std::int32_t const>, label_rule const&,
                                          std::span<std::int32_t>, std::span<label_score>,
                                          line_backend::score_workspace&, line_backend::view);

}  // namespace fpq
