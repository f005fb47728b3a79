// SPDX-License-Identifier: Apache-2.0
// Floor 6. The forward verbs of a CUDA device; meanings are those of backend/cpu/forward.hpp.
#pragma once

#include <cublas_v2.h>
#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include "fpq/backend/attention_shape.hpp"
#include "fpq/backend/cuda/gpu.hpp"
#include "fpq/backend/cuda/load.hpp"
#include "fpq/backend/rope.hpp"
#include "fpq/core/hosted/error.hpp"
#include "fpq/cuda/api/forward.hpp"

namespace fpq {

namespace detail {

inline void require_dense(gpu::const_view x, char const* verb) {
    if (!x.dense()) {
        fail_usage("rows with gaps", verb, "a dense matrix", std::to_string(x.stride));
    }
}

inline cuda::stream_matrix stream_of(gpu::const_view x, char const* verb) {
    require_dense(x, verb);
    return {x.data, x.type, x.rows, x.cols};
}

/// y (rows, out) = x (rows, in) w (out, in)^T on the tensor cores: bf16 inputs, float32 sums.
inline void multiply(gpu const& b, gpu::const_view x, gpu::const_view w, gpu::view y) {
    float const one = 1.0F;
    float const zero = 0.0F;
    auto const number = [](std::size_t n) { return static_cast<std::int64_t>(n); };
    // Row-major (rows, columns) is column-major (columns, rows): the product comes transposed.
    require_ok(
        cuda::from_cublas(
            cublasGemmEx_64(b.context->libraries().blas(), CUBLAS_OP_T, CUBLAS_OP_N, number(w.rows),
                            number(x.rows), number(x.cols), &one, w.data, CUDA_R_16BF,
                            number(w.stride), x.data, CUDA_R_16BF, number(x.stride), &zero, y.data,
                            y.type == float_type::fp32 ? CUDA_R_32F : CUDA_R_16BF, number(y.stride),
                            CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
            "linear: cublasGemmEx"),
        {});
}

}  // namespace detail

inline void copy(gpu const& b, gpu::const_view x, gpu::view y) {
    if (x.type != y.type) {
        require_ok(cuda::launch_convert(x.matrix(), nullptr, y.type, y.data, y.stride,
                                        b.context->stream()),
                   "copy");
        return;
    }
    std::size_t const width = float_bytes(x.type);
    require_cuda(
        cudaMemcpy2DAsync(y.data, y.stride * width, x.data, x.stride * width, x.cols * width,
                          x.rows, cudaMemcpyDeviceToDevice, b.context->stream()),
        "copy");
}

inline void embed(gpu const& b, gpu::table const& table, std::span<std::int32_t const> tokens,
                  gpu::view hidden) {
    if (!tokens.empty()) {
        copy(b, detail::rows_on_device(b, table.host(), tokens).view(), hidden);
    }
}

inline void rms_norm(gpu const& b, gpu::const_view x, gpu::vector const& weight, float eps,
                     gpu::view y) {
    detail::require_dense(y, "rms_norm");
    require_ok(cuda::launch_rms_norm(detail::stream_of(x, "rms_norm"), nullptr, weight.data(), eps,
                                     y.bf16_matrix().data, b.context->stream()),
               {});
}

/// hidden += x, then y = norm(hidden): the bytes of add and rms_norm.
inline void add_rms_norm(gpu const& b, gpu::view hidden, gpu::const_view x,
                         gpu::vector const& weight, float eps, gpu::view y) {
    detail::require_dense(x, "add_rms_norm");
    detail::require_dense(y, "add_rms_norm");
    require_ok(
        cuda::launch_rms_norm(detail::stream_of(hidden, "add_rms_norm"), x.bf16_matrix().data,
                              weight.data(), eps, y.bf16_matrix().data, b.context->stream()),
        {});
}

/// Weights that are not bf16 are rounded to it for the product.
inline void linear(gpu const& b, gpu::const_view x, gpu::const_view weight, gpu::vector const& bias,
                   gpu::view y) {
    cuda::bf16_rows const out = y.bf16_matrix();
    static_cast<void>(x.bf16_matrix());
    if (weight.type == float_type::bf16) {
        detail::multiply(b, x, weight, y);
    } else {
        detail::multiply(b, x, detail::converted(b, weight, float_type::bf16, nullptr).view(), y);
    }
    if (!bias.empty()) {
        require_ok(cuda::launch_add_bias(out, y.rows, y.cols, bias.data(), b.context->stream()),
                   {});
    }
}

inline void rotate(gpu const& b, gpu::view q, gpu::view k, std::size_t head_dim,
                   gpu::vector const& q_norm, gpu::vector const& k_norm, float eps,
                   gpu::rope const& table, row_positions const& at) {
    if (at.step > 1) {
        fail_usage("positions of rows", "gpu: rotate", "neighbours, or the same",
                   std::to_string(at.step) + " apart");
    }
    // The tables' row 0 is that of the first position: a multiple of 16 bytes for every head size
    // that the kernel takes.
    std::size_t const skipped = at.first * (head_dim / 2);
    cuda::rope_args args;
    args.q = q.bf16_matrix();
    args.k = k.bf16_matrix();
    args.tokens = q.rows;
    args.heads = q.cols / head_dim;
    args.kv_heads = k.cols / head_dim;
    args.head_dim = head_dim;
    args.cos = table.cos.data() + skipped;
    args.sin = table.sin.data() + skipped;
    args.length = at.step == 0 ? 1 : at.length;
    args.q_norm = q_norm.empty() ? nullptr : q_norm.data();
    args.k_norm = k_norm.empty() ? nullptr : k_norm.data();
    args.eps = eps;
    require_ok(cuda::launch_rope(args, b.context->stream()), {});
}

inline void attention(gpu const& b, gpu::const_view q, gpu::const_view k, gpu::const_view v,
                      attention_shape const& shape, std::size_t length, gpu::view out) {
    cuda::attention_args args;
    args.q = q.bf16_matrix();
    args.k = k.bf16_matrix();
    args.v = v.bf16_matrix();
    args.out = out.bf16_matrix();
    args.windows = q.rows / length;
    args.length = length;
    args.heads = shape.heads;
    args.kv_heads = shape.kv_heads;
    args.head_dim = shape.head_dim;
    require_ok(cuda::launch_attention(args, b.context->stream()), {});
}

inline void silu_mul(gpu const& b, gpu::view gate, gpu::const_view up) {
    require_ok(cuda::launch_silu_mul(gate.bf16_matrix(), up.bf16_matrix(), gate.rows, gate.cols,
                                     gate.bf16_matrix(), b.context->stream()),
               {});
}

inline void add(gpu const& b, gpu::view y, gpu::const_view x) {
    detail::require_dense(x, "add");
    require_ok(
        cuda::launch_add(detail::stream_of(y, "add"), x.bf16_matrix().data, b.context->stream()),
        {});
}

}  // namespace fpq
