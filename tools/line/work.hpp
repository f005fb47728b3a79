// SPDX-License-Identifier: Apache-2.0
// The work on one layer and where its results go, on the CPU.
#pragma once

#include "fpq/method/methods.hpp"
#include "fpq/pipeline/check_written.hpp"
#include "fpq/pipeline/layer_work.hpp"
#include "fpq/pipeline/row_stream.hpp"
#include "fpq/pipeline/sink.hpp"
#include "line/models.hpp"

namespace fpq {

// solve.cpp
extern template void apply<cpu>(cpu const&, std::vector<method> const&, linear_group<cpu>&);
// work.cpp
extern template class layer_work<cpu>;
// rows.cpp
extern template class row_stream<cpu>;
// written.cpp
extern template void check_written<cpu>(run_plan const&, opened_model<cpu> const&,
                                        std::filesystem::path const&, tensor_prints const&,
                                        run_report&);
// sink.cpp
extern template class quantized_sink<cpu>;

}  // namespace fpq
