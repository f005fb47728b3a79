// SPDX-License-Identifier: Apache-2.0
// Floor 6. Linears whose weights stay packed on a CUDA device: NVFP4 or MXFP4 codes and scales,
// multiplied by bf16 inputs (cuda/api/gemm.hpp).
#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "fpq/backend/cuda/forward.hpp"
#include "fpq/backend/cuda/gpu.hpp"
#include "fpq/backend/cuda/load.hpp"
#include "fpq/backend/cuda/packed_products.hpp"
#include "fpq/backend/cuda/status.hpp"
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

namespace detail {

/// The values of `parts` one after the other.
template <class T>
gpu_array<T> one_after_the_other(gpu const& b, std::span<gpu_array<T> const* const> parts) {
    std::size_t all = 0;
    for (gpu_array<T> const* const part : parts) {
        all += part->size();
    }
    gpu_array<T> out(b.context, all);
    std::size_t at = 0;
    for (gpu_array<T> const* const part : parts) {
        require_cuda(cudaMemcpyAsync(out.data() + at, part->data(), part->size() * sizeof(T),
                                     cudaMemcpyDeviceToDevice, b.context->stream()),
                     "rows of a weight");
        at += part->size();
    }
    return out;
}

}  // namespace detail

/// Whether one product can do for both: their rows one below the other.
[[nodiscard]] inline bool can_stack(gpu::packed_weight const& x, gpu::packed_weight const& y) {
    return x.format == y.format && x.alpha == y.alpha && x.cols == y.cols;
}
[[nodiscard]] inline bool can_stack(gpu::tensor const& x, gpu::tensor const& y) {
    return x.view().type == y.view().type && x.cols() == y.cols();
}

/// The rows of all one below the other.
[[nodiscard]] inline gpu::packed_weight stack(gpu const& b,
                                              std::span<gpu::packed_weight const* const> parts) {
    gpu::packed_weight out;
    std::vector<gpu_array<std::uint8_t> const*> codes;
    std::vector<gpu_array<std::uint8_t> const*> scales;
    for (gpu::packed_weight const* const part : parts) {
        codes.push_back(&part->codes);
        scales.push_back(&part->scales);
        out.rows += part->rows;
    }
    out.codes = detail::one_after_the_other<std::uint8_t>(b, codes);
    out.scales = detail::one_after_the_other<std::uint8_t>(b, scales);
    out.format = parts.front()->format;
    out.alpha = parts.front()->alpha;
    out.cols = parts.front()->cols;
    out.products = parts.front()->products;
    return out;
}
[[nodiscard]] inline gpu::tensor stack(gpu const& b, std::span<gpu::tensor const* const> parts) {
    std::size_t rows = 0;
    for (gpu::tensor const* const part : parts) {
        rows += part->rows();
    }
    gpu::tensor out(b.context, parts.front()->view().type, rows, parts.front()->cols());
    std::size_t at = 0;
    for (gpu::tensor const* const part : parts) {
        copy(b, part->view(), out.view().rows_at(at, part->rows()));
        at += part->rows();
    }
    return out;
}
[[nodiscard]] inline gpu::vector stack(gpu const& b, std::span<gpu::vector const* const> parts) {
    return detail::one_after_the_other<float>(b, parts);
}

/// After `weight`, `next` will be multiplied, in every step: its first bytes are brought near while
/// nothing else is read. `next` must stay where it is as long as `weight` is used.
inline void expect_next(gpu const&, gpu::packed_weight& weight, gpu::packed_weight const& next) {
    // What a card reads in the time between two products of a decoder.
    constexpr std::size_t most = std::size_t{16} << 20;
    auto const part = [&](gpu_array<std::uint8_t> const& bytes) {
        std::size_t const share = most / 16 * bytes.size() / next.bytes() * 16;
        return cuda::l2_ahead{bytes.data(), std::min(share, bytes.size() / 16 * 16)};
    };
    weight.ahead = {part(next.codes), part(next.scales)};
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
    operands.ahead[0] = weight.ahead[0];
    operands.ahead[1] = weight.ahead[1];
    weight.products->multiply(b.context, problem, operands);
}

}  // namespace fpq
