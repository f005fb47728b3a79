// SPDX-License-Identifier: Apache-2.0
// Wing cuda. How the streaming kernels of W4A16 end: a sum over all of k becomes an output; sums
// over windows of k wait in the workspace, and the CTA that finishes last adds them in order.
#pragma once

#include <cstddef>
#include <type_traits>

#include "fpq/cuda/gemm/split_arrival.cuh"
#include "fpq/cuda/gemm/w4a16_args.hpp"
#include "fpq/cuda/quantize/store_output.cuh"

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

/// Adds the windows of rows row .. row + Rows - 1, in order; n is a multiple of Rows.
template <int Rows>
__device__ __forceinline__ void add_windows_of(w4a16_args const& p, float alpha, unsigned token,
                                               unsigned row) {
    using rows = std::conditional_t<Rows == 4, float4, float>;
    float sum[Rows] = {};
    for (unsigned first = 0; first < gridDim.y; first += 4) {
        rows part[4];  // asked for at once: one round trip for four windows
#pragma unroll
        for (unsigned i = 0; i < 4; ++i) {
            if (first + i < gridDim.y) {
                part[i] = __ldcg(reinterpret_cast<rows const*>(
                    p.partials + (std::size_t{first + i} * p.m + token) * p.n + row));
            }
        }
#pragma unroll
        for (unsigned i = 0; i < 4; ++i) {
            if (first + i < gridDim.y) {
                if constexpr (Rows == 4) {
                    sum[0] += part[i].x;
                    sum[1] += part[i].y;
                    sum[2] += part[i].z;
                    sum[3] += part[i].w;
                } else {
                    sum[0] += part[i];
                }
            }
        }
    }
#pragma unroll
    for (int i = 0; i < Rows; ++i) {
        store_sum(p, alpha, token, row + static_cast<unsigned>(i), sum[i]);
    }
}

/// add_windows_of all rows that this CTA's row tiles have, shared among its threads.
template <int Rows>
__device__ __forceinline__ void add_windows_of_tiles(w4a16_args const& p, float alpha,
                                                     unsigned first_token, unsigned tokens) {
    constexpr unsigned pieces = 16 / Rows;  // of a row tile
    unsigned const per_tile = pieces * tokens;
    for (unsigned e = threadIdx.x;; e += blockDim.x) {
        unsigned const first_row = 16 * (blockIdx.x + e / per_tile * gridDim.x);
        if (first_row >= p.n) {
            return;
        }
        unsigned const row = first_row + e % pieces * Rows;
        if (row < p.n) {
            add_windows_of<Rows>(p, alpha, first_token + e % per_tile / pieces, row);
        }
    }
}

/// Asks for what the next kernels read, when this CTA's own weights are on their way.
__device__ __forceinline__ void ask_ahead(w4a16_ahead const& ahead) {
    unsigned const blocks = gridDim.x * gridDim.y * gridDim.z;
    unsigned const block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
    ptx::ask_into_l2(ahead.of[0], block, blocks);
    ptx::ask_into_l2(ahead.of[1], block, blocks);
}

/// With more than one window of k: the last CTA of those that share the row tiles blockIdx.x,
/// blockIdx.x + gridDim.x, ... adds their windows. Every thread of the CTA calls it.
__device__ __forceinline__ void add_windows(w4a16_args const& p, float alpha, unsigned first_token,
                                            unsigned tokens) {
    if (gridDim.y == 1 ||
        !last_split_to_arrive(p.counters + blockIdx.z * gridDim.x + blockIdx.x, gridDim.y)) {
        return;
    }
    if (p.n % 4 == 0) {
        add_windows_of_tiles<4>(p, alpha, first_token, tokens);
    } else {
        add_windows_of_tiles<1>(p, alpha, first_token, tokens);
    }
}

}  // namespace fpq::cuda::detail
