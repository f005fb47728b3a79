// SPDX-License-Identifier: Apache-2.0
// A view of constant data cannot be written through.
// expect: read-only|const-qualified|cannot assign
#include "fpq/format.hpp"

float first(fpq::matrix_view<float const> w) {
#ifndef FPQ_WITHOUT_FAULT
    w(0, 0) = 1.0F;
#endif
    return w(0, 0);
}
