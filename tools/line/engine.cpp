// SPDX-License-Identifier: Apache-2.0
// The engine.
#include "fpq/backend/cpu/paged.hpp"

#include "fpq/backend/cpu/choose.hpp"
#include "fpq/backend/cpu/forward.hpp"
#include "fpq/model/engine.hpp"
#include "line/models.hpp"

namespace fpq {

template resident_model<line_backend> load_resident<line_backend>(
    line_backend const&, opened_model<line_backend> const&);
template class engine<line_backend>;

}  // namespace fpq
