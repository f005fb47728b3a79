// SPDX-License-Identifier: Apache-2.0
// Floor 6. The quantization verbs of a CUDA device; meanings are those of backend/cpu/quant.hpp.
#pragma once

#include <cublas_v2.h>
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "fpq/backend/cuda/forward.hpp"
#include "fpq/backend/cuda/gpu.hpp"
#include "fpq/backend/cuda/load.hpp"
#include "fpq/backend/scale_args.hpp"
#include "fpq/cuda/api/observe.hpp"
#include "fpq/cuda/api/quantize.hpp"
#include "fpq/format/quant_args.hpp"
#include "fpq/quant/error_stats.hpp"
#include "fpq/quant/observer_options.hpp"
#include "fpq/quant/packed_matrix.hpp"
#include "fpq/transform/transform.hpp"

namespace fpq {

namespace detail {

inline cuda::observe_options observe_of(observer_options const& options,
                                        float const* column_weight) noexcept {
    cuda::observe_options out;
    out.rule = options.rule;
    out.mx = options.mx;
    out.global_scale = options.global_scale;
    out.column_weight = column_weight;
    out.signed_end = options.signed_end;
    return out;
}

/// What the solver left on the device, or q brought there.
inline packed_on_device solved_or_uploaded(gpu const& b, packed_view const& q) {
    auto const at = std::find_if(b.solved->begin(), b.solved->end(),
                                 [&](solved_on_device const& s) { return s.host == q.codes; });
    if (at == b.solved->end()) {
        return upload_packed(b, q);
    }
    packed_on_device out = std::move(at->packed);
    b.solved->erase(at);
    return out;
}

/// y = x with every block of columns multiplied by `matrix` (block, block): x and y dense, of one
/// type, bf16 products with float32 sums or float32 ones.
inline void multiply_blocks(gpu const& b, gpu::const_view x, gpu::const_view matrix, gpu::view y) {
    float const one = 1.0F;
    float const zero = 0.0F;
    auto const block = static_cast<std::int64_t>(matrix.cols);
    auto const rows = static_cast<std::int64_t>(x.rows * (x.cols / matrix.cols));
    cudaDataType const type = x.type == float_type::bf16 ? CUDA_R_16BF : CUDA_R_32F;
    require_ok(
        cuda::from_cublas(
            cublasGemmEx_64(b.context->libraries().blas(), CUBLAS_OP_N, CUBLAS_OP_N, block, rows,
                            block, &one, matrix.data, type, block, x.data, type, block, &zero,
                            y.data, type, block, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
            "transform: cublasGemmEx"),
        {});
}

/// `matrix` (block, block) in `type`.
inline gpu::tensor matrix_on_device(gpu const& b, std::vector<float> const& matrix,
                                    std::size_t block, float_type type) {
    gpu_array<float> const wide = array_of(b, matrix.data(), matrix.size());
    gpu::view const face{wide.data(), float_type::fp32, block, block, block};
    return converted(b, face, type, nullptr);
}

}  // namespace detail

/// max |x| of each of `windows` windows, one below the other; NaN counts as nothing. One wait.
inline std::vector<float> window_amax(gpu const& b, gpu::const_view x, std::size_t windows) {
    std::vector<float> out(windows, 0.0F);
    std::size_t const tokens = x.rows / windows;
    if (tokens * x.cols == 0) {
        return out;
    }
    gpu_array<float> const most(b.context, windows);
    for (std::size_t w = 0; w < windows; ++w) {
        require_ok(cuda::global_amax(x.rows_at(w * tokens, tokens).matrix(), most.data() + w,
                                     b.context->stream()),
                   {});
    }
    b.context->staging().to_host(out.data(), most.data(), windows * sizeof(float),
                                 b.context->stream(), 1);
    return out;
}

/// max |x|; NaN counts as nothing.
inline float amax(gpu const& b, gpu::const_view x) { return window_amax(b, x, 1).front(); }

/// x = x M, block by block, rounded to bf16 once. Matrices that clients run are bf16 themselves;
/// others are multiplied in float32.
inline void transform_inputs(gpu const& b, block_transform const& t, gpu::view x) {
    bool exact = true;
    for (float const m : t.matrix()) {
        exact = exact && m == round_to_bf16(m);
    }
    float_type const type = exact ? float_type::bf16 : float_type::fp32;
    gpu::tensor from;
    if (x.type != type || !x.dense()) {
        from = detail::converted(b, x, type, nullptr);
    }
    gpu::tensor const to(b.context, type, x.rows, x.cols);
    gpu::tensor const m = detail::matrix_on_device(b, t.matrix(), t.block(), type);
    detail::multiply_blocks(b, from.rows() != 0 ? from.view() : x, m.view(), to.view());
    copy(b, to.view(), x);
}

/// w = w M^-T in float32.
inline void transform_weights(gpu const& b, block_transform const& t, gpu::tensor& w) {
    gpu::view const x = w.view();
    gpu::tensor const from = detail::converted(b, x, float_type::fp32, nullptr);
    gpu::tensor to(b.context, float_type::fp32, x.rows, x.cols);
    gpu::tensor const m =
        detail::matrix_on_device(b, t.weight_matrix(), t.block(), float_type::fp32);
    detail::multiply_blocks(b, from.view(), m.view(), to.view());
    w = std::move(to);
}

inline void fake_quantize(gpu const& b, quant_args const& args, float global_scale, gpu::view x) {
    require_ok(
        cuda::launch_fake_quantize(x.matrix(), args.format,
                                   detail::observe_of(observer_of(args, global_scale), nullptr),
                                   b.context->stream()),
        {});
}

/// The host has changed what a solver gave.
inline void changed_on_host(gpu const& b, packed_matrix const& q) {
    static_cast<void>(detail::solved_or_uploaded(b, q.view()));
}

inline error_stats decode_weights(gpu const& b, packed_view const& q, gpu::view w,
                                  local_loss& local) {
    detail::packed_on_device const packed = detail::solved_or_uploaded(b, q);
    gpu_array<cuda::row_loss> const loss(b.context, w.rows);
    require_ok(cuda::launch_decode(packed.face(q.format, q.global_scale), w.matrix(), loss.data(),
                                   nullptr, b.context->stream()),
               {});
    std::vector<cuda::row_loss> rows(w.rows);
    b.context->staging().to_host(rows.data(), loss.data(), rows.size() * sizeof(cuda::row_loss),
                                 b.context->stream(), b.threads);
    error_stats all;
    all.count = w.rows * w.cols;
    local = {};
    for (cuda::row_loss const& r : rows) {
        error_stats row;
        row.signal = r.signal;
        row.noise = r.noise;
        row.largest = static_cast<double>(r.largest);
        row.flushed = r.flushed;
        row.sign_flips = r.sign_flips;
        all.add(row);
        local_loss one;
        one.blocks = r.blocks;
        one.zeroed_blocks = r.zeroed;
        if (row.signal > 0.0) {
            one.worst_row_db = row.sqnr_db();
        }
        local.add(one);
    }
    return all;
}

}  // namespace fpq
