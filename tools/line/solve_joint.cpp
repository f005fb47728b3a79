// SPDX-License-Identifier: Apache-2.0
// Descent on scales and codes.
#include "fpq/method/joint.hpp"

#include "fpq/backend/cpu/solve.hpp"
#include "line/backend.hpp"

namespace fpq {

template void joint_method::apply<line_backend>(line_backend const&,
                                                linear_group<line_backend>&) const;

}  // namespace fpq
