// SPDX-License-Identifier: Apache-2.0
// The work on one layer and where its results go,.
#pragma once

#include "fpq/method/methods.hpp"
#include "fpq/pipeline/check_written.hpp"
#include "fpq/pipeline/layer_work.hpp"
#include "fpq/pipeline/row_stream.hpp"
#include "fpq/pipeline/sink.hpp"
#include "line/models.hpp"

namespace fpq {

// solve.cpp
extern template void apply<line_backend>(line_backend const&, std::vector<method> const&,
                                         linear_group<line_backend>&);
// work.cpp
extern template class layer_work<line_backend>;
// rows.cpp
extern template class row_stream<line_backend>;
// written.cpp
extern template void check_written<line_backend>(run_plan const&, opened_model<line_backend> const&,
                                                 std::filesystem::path const&, tensor_prints const&,
                                                 run_report&);
// sink.cpp
extern template class quantized_sink<line_backend>;

}  // namespace fpq
