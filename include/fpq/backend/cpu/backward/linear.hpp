// SPDX-License-Identifier: Apache-2.0
// Floor 6. The backward verb of a linear on the CPU.
#pragma once

#include "fpq/backend/cpu/cpu.hpp"
#include "fpq/linalg/matmul.hpp"

namespace fpq {

/// dx (tokens, in) = dy (tokens, out) weight (out, in), or dx += that when `add`: the gradient at
/// what a linear reads. dx overlaps neither.
inline void linear_backward(cpu const& b, cpu::const_view dy, cpu::const_view weight, bool add,
                            cpu::view dx) {
    matmul_nn(dy, weight, dx, b.threads, add);
}

}  // namespace fpq
