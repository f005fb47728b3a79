// SPDX-License-Identifier: Apache-2.0
// Wing cuda. How CTAs that each summed a part of k agree on the one that adds the parts: whoever
// arrives last. What it adds, and in which order, does not depend on who that is.
#pragma once

namespace fpq::cuda {

/// True in every thread of the CTA that arrives as the `splits`-th at `counter`; it then sees what
/// the others have written before. Leaves the counter zero. Every thread of the CTA calls it.
__device__ __forceinline__ bool last_split_to_arrive(unsigned* counter, unsigned splits) {
    __shared__ bool last;
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) {
        last = atomicAdd(counter, 1u) + 1 == splits;
        if (last) {
            *counter = 0;  // ready for the next launch
        }
    }
    __syncthreads();
    if (last) {
        __threadfence();
    }
    return last;
}

}  // namespace fpq::cuda
