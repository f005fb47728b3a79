// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Definitions of launch_add_bias and launch_convert: every value by itself.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "fpq/core/half.hpp"
#include "fpq/core/rounded.hpp"
#include "fpq/cuda/api/forward.hpp"
#include "fpq/cuda/forward/checks.hpp"
#include "fpq/cuda/quantize/load_input.cuh"
#include "fpq/cuda/quantize/store_output.cuh"

namespace fpq::cuda {

inline constexpr unsigned convert_threads = 256;

/// f(row, col) for every element. Grid: columns across, rows down, both walked.
template <class F>
__device__ void for_each_element(std::size_t rows, std::size_t cols, F f) {
    for (std::size_t row = blockIdx.y; row < rows; row += gridDim.y) {
        for (std::size_t col = std::size_t{blockIdx.x} * convert_threads + threadIdx.x; col < cols;
             col += std::size_t{gridDim.x} * convert_threads) {
            f(row, col);
        }
    }
}

template <class Unused>
__global__ void __launch_bounds__(convert_threads)
    add_bias_kernel(bf16_rows const y, std::size_t rows, std::size_t cols, float const* bias) {
    for_each_element(rows, cols, [&](std::size_t row, std::size_t col) {
        bf16& at = y.data[row * y.stride + col];
        at = to_bf16(add_rn(to_float(at), bias[col]));
    });
}

template <class Unused>
__global__ void __launch_bounds__(convert_threads)
    convert_kernel(float_matrix const x, float const* live, float_type type, void* out,
                   std::size_t out_stride) {
    for_each_element(x.rows, x.cols, [&](std::size_t row, std::size_t col) {
        bool const kept = live == nullptr || live[col] > 0.0F;
        store_output(out, type, row * out_stride + col,
                     kept ? load_float(x.data, x.type, row * x.stride + col) : 0.0F);
    });
}

namespace detail {

inline dim3 element_grid(std::size_t rows, std::size_t cols) noexcept {
    return {static_cast<unsigned>((cols + convert_threads - 1) / convert_threads),
            static_cast<unsigned>(std::min<std::size_t>(rows, 65535))};
}

}  // namespace detail

status launch_add_bias(bf16_rows const& y, std::size_t rows, std::size_t cols, float const* bias,
                       cudaStream_t stream) {
    char const* const who = "launch_add_bias";
    if (status s = check_rows(who, rows, cols); !s.ok() || rows == 0) {
        return s;
    }
    if (status s = check_given(who, {y.data, bias}); !s.ok()) {
        return s;
    }
    add_bias_kernel<void>
        <<<detail::element_grid(rows, cols), convert_threads, 0, stream>>>(y, rows, cols, bias);
    return after_launch(who);
}

status launch_convert(float_matrix const& x, float const* live, float_type type, void* out,
                      std::size_t out_stride, cudaStream_t stream) {
    char const* const who = "launch_convert";
    if (status s = check_rows(who, x.rows, x.cols); !s.ok() || x.rows == 0) {
        return s;
    }
    if (status s = check_given(who, {x.data, out}); !s.ok()) {
        return s;
    }
    if (x.stride < x.cols || out_stride < x.cols) {
        return refuse(who, "strides of cols or more",
                      static_cast<long long>(std::min(x.stride, out_stride)));
    }
    convert_kernel<void><<<detail::element_grid(x.rows, x.cols), convert_threads, 0, stream>>>(
        x, live, type, out, out_stride);
    return after_launch(who);
}

}  // namespace fpq::cuda
