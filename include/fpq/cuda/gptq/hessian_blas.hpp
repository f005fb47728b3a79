// SPDX-License-Identifier: Apache-2.0
// Wing cuda. The lower half of X^T X as products of cuBLAS: one square below the diagonal halves
// the matrix, two halve the halves, and so on; the diagonal blocks that remain are made whole.
// Each step is one batched product, since the batch walks down the diagonal. Host code.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fpq/cuda/api/gptq.hpp"
#include "fpq/cuda/gptq/linear_algebra.hpp"

namespace fpq::cuda {

/// One batched product: `batch` squares of `side` columns; the first covers rows [row, row + side)
/// and columns [0, side), the next lies `step` further down the diagonal.
struct hessian_squares {
    std::size_t side;
    std::size_t row;
    std::size_t batch;
    std::size_t step;
};

/// How often the matrix is halved: while halves are whole multiples of 8 columns and 512 or more
/// wide, at most 4 times (the work left over is then 1/16 of the half that is not needed).
constexpr int hessian_halvings(std::size_t cols) noexcept {
    int count = 0;
    while (count < 4 && cols % 16 == 0 && cols / 2 >= 512) {
        cols /= 2;
        ++count;
    }
    return count;
}

/// Product i of hessian_halvings(cols) + 1.
constexpr hessian_squares hessian_product(std::size_t cols, int i) noexcept {
    int const halvings = hessian_halvings(cols);
    if (i == halvings) {
        std::size_t const side = cols >> halvings;
        return {side, 0, std::size_t{1} << halvings, side};
    }
    std::size_t const side = cols >> (i + 1);
    return {side, side, std::size_t{1} << i, 2 * side};
}

/// H's lower half by cuBLAS, any element type, any shape. Writes whole diagonal blocks.
inline status hessian_by_blas(linear_algebra& libraries, hessian_args const& a) {
    cudaDataType const type = a.type == float_type::bf16   ? CUDA_R_16BF
                              : a.type == float_type::fp16 ? CUDA_R_16F
                                                           : CUDA_R_32F;
    float const one = 1.0F;
    float const beta = a.accumulate ? 1.0F : 0.0F;
    auto const stride = static_cast<std::int64_t>(a.x_stride);
    auto const n = static_cast<std::int64_t>(a.cols);
    for (int i = 0; i <= hessian_halvings(a.cols); ++i) {
        hessian_squares const p = hessian_product(a.cols, i);
        auto const side = static_cast<std::int64_t>(p.side);
        auto const step = static_cast<std::int64_t>(p.step);
        auto const* const left = static_cast<unsigned char const*>(a.x);
        auto const* const top = left + p.row * float_bytes(a.type);
        // Row-major (rows, columns) is column-major (columns, rows): columns come first.
        status const s = from_cublas(
            cublasGemmStridedBatchedEx_64(
                libraries.blas(), CUBLAS_OP_N, CUBLAS_OP_T, side, side,
                static_cast<std::int64_t>(a.tokens), &one, left, type, stride, step, top, type,
                stride, step, &beta, a.h + p.row * a.cols, CUDA_R_32F, n, step * (n + 1),
                static_cast<std::int64_t>(p.batch), CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
            "launch_hessian: cublasGemmStridedBatchedEx");
        if (!s.ok()) {
            return s;
        }
    }
    return {};
}

}  // namespace fpq::cuda
