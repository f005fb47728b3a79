// SPDX-License-Identifier: Apache-2.0
// Wing cuda. A sum over a thread block in a fixed order: the same bits in every run.
#pragma once

namespace fpq::cuda {

/// The sum of `value` over a block of Threads threads, in every thread. Call it once a kernel.
template <int Threads>
__device__ double block_sum(double value) {
    static_assert(Threads % 32 == 0);
    __shared__ double warps[Threads / 32];
    for (int distance = 16; distance > 0; distance /= 2) {
        value += __shfl_down_sync(0xFFFFFFFFu, value, distance);
    }
    if (threadIdx.x % 32 == 0) {
        warps[threadIdx.x / 32] = value;
    }
    __syncthreads();
    double sum = 0;
    for (int w = 0; w < Threads / 32; ++w) {
        sum += warps[w];
    }
    return sum;
}

}  // namespace fpq::cuda
