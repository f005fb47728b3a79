// SPDX-License-Identifier: Apache-2.0
// Floor 6. The solver verbs of a CUDA device; meanings are those of backend/cpu/solve.hpp and of
// floor 4, whose solvers are the oracle.
#pragma once

#include <cublas_v2.h>
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fpq/backend/cuda/gpu.hpp"
#include "fpq/backend/cuda/load.hpp"
#include "fpq/backend/cuda/moment.hpp"
#include "fpq/backend/cuda/quant.hpp"
#include "fpq/backend/scale_args.hpp"
#include "fpq/cuda/api/gptq.hpp"
#include "fpq/cuda/api/observe.hpp"
#include "fpq/format/quant_args.hpp"
#include "fpq/linalg/matmul.hpp"
#include "fpq/quant/packed_matrix.hpp"
#include "fpq/solve/options.hpp"

namespace fpq {

namespace detail {

/// Room for codes, scales and zero points of a (rows, cols) matrix.
inline packed_on_device packed_room(gpu const& b, quant_format const& format, std::size_t rows,
                                    std::size_t cols) {
    std::size_t const scales = format.scale_count(rows, cols);
    packed_on_device out;
    out.codes = gpu_array<std::uint8_t>(b.context, rows * format.row_bytes(cols));
    out.scales = gpu_array<std::uint8_t>(b.context, scales * format.scale_bytes_each());
    out.zeros = gpu_array<std::uint8_t>(b.context, format.symmetric ? 0 : scales);
    return out;
}

/// The host's copy; the device's is kept for decode_weights.
inline packed_matrix download(gpu const& b, packed_on_device q, quant_format const& format,
                              std::size_t rows, std::size_t cols, float global_scale) {
    packed_matrix out;
    out.format = format;
    out.rows = rows;
    out.cols = cols;
    out.global_scale = global_scale;
    auto const take = [&](std::vector<std::uint8_t>& to, gpu_array<std::uint8_t> const& from) {
        to = host_bytes(b, from.size());
        b.context->staging().to_host(to.data(), from.data(), to.size(), b.context->stream(),
                                     b.threads);
    };
    take(out.codes, q.codes);
    take(out.scales, q.scales);
    take(out.zeros, q.zeros);
    b.solved->push_back({out.codes.data(), std::move(q)});
    return out;
}

/// Scales of w by the observer of `args`.
inline void find_scales_of(gpu const& b, gpu::const_view w, quant_args const& args,
                           float global_scale, float const* column_weight,
                           packed_on_device const& q, std::string_view name) {
    require_ok(cuda::launch_find_scales(w.matrix(), args.format,
                                        observe_of(observer_of(args, global_scale), column_weight),
                                        {q.scales.data(), q.zeros.data()}, b.context->stream()),
               name);
}

inline cuda::gptq_layer layer_of(gpu::const_view w, quant_format const& format,
                                 packed_on_device const& q, float global_scale) {
    cuda::gptq_layer layer;
    layer.w = w.data;
    layer.type = w.type;
    layer.rows = w.rows;
    layer.cols = w.cols;
    layer.w_stride = w.stride;
    layer.format = format;
    layer.scales = q.scales.data();
    layer.zeros = format.symmetric ? nullptr : q.zeros.data();
    layer.global_scale = global_scale;
    layer.codes = q.codes.data();
    return layer;
}

}  // namespace detail

/// A factor in the context's memory: good until the next factor_moment.
struct gpu_factor {
    gpu_context* context;
    [[nodiscard]] cuda::gptq_factor const& get() const noexcept { return context->factor(); }
};

[[nodiscard]] inline gpu_factor factor_moment(gpu const& b, gpu::hessian const& moment,
                                              quant_order order, double rel_damp,
                                              std::string_view name) {
    cuda::gptq_factor_options options;
    options.order =
        order == quant_order::activation ? cuda::gptq_order::activation : cuda::gptq_order::natural;
    options.rel_damp = rel_damp;
    require_ok(cuda::factor_hessian(b.context->libraries(), b.context->stream(), moment.sum.data(),
                                    moment.size, options, b.context->factor()),
               name);
    return {b.context.get()};
}

[[nodiscard]] inline solve_result solve_gptq(gpu const& b, gpu::const_view w,
                                             gpu::hessian const& moment, gpu_factor const& factor,
                                             quant_args const& args, float global_scale,
                                             std::string_view name) {
    cuda::gptq_factor const& f = factor.get();
    detail::packed_on_device q = detail::packed_room(b, args.format, w.rows, w.cols);
    std::optional<gpu::tensor> live;  // without dead columns, which become 0
    if (f.dead_columns > 0) {
        live = detail::converted(b, w, w.type, f.diagonal.data());
    }
    detail::find_scales_of(b, live ? live->view() : w, args, global_scale, f.diagonal.data(), q,
                           name);
    cuda::gptq_layer const layer = detail::layer_of(w, args.format, q, global_scale);
    cuda::gptq_workspace& scratch = b.context->gptq_scratch();
    cudaStream_t const stream = b.context->stream();
    require_ok(cuda::launch_gptq(b.context->libraries(), stream, f, layer, scratch), name);
    require_ok(
        cuda::launch_gptq_energy(b.context->libraries(), stream, moment.sum.data(), layer, scratch),
        name);
    cuda::gptq_report report;
    require_ok(cuda::read_gptq_report(stream, layer, scratch, report), name);
    solve_result result;
    result.weight = detail::download(b, std::move(q), args.format, w.rows, w.cols, global_scale);
    result.report = {report.relative_error(), report.energy,           f.retries, f.damping,
                     f.dead_columns,          solve_objective::output, 0.0};
    return result;
}

[[nodiscard]] inline solve_result solve_rtn(gpu const& b, gpu::const_view w,
                                            gpu::hessian const* moment, quant_args const& args,
                                            float global_scale, std::string_view name) {
    detail::packed_on_device q = detail::packed_room(b, args.format, w.rows, w.cols);
    cudaStream_t const stream = b.context->stream();
    gpu_array<float> diagonal;
    if (moment != nullptr) {
        diagonal = detail::diagonal_of(b, *moment);
    }
    detail::find_scales_of(b, w, args, global_scale, diagonal.data(), q, name);
    cuda::packed_codes const packed = q.face(args.format, global_scale);
    require_ok(cuda::launch_encode(w.matrix(), packed, stream), name);
    solve_result result;
    auto const take = [&] {
        result.weight =
            detail::download(b, std::move(q), args.format, w.rows, w.cols, global_scale);
    };
    if (moment == nullptr || w.rows == 0) {
        take();
        return result;
    }
    // What was missed, in float32.
    gpu::tensor error = detail::converted(b, w, float_type::fp32, nullptr);
    gpu::tensor const decoded(b.context, float_type::fp32, w.rows, w.cols);
    require_ok(cuda::launch_decode(packed, w.matrix(), nullptr,
                                   static_cast<float*>(decoded.view().data), stream),
               name);
    float const minus = -1.0F;
    require_ok(cuda::from_cublas(cublasSaxpy_64(b.context->libraries().blas(),
                                                static_cast<std::int64_t>(w.rows * w.cols), &minus,
                                                static_cast<float const*>(decoded.view().data), 1,
                                                static_cast<float*>(error.view().data), 1),
                                 "solve_rtn: cublasSaxpy"),
               name);
    auto const energy = [&](gpu::const_view x) {
        cuda::gptq_report report;
        cuda::gptq_layer const layer = detail::layer_of(x, args.format, q, global_scale);
        cuda::gptq_workspace& scratch = b.context->gptq_scratch();
        require_ok(cuda::launch_gptq_energy(b.context->libraries(), stream, moment->sum.data(),
                                            layer, scratch),
                   name);
        require_ok(cuda::read_gptq_report(stream, layer, scratch, report), name);
        return report.energy;
    };
    double const whole = energy(w);
    double const miss = energy(error.view());
    take();
    result.report.relative_error = whole > 0 ? miss / whole : 0.0;
    result.report.energy = whole;
    std::vector<float> host(moment->size);
    b.context->staging().to_host(host.data(), diagonal.data(), host.size() * sizeof(float), stream,
                                 b.threads);
    for (float const d : host) {
        result.report.dead_columns += d > 0.0F ? 0 : 1;
    }
    return result;
}

/// The codes are polished where the solver left them, and brought to the host again.
inline void solve_polish(gpu const& b, gpu::const_view w, gpu::hessian const& moment, int passes,
                         bool zero_dead, solve_result& solved) {
    packed_matrix& q = solved.weight;
    detail::require_shape(moment.size == w.cols && q.rows == w.rows && q.cols == w.cols, "polish",
                          "a Hessian of " + std::to_string(w.cols) + " and codes of w",
                          std::to_string(moment.size));
    if (passes <= 0 || w.rows * w.cols == 0) {
        return;
    }
    detail::packed_on_device packed = detail::solved_or_uploaded(b, q.view());
    cuda::gptq_layer layer = detail::layer_of(w, q.format, packed, q.global_scale);
    layer.zero_dead_columns = zero_dead;
    cuda::polish_args args;
    args.h = moment.sum.data();
    args.damping = static_cast<float>(solved.report.damping);
    args.passes = passes;
    cudaStream_t const stream = b.context->stream();
    cuda::polish_report left;
    require_ok(cuda::polish_codes(b.context->libraries(), stream, layer, args,
                                  b.context->gptq_scratch(), left),
               "polish");
    b.context->staging().to_host(q.codes.data(), packed.codes.data(), q.codes.size(), stream,
                                 b.threads);
    b.solved->push_back({q.codes.data(), std::move(packed)});
    double const miss = std::max(0.0, left.damped - solved.report.damping * left.squared);
    solved.report.relative_error = solved.report.energy > 0 ? miss / solved.report.energy : 0.0;
}

}  // namespace fpq
