// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Backward kernels whose rows do not meet: a block, or for heads a warp, a row. They are
// bound by memory and small beside the products around them, so they read a value at a time, which
// serves every width.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fpq/core/half.hpp"
#include "fpq/cuda/api/backward.hpp"
#include "fpq/cuda/backward/row_sums.cuh"

namespace fpq::cuda {

/// With r = 1 / sqrt(mean(x^2) + eps): dx = r (w dy - x r^2 mean(x w dy)). Grid: one block a row.
__global__ void __launch_bounds__(backward_threads)
    rms_norm_backward_kernel(bf16_rows const x, float const* weight, float eps, std::uint32_t cols,
                             bf16_rows const dy, bf16_rows const dx) {
    std::size_t const row = blockIdx.x;
    bf16 const* const xs = x.data + row * x.stride;
    bf16 const* const dys = dy.data + row * dy.stride;
    float squares = 0;
    float dot = 0;
    for (std::uint32_t k = threadIdx.x; k < cols; k += backward_threads) {
        float const a = to_float(xs[k]);
        squares += a * a;
        dot += a * weight[k] * to_float(dys[k]);
    }
    squares = joined_in_block(squares, add_values{});
    dot = joined_in_block(dot, add_values{});
    float const count = static_cast<float>(cols);
    float const inverse = 1.0F / sqrtf(squares / count + eps);
    float const pull = dot / count * inverse * inverse;
    for (std::uint32_t k = threadIdx.x; k < cols; k += backward_threads) {
        float const g = inverse * (weight[k] * to_float(dys[k]) - to_float(xs[k]) * pull);
        dx.data[row * dx.stride + k] = to_bf16(g);
    }
}

/// Grid: any number of blocks in x, rows in y.
__global__ void __launch_bounds__(backward_threads)
    silu_mul_backward_kernel(bf16_rows const dy, bf16_rows const gate, bf16_rows const up,
                             std::size_t rows, std::uint32_t cols) {
    std::uint32_t const k = blockIdx.x * backward_threads + threadIdx.x;
    if (k >= cols) {
        return;
    }
    for (std::size_t row = blockIdx.y; row < rows; row += gridDim.y) {
        bf16& g = gate.data[row * gate.stride + k];
        bf16& u = up.data[row * up.stride + k];
        float const d = to_float(dy.data[row * dy.stride + k]);
        float const a = to_float(g);
        float const s = 1.0F / (1.0F + __expf(fminf(fmaxf(-a, -87.0F), 87.0F)));
        g = to_bf16(d * to_float(u) * s * (1.0F + a * (1.0F - s)));
        u = to_bf16(d * a * s);
    }
}

inline constexpr int rotate_pairs = 4;  // pairs of values that a lane holds: heads up to 256

/// One warp a head of a token.
__global__ void __launch_bounds__(backward_threads) rotate_back_kernel(rotate_back_args const a) {
    std::size_t const item = std::size_t{blockIdx.x} * (backward_threads / 32) + threadIdx.x / 32;
    if (item >= a.tokens * a.heads) {
        return;
    }
    auto const lane = threadIdx.x % 32;
    auto const half = static_cast<std::uint32_t>(a.head_dim / 2);
    std::size_t const token = item / a.heads;
    std::size_t const head = item % a.heads * a.head_dim;
    std::size_t const position = token % a.length;
    bf16* const d = a.d.data + token * a.d.stride + head;
    float low[rotate_pairs];
    float high[rotate_pairs];
    FPQ_UNROLL
    for (int i = 0; i < rotate_pairs; ++i) {
        std::uint32_t const k = lane + 32 * static_cast<std::uint32_t>(i);
        if (k < half) {
            float const x = to_float(d[k]);
            float const y = to_float(d[k + half]);
            float const c = a.cos[position * half + k];
            float const s = a.sin[position * half + k];
            low[i] = x * c + y * s;
            high[i] = y * c - x * s;
        } else {
            low[i] = high[i] = 0;
        }
    }
    if (a.norm != nullptr) {
        bf16 const* const x = a.x.data + token * a.x.stride + head;
        float x_low[rotate_pairs];
        float x_high[rotate_pairs];
        float squares = 0;
        float dot = 0;
        FPQ_UNROLL
        for (int i = 0; i < rotate_pairs; ++i) {
            std::uint32_t const k = lane + 32 * static_cast<std::uint32_t>(i);
            bool const inside = k < half;
            x_low[i] = inside ? to_float(x[k]) : 0.0F;
            x_high[i] = inside ? to_float(x[k + half]) : 0.0F;
            low[i] *= inside ? a.norm[k] : 0.0F;
            high[i] *= inside ? a.norm[k + half] : 0.0F;
            squares += x_low[i] * x_low[i] + x_high[i] * x_high[i];
            dot += x_low[i] * low[i] + x_high[i] * high[i];
        }
        squares = joined_in_warp(squares, add_values{});
        dot = joined_in_warp(dot, add_values{});
        float const count = static_cast<float>(a.head_dim);
        float const inverse = 1.0F / sqrtf(squares / count + a.eps);
        float const pull = dot / count * inverse * inverse;
        FPQ_UNROLL
        for (int i = 0; i < rotate_pairs; ++i) {
            low[i] = inverse * (low[i] - x_low[i] * pull);
            high[i] = inverse * (high[i] - x_high[i] * pull);
        }
    }
    FPQ_UNROLL
    for (int i = 0; i < rotate_pairs; ++i) {
        std::uint32_t const k = lane + 32 * static_cast<std::uint32_t>(i);
        if (k < half) {
            d[k] = to_bf16(low[i]);
            d[k + half] = to_bf16(high[i]);
        }
    }
}

/// Grid: one block a row.
__global__ void __launch_bounds__(backward_threads)
    mean_squares_kernel(bf16_rows const x, std::uint32_t cols, float* out) {
    std::size_t const row = blockIdx.x;
    float squares = 0;
    for (std::uint32_t k = threadIdx.x; k < cols; k += backward_threads) {
        float const a = to_float(x.data[row * x.stride + k]);
        squares += a * a;
    }
    squares = joined_in_block(squares, add_values{});
    if (threadIdx.x == 0) {
        out[row] = squares / static_cast<float>(cols);
    }
}

/// Grid: any number of blocks in x, rows in y.
__global__ void __launch_bounds__(backward_threads)
    weigh_rows_kernel(bf16_rows const x, float const* weights, std::size_t rows, std::uint32_t cols,
                      bf16_rows const y) {
    std::uint32_t const k = blockIdx.x * backward_threads + threadIdx.x;
    if (k >= cols) {
        return;
    }
    for (std::size_t row = blockIdx.y; row < rows; row += gridDim.y) {
        y.data[row * y.stride + k] =
            to_bf16(to_float(x.data[row * x.stride + k]) * sqrtf(weights[row]));
    }
}

}  // namespace fpq::cuda
