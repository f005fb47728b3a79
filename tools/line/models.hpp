// SPDX-License-Identifier: Apache-2.0
// Models, compiled once each in the units beside this header.
#pragma once

#include "fpq/model/forward.hpp"
#include "fpq/model/opened_model.hpp"
#include "fpq/model/treatment.hpp"
#include "fpq/pipeline/streams.hpp"
#include "line/backend.hpp"

namespace fpq {

// forward.cpp
extern template class decoder<line_backend>;
// treat.cpp
extern template void treat<line_backend>(line_backend const&, input_treatment const&,
                                         line_backend::view);
// open.cpp
extern template class opened_model<line_backend>;
// evaluate.cpp
extern template class hidden_stream<line_backend>;
extern template class running_evaluation<line_backend>;

}  // namespace fpq
