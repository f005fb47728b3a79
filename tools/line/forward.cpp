// SPDX-License-Identifier: Apache-2.0
// The forward pass.
#include "fpq/model/forward.hpp"

#include "fpq/backend/cpu/forward.hpp"
#include "line/backend.hpp"

namespace fpq {

template class decoder<line_backend>;

}  // namespace fpq
