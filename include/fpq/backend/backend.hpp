// SPDX-License-Identifier: Apache-2.0
// Floor 6. Names that hold for every backend.
#pragma once

namespace fpq {

/// What owns a matrix on backend B.
template <class B>
using tensor = typename B::tensor;

}  // namespace fpq
