// SPDX-License-Identifier: Apache-2.0
// Wing cuda. RMSNorm, alone or after a residual add: a block a row, which stays in registers
// between the sum of squares and its use. Arithmetic and its order after the sum are those of
// rms_norm on the CPU: weight * (x * (1 / sqrt(mean + eps))), each step rounded to float32.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fpq/core/half.hpp"
#include "fpq/cuda/forward/row_plan.hpp"
#include "fpq/cuda/forward/values.cuh"
#include "fpq/cuda/ptx/float_ops.cuh"
#include "fpq/cuda/ptx/mma.cuh"

namespace fpq::cuda {

template <class Stream>
struct rms_norm_work {
    Stream* x;          // (rows, cols); written only where something is added
    bf16 const* added;  // (rows, cols), or null
    float const* weight;
    bf16* out;
    std::uint32_t cols;
    float eps;
};

/// The sum over a block of up to 256 threads in a fixed order, in every thread. Once a kernel.
__device__ inline float row_sum(float value) {
    __shared__ float warps[row_plan::most_threads / 32];
    FPQ_UNROLL
    for (int distance = 16; distance > 0; distance /= 2) {
        value += __shfl_xor_sync(0xFFFFFFFFu, value, distance);
    }
    if (threadIdx.x % 32 == 0) {
        warps[threadIdx.x / 32] = value;
    }
    __syncthreads();
    float sum = 0.0F;
    for (unsigned w = 0; w < blockDim.x / 32; ++w) {
        sum += warps[w];
    }
    return sum;
}

template <class Stream, bool Add, int Held>
__global__ void __launch_bounds__(row_plan::most_threads)
    rms_norm_kernel(rms_norm_work<Stream> const work) {
    ptx::allow_next_kernel();
    ptx::wait_for_previous_kernel();
    constexpr int width = row_plan::width;
    std::size_t const row = std::size_t{blockIdx.x} * work.cols;
    values<Stream, width> held[Held];
    values<bf16, width> more[Add ? Held : 1];
    auto const column = [](int h) {
        return (static_cast<std::uint32_t>(h) * blockDim.x + threadIdx.x) * width;
    };
    FPQ_UNROLL
    for (int h = 0; h < Held; ++h) {
        std::uint32_t const col = column(h);
        if (col < work.cols) {
            held[h] = values<Stream, width>::load(work.x + row + col);
            if constexpr (Add) {
                more[h] = values<bf16, width>::load(work.added + row + col);
            }
        } else {
            held[h] = {};
            if constexpr (Add) {
                more[h] = {};
            }
        }
    }
    // The sum that the row becomes, as it is stored: what a plain add and a norm after it would
    // see.
    auto const value = [&](int h, float(&x)[width]) {
        held[h].unpack(x);
        if constexpr (Add) {
            float y[width];
            more[h].unpack(y);
            FPQ_UNROLL
            for (int i = 0; i < width; ++i) {
                x[i] = rounded<Stream>(add_rn(x[i], y[i]));
            }
        }
    };
    float squares = 0.0F;
    FPQ_UNROLL
    for (int h = 0; h < Held; ++h) {
        float x[width];
        value(h, x);
        FPQ_UNROLL
        for (int i = 0; i < width; ++i) {
            squares = fma_rn(x[i], x[i], squares);
        }
    }
    float const mean = div_rn(row_sum(squares), static_cast<float>(work.cols));
    float const inverse = div_rn(1.0F, sqrt_rn(add_rn(mean, work.eps)));
    FPQ_UNROLL
    for (int h = 0; h < Held; ++h) {
        std::uint32_t const col = column(h);
        if (col < work.cols) {
            float x[width];
            value(h, x);
            if constexpr (Add) {
                values<Stream, width>::store(work.x + row + col, x);
            }
            float w[width];
            values<float, width>::load(work.weight + col).unpack(w);
            FPQ_UNROLL
            for (int i = 0; i < width; ++i) {
                x[i] = mul_rn(w[i], mul_rn(x[i], inverse));
            }
            values<bf16, width>::store(work.out + row + col, x);
        }
    }
}

}  // namespace fpq::cuda
