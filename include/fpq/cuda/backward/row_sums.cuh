// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Sums and maxima over a block of 256 threads or a warp, in a fixed order. May be called
// several times in a kernel.
#pragma once

#include "fpq/core/config.hpp"

namespace fpq::cuda {

inline constexpr int backward_threads = 256;

struct add_values {
    template <class T>
    __device__ T operator()(T a, T b) const {
        return a + b;
    }
};
struct larger_value {
    __device__ float operator()(float a, float b) const { return fmaxf(a, b); }
};

/// What `join` makes of a warp's values, in every lane.
template <class T, class Join>
__device__ T joined_in_warp(T value, Join const& join) {
    FPQ_UNROLL
    for (int distance = 16; distance > 0; distance /= 2) {
        value = join(value, __shfl_xor_sync(0xFFFFFFFFu, value, distance));
    }
    return value;
}

/// The same of a block's, in every thread.
template <class T, class Join>
__device__ T joined_in_block(T value, Join const& join) {
    __shared__ T warps[backward_threads / 32];
    value = joined_in_warp(value, join);
    __syncthreads();  // the call before may still read
    if (threadIdx.x % 32 == 0) {
        warps[threadIdx.x / 32] = value;
    }
    __syncthreads();
    T all = warps[0];
    for (int w = 1; w < backward_threads / 32; ++w) {
        all = join(all, warps[w]);
    }
    return all;
}

}  // namespace fpq::cuda
