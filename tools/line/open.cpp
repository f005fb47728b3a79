// SPDX-License-Identifier: Apache-2.0
// Opened checkpoints on the CPU.
#include "fpq/model/opened_model.hpp"

#include "line/models.hpp"

namespace fpq {

template class opened_model<cpu>;

}  // namespace fpq
