// SPDX-License-Identifier: Apache-2.0
// Floor 6. Linears whose weights stay packed on a CUDA device: NVFP4 or MXFP4 codes and scales,
// multiplied by bf16 inputs (cuda/api/gemm.hpp).
#pragma once

#include <cstddef>
#include <utility>

#include "fpq/backend/cuda/forward.hpp"
#include "fpq/backend/cuda/gpu.hpp"
#include "fpq/backend/cuda/load.hpp"
#include "fpq/backend/cuda/packed_products.hpp"
#include "fpq/cuda/api/gemm.hpp"
#include "fpq/format/block.hpp"
#include "fpq/format/packed.hpp"

namespace fpq {

/// Whether linear() multiplies with q as it is, on a fast path.
[[nodiscard]] inline bool stays_packed(gpu const&, packed_view const& q) noexcept {
    return q.codes != nullptr && (q.format == nvfp4 || q.format == mxfp4) && q.cols % 64 == 0;
}

/// q on the device.
[[nodiscard]] inline gpu::packed_weight pack_weight(gpu const& b, packed_view const& q) {
    gpu::packed_weight out;
    detail::packed_on_device there = detail::upload_packed(b, q);
    out.codes = std::move(there.codes);
    out.scales = std::move(there.scales);
    out.format = q.format;
    out.alpha = 1.0F / q.global_scale;
    out.rows = q.rows;
    out.cols = q.cols;
    out.products = b.products;
    return out;
}

/// y (tokens, out) = x (tokens, in) weight^T + bias, element * scale exact, sums in float32, times
/// 1 / global scale, rounded once. y is dense.
inline void linear(gpu const& b, gpu::const_view x, gpu::packed_weight const& weight,
                   gpu::vector const& bias, gpu::view y) {
    detail::require_dense(y, "linear");
    cuda::w4a16_problem problem;
    problem.format = weight.format;
    problem.m = x.rows;
    problem.n = weight.rows;
    problem.k = weight.cols;
    cuda::w4a16_operands operands;
    operands.x = x.bf16_matrix().data;
    operands.x_stride = x.stride;
    operands.codes = weight.codes.data();
    operands.scales = weight.scales.data();
    operands.alpha = weight.alpha;
    operands.bias = bias.empty() ? nullptr : bias.data();
    operands.out = y.bf16_matrix().data;
    weight.products->multiply(b.context, problem, operands);
}

}  // namespace fpq
