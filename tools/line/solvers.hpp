// SPDX-License-Identifier: Apache-2.0
// The solvers' methods, each compiled in a unit of its own (solve_NAME.cpp).
#pragma once

#include "fpq/method/methods.hpp"
#include "line/backend.hpp"

namespace fpq {

extern template void gptq_method::apply<line_backend>(line_backend const&,
                                                      linear_group<line_backend>&) const;
extern template void two_sided_method::apply<line_backend>(line_backend const&,
                                                           linear_group<line_backend>&) const;
extern template void polish_method::apply<line_backend>(line_backend const&,
                                                        linear_group<line_backend>&) const;
extern template void joint_method::apply<line_backend>(line_backend const&,
                                                       linear_group<line_backend>&) const;

}  // namespace fpq
