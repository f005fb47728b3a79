// SPDX-License-Identifier: Apache-2.0
// Wing cuda. How the streaming kernels of W4A16 end: a sum over all of k becomes an output; sums
// over windows of k wait in the workspace, and the CTA that finishes last adds them in order.
#pragma once

#include <cstddef>

#include "fpq/cuda/split_arrival.cuh"
#include "fpq/cuda/store_output.cuh"
#include "fpq/cuda/w4a16_args.hpp"

namespace fpq::cuda::detail {

/// Stores alpha * sum + bias.
__device__ __forceinline__ void store_sum(w4a16_args const& p, float alpha, unsigned token,
                                          unsigned row, float sum) {
    float const bias = p.bias != nullptr ? p.bias[row] : 0.0F;
    store_output(p.out, p.out_type, std::size_t{token} * p.n + row, alpha * sum + bias);
}

/// Takes the sum over this CTA's window of k, which is the whole of k if there is one window.
__device__ __forceinline__ void store_window_sum(w4a16_args const& p, float alpha, unsigned token,
                                                 unsigned row, float sum) {
    if (gridDim.y > 1) {
        p.partials[(std::size_t{blockIdx.y} * p.m + token) * p.n + row] = sum;
    } else {
        store_sum(p, alpha, token, row, sum);
    }
}

/// With more than one window of k: the last CTA of those that share the row tiles blockIdx.x,
/// blockIdx.x + gridDim.x, ... adds their windows. Every thread of the CTA calls it.
__device__ __forceinline__ void add_windows(w4a16_args const& p, float alpha, unsigned first_token,
                                            unsigned tokens) {
    if (gridDim.y == 1 ||
        !last_split_to_arrive(p.counters + blockIdx.z * gridDim.x + blockIdx.x, gridDim.y)) {
        return;
    }
    unsigned const per_tile = 16 * tokens;
    for (unsigned e = threadIdx.x;; e += blockDim.x) {
        unsigned const first_row = 16 * (blockIdx.x + e / per_tile * gridDim.x);
        if (first_row >= p.n) {
            return;
        }
        unsigned const row = first_row + e % 16;
        unsigned const token = first_token + e % per_tile / 16;
        if (row < p.n) {
            float sum = 0.0F;
            for (unsigned window = 0; window < gridDim.y; ++window) {
                sum += __ldcg(p.partials + (std::size_t{window} * p.m + token) * p.n + row);
            }
            store_sum(p, alpha, token, row, sum);
        }
    }
}

}  // namespace fpq::cuda::detail
