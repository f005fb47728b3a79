// SPDX-License-Identifier: Apache-2.0
// Descent on codes.
#include "fpq/method/polish.hpp"

#include "fpq/backend/cpu/solve.hpp"
#include "line/backend.hpp"

namespace fpq {

template void polish_method::apply<line_backend>(line_backend const&,
                                                 linear_group<line_backend>&) const;

}  // namespace fpq
