// SPDX-License-Identifier: Apache-2.0
// Halves are storage: adding two is refused, so that no sum is rounded unseen.
// expect: no match for|invalid operands
#include "fpq/format.hpp"

float sum(fpq::bf16 a, fpq::bf16 b) {
#ifndef FPQ_WITHOUT_FAULT
    return fpq::to_float(a + b);
#else
    return fpq::to_float(a) + fpq::to_float(b);
#endif
}
