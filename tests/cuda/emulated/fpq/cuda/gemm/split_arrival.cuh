// SPDX-License-Identifier: Apache-2.0
// Stands for the wing's header of this name in emulated blocks.
#pragma once

#include "emulated/block.hpp"

namespace fpq::cuda {

inline bool last_split_to_arrive(unsigned* counter, unsigned splits) {
    static bool last = false;
    __syncthreads();
    if (threadIdx.x == 0) {
        last = ++*counter == splits;
        *counter = last ? 0 : *counter;
    }
    __syncthreads();
    bool const out = last;
    __syncthreads();
    return out;
}

}  // namespace fpq::cuda
