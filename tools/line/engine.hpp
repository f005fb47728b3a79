// SPDX-License-Identifier: Apache-2.0
// The engine, compiled once in engine.cpp.
#pragma once

#include "fpq/model/engine.hpp"
#include "line/models.hpp"

namespace fpq {

extern template resident_model<line_backend> load_resident<line_backend>(
    line_backend const&, opened_model<line_backend> const&);
extern template class engine<line_backend>;

}  // namespace fpq
