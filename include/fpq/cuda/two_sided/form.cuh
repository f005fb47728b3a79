// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Definition of two_sided_form, and the products and sums that it shares with a descent.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fpq/cuda/api/two_sided.hpp"
#include "fpq/cuda/gptq/checks.hpp"
#include "fpq/cuda/gptq/linear_algebra.hpp"
#include "fpq/cuda/gptq/weights.cuh"
#include "fpq/cuda/two_sided/matrices.cuh"

namespace fpq::cuda {

namespace detail {

/// y (rows, cols) = x h, h symmetric (cols, cols) with leading dimension ldh, its lower half read;
/// x and y have `stride` values a row. Row-major as column-major: the transposed product.
inline status times_inputs(linear_algebra& libraries, float const* h, std::size_t ldh,
                           float const* x, std::size_t rows, std::size_t cols, std::size_t stride,
                           float* y) {
    float const one = 1.0F;
    float const zero = 0.0F;
    auto const number = [](std::size_t n) { return static_cast<std::int64_t>(n); };
    return from_cublas(cublasSsymm_64(libraries.blas(), CUBLAS_SIDE_LEFT, CUBLAS_FILL_MODE_UPPER,
                                      number(cols), number(rows), &one, h, number(ldh), x,
                                      number(stride), &zero, y, number(stride)),
                       "two-sided: cublasSsymm");
}

/// y (rows, cols) = h x, h symmetric (rows, rows), its lower half read.
inline status times_outputs(linear_algebra& libraries, float const* h, std::size_t ldh,
                            float const* x, std::size_t rows, std::size_t cols, std::size_t stride,
                            float* y) {
    float const one = 1.0F;
    float const zero = 0.0F;
    auto const number = [](std::size_t n) { return static_cast<std::int64_t>(n); };
    return from_cublas(cublasSsymm_64(libraries.blas(), CUBLAS_SIDE_RIGHT, CUBLAS_FILL_MODE_UPPER,
                                      number(cols), number(rows), &one, h, number(ldh), x,
                                      number(stride), &zero, y, number(stride)),
                       "two-sided: cublasSsymm");
}

/// sum of x y over (rows, cols), on the host. Waits for the stream. Values from cols to stride
/// count and are 0 in x.
inline status dot_of(cudaStream_t stream, float const* x, float const* y, std::size_t rows,
                     std::size_t stride, two_sided_workspace& ws, double& sum) {
    status s = ensure(ws.row_sums, rows, stream);
    if (s.ok()) s = ensure(ws.sum, 1, stream);
    if (!s.ok()) {
        return s;
    }
    gptq_dot_kernel<gptq_row_threads><<<static_cast<unsigned>(rows), gptq_row_threads, 0, stream>>>(
        x, y, stride, ws.row_sums.data());
    s = after_launch("gptq_dot_kernel");
    if (s.ok()) {
        gptq_sum_kernel<gptq_row_threads>
            <<<1, gptq_row_threads, 0, stream>>>(ws.row_sums.data(), rows, ws.sum.data());
        s = after_launch("gptq_sum_kernel");
    }
    if (s.ok()) {
        s = from_cuda(
            cudaMemcpyAsync(&sum, ws.sum.data(), sizeof sum, cudaMemcpyDeviceToHost, stream),
            "two-sided: copy");
    }
    return s.ok() ? from_cuda(cudaStreamSynchronize(stream), "two-sided: wait") : s;
}

}  // namespace detail

status two_sided_form(linear_algebra& libraries, cudaStream_t stream, gptq_layer const& layer,
                      form_of what, float const* h_i, float const* outputs, two_sided_workspace& ws,
                      double& sum) {
    sum = 0;
    if (status s = check_layer("two_sided_form", layer); !s.ok()) {
        return s;
    }
    if (layer.rows == 0) {
        return {};
    }
    if (h_i == nullptr) {
        return refuse("two_sided_form: h_i", "a second moment", "null");
    }
    status s = libraries.use(stream);
    std::size_t const groups = layer.format.groups(layer.cols);
    std::size_t const values = layer.rows * layer.cols;
    if (s.ok()) s = ensure(ws.w, values, stream);
    if (s.ok()) s = ensure(ws.error, values, stream);
    if (s.ok()) s = ensure(ws.first, values, stream);
    if (s.ok()) s = ensure(ws.codes, values, stream);
    if (s.ok()) s = ensure(ws.scales, layer.rows * groups, stream);
    if (s.ok()) s = ensure(ws.zeros, layer.rows * groups, stream);
    if (s.ok() && outputs != nullptr) s = ensure(ws.second, values, stream);
    if (!s.ok()) {
        return s;
    }
    unpacked_layer const a{{layer.format, layer.rows, layer.cols, layer.codes, layer.scales,
                            layer.format.symmetric ? nullptr : layer.zeros, layer.global_scale},
                           layer.w,
                           layer.type,
                           layer.w_stride,
                           nullptr,
                           layer.cols,
                           ws.w.data(),
                           ws.error.data(),
                           ws.codes.data(),
                           ws.scales.data(),
                           ws.zeros.data(),
                           groups};
    unpack_layer_kernel<matrix_threads>
        <<<static_cast<unsigned>(layer.rows), matrix_threads, 0, stream>>>(a);
    s = after_launch("unpack_layer_kernel");
    float const* const x = what == form_of::weights ? ws.w.data() : ws.error.data();
    if (s.ok()) {
        s = detail::times_inputs(libraries, h_i, layer.cols, x, layer.rows, layer.cols, layer.cols,
                                 ws.first.data());
    }
    float const* y = ws.first.data();
    if (s.ok() && outputs != nullptr) {
        s = detail::times_outputs(libraries, outputs, layer.rows, y, layer.rows, layer.cols,
                                  layer.cols, ws.second.data());
        y = ws.second.data();
    }
    return s.ok() ? detail::dot_of(stream, x, y, layer.rows, layer.cols, ws, sum) : s;
}

}  // namespace fpq::cuda
