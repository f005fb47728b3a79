// SPDX-License-Identifier: Apache-2.0
// Opened checkpoints.
#include "fpq/model/opened_model.hpp"

#include "fpq/backend/cpu/load.hpp"
#include "line/models.hpp"

namespace fpq {

template class opened_model<line_backend>;

}  // namespace fpq
