// SPDX-License-Identifier: Apache-2.0
// Wing cuda. The kernels that bring weights into processing order before the GPTQ sweep and codes
// back out of it, and that decode stored scales once for all columns.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>

#include "fpq/core/bits.hpp"
#include "fpq/core/float_type.hpp"
#include "fpq/core/half.hpp"
#include "fpq/cuda/api/gptq.hpp"
#include "fpq/cuda/gptq/block_sum.cuh"
#include "fpq/cuda/gptq/pack.hpp"
#include "fpq/format/packed.hpp"

namespace fpq::cuda {

inline constexpr int gptq_row_threads = 256;

/// What a solve reports; made on the device.
struct gptq_sums {
    static constexpr unsigned long long none_found = ~0ull;
    double loss;                    // tr(dW H dW^T), H not damped
    double energy;                  // tr(W H W^T)
    unsigned long long not_finite;  // row-major index of the first such weight, or none_found
};

namespace detail {

/// A weight of the layer that was found not to be finite, by place.
inline status refuse_weight(char const* who, gptq_sums const& sums,
                            gptq_layer const& layer) noexcept {
    if (sums.not_finite == gptq_sums::none_found) {
        return {};
    }
    char what[80];
    std::snprintf(what, sizeof what, "%s: w[%llu, %llu]", who, sums.not_finite / layer.cols,
                  sums.not_finite % layer.cols);
    return refuse_numbers(what, "a finite number", "NaN or infinity");
}

}  // namespace detail

/// Nothing found and nothing summed yet. One thread.
template <int Threads>
__global__ void __launch_bounds__(Threads) gptq_begin_kernel(gptq_sums* sums) {
    *sums = {0.0, 0.0, gptq_sums::none_found};
}

FPQ_HD inline float widen(float x) noexcept { return x; }
FPQ_HD inline float widen(bf16 x) noexcept { return to_float(x); }
FPQ_HD inline float widen(fp16 x) noexcept { return to_float(x); }

/// Value `at` of w, an array of `type`.
__device__ inline float widened_at(void const* w, float_type type, std::size_t at) {
    switch (type) {
        case float_type::bf16:
            return widen(static_cast<bf16 const*>(w)[at]);
        case float_type::fp16:
            return widen(static_cast<fp16 const*>(w)[at]);
        case float_type::fp32:
            break;
    }
    return static_cast<float const*>(w)[at];
}

/// target = error = w in processing order, columns from cols to `stride` zero; dead columns zero
/// when zero_dead. Without an order, columns stay where they are. Grid: one block a row.
template <class T>
__global__ void __launch_bounds__(gptq_row_threads)
    gptq_gather_kernel(T const* w, std::size_t w_stride, std::size_t cols,
                       std::uint32_t const* order, float const* diagonal, bool zero_dead,
                       float* target, float* error, std::size_t stride, gptq_sums* sums) {
    std::size_t const row = blockIdx.x;
    for (std::size_t k = threadIdx.x; k < stride; k += gptq_row_threads) {
        float value = 0;
        if (k < cols) {
            std::size_t const column = order == nullptr ? k : order[k];
            value = widen(w[row * w_stride + column]);
            if (!is_finite(value)) {
                atomicMin(&sums->not_finite, static_cast<unsigned long long>(row * cols + column));
            }
            value = zero_dead && !(diagonal[column] > 0.0F) ? 0.0F : value;
        }
        target[row * stride + k] = value;
        error[row * stride + k] = value;
    }
}

/// steps (rows, groups) = fl(scale / global_scale); `q` needs no codes. Grid: any.
template <int Threads>
__global__ void __launch_bounds__(Threads)
    gptq_steps_kernel(packed_view q, std::size_t groups, float* steps) {
    std::size_t const at = static_cast<std::size_t>(blockIdx.x) * Threads + threadIdx.x;
    if (at < q.rows * groups) {
        steps[at] = q.step(at / groups, at % groups);
    }
}

/// Codes (rows, stride), one byte each in processing order, to packed rows in original order.
/// position[j]: when column j was processed. Grid: one block a row.
template <int Threads>
__global__ void __launch_bounds__(Threads)
    gptq_pack_kernel(std::uint8_t const* codes, std::size_t stride, std::uint32_t const* position,
                     std::size_t cols, int bits, std::uint8_t* packed) {
    std::size_t const row = blockIdx.x;
    std::size_t const bytes = packed_bytes(bits, cols);
    std::uint8_t const* const from = codes + row * stride;
    for (std::size_t at = threadIdx.x; at < bytes; at += Threads) {
        packed[row * bytes + at] =
            packed_byte(bits, cols, at, [=](std::size_t i) { return from[position[i]]; });
    }
}

/// out[row] = the sum of a * b over a row, (rows, stride) each. Grid: one block a row.
template <int Threads>
__global__ void __launch_bounds__(Threads)
    gptq_dot_kernel(float const* a, float const* b, std::size_t stride, double* out) {
    std::size_t const row = static_cast<std::size_t>(blockIdx.x) * stride;
    double sum = 0;
    for (std::size_t k = threadIdx.x; k < stride; k += Threads) {
        sum += static_cast<double>(a[row + k]) * static_cast<double>(b[row + k]);
    }
    sum = block_sum<Threads>(sum);
    if (threadIdx.x == 0) {
        out[blockIdx.x] = sum;
    }
}

/// *out = the sum of `count` values, 0 if that is negative. Grid: one block.
template <int Threads>
__global__ void __launch_bounds__(Threads)
    gptq_sum_kernel(double const* values, std::size_t count, double* out) {
    double sum = 0;
    for (std::size_t i = threadIdx.x; i < count; i += Threads) {
        sum += values[i];
    }
    sum = block_sum<Threads>(sum);
    if (threadIdx.x == 0) {
        *out = sum > 0 ? sum : 0.0;
    }
}

}  // namespace fpq::cuda
