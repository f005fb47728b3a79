// SPDX-License-Identifier: Apache-2.0
// Stands for the wing's header of this name in emulated blocks.
#pragma once

#include <cmath>

namespace fpq::cuda::ptx {

inline float exp2_approximate(float x) { return std::exp2(x); }
inline void allow_next_kernel() {}
inline void wait_for_previous_kernel() {}

}  // namespace fpq::cuda::ptx
