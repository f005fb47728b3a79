// SPDX-License-Identifier: Apache-2.0
// Floor 6. The solver verbs of a CUDA device for the two-sided objective and for descent on scales
// and codes; meanings are those of backend/cpu/solve.hpp and of floor 4, whose solvers are the
// oracle.
#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fpq/backend/cuda/gpu.hpp"
#include "fpq/backend/cuda/load.hpp"
#include "fpq/backend/cuda/solve.hpp"
#include "fpq/cuda/api/two_sided.hpp"
#include "fpq/format/quant_args.hpp"
#include "fpq/solve/options.hpp"

namespace fpq {

namespace detail {

/// The objective of X under both second moments, or under the inputs' alone.
inline double form_of_layer(gpu const& b, cuda::gptq_layer const& layer, cuda::form_of what,
                            gpu::hessian const& inputs, gpu::hessian const* outputs,
                            std::string_view name) {
    double sum = 0;
    require_ok(
        cuda::two_sided_form(b.context->libraries(), b.context->stream(), layer, what,
                             inputs.sum.data(), outputs == nullptr ? nullptr : outputs->sum.data(),
                             b.context->two_sided_scratch(), sum),
        name);
    return sum;
}

}  // namespace detail

/// GPTQ of w (out, in) under the second moments of its inputs and of the gradients at its outputs,
/// both damped by rel_damp. The budget of memory is the device's, which the plan has looked at.
[[nodiscard]] inline solve_result solve_two_sided(gpu const& b, gpu::const_view w,
                                                  gpu::hessian const& inputs,
                                                  gpu::hessian const& outputs, quant_order order,
                                                  double rel_damp, std::size_t,
                                                  quant_args const& args, float global_scale,
                                                  std::string_view name) {
    detail::require_shape(
        inputs.size == w.cols && outputs.size == w.rows, "solve_two_sided",
        "second moments of " + std::to_string(w.cols) + " and " + std::to_string(w.rows),
        std::to_string(inputs.size) + " and " + std::to_string(outputs.size));
    cudaStream_t const stream = b.context->stream();
    cuda::gptq_factor const& columns = factor_moment(b, inputs, order, rel_damp, name).get();
    cuda::gptq_factor_options options;
    options.rel_damp = rel_damp;
    cuda::gptq_factor& rows = b.context->row_factor();
    require_ok(cuda::factor_hessian(b.context->libraries(), stream, outputs.sum.data(),
                                    outputs.size, options, rows),
               name);
    detail::packed_on_device q = detail::packed_room(b, args.format, w.rows, w.cols);
    std::optional<gpu::tensor> live;  // without dead columns, which become 0
    if (columns.dead_columns > 0) {
        live = detail::converted(b, w, w.type, columns.diagonal.data());
    }
    detail::find_scales_of(b, live ? live->view() : w, args, global_scale, columns.diagonal.data(),
                           q, name);
    cuda::gptq_layer const layer = detail::layer_of(w, args.format, q, global_scale);
    require_ok(cuda::launch_gptq_coupled(b.context->libraries(), stream, columns, rows, layer,
                                         b.context->two_sided_scratch()),
               name);
    double const whole =
        detail::form_of_layer(b, layer, cuda::form_of::weights, inputs, &outputs, name);
    double const miss =
        detail::form_of_layer(b, layer, cuda::form_of::errors, inputs, &outputs, name);
    solve_result result;
    result.weight = detail::download(b, std::move(q), args.format, w.rows, w.cols, global_scale);
    result.report = {whole > 0 ? miss / whole : 0.0,
                     whole,
                     columns.retries,
                     columns.damping,
                     columns.dead_columns,
                     solve_objective::two_sided,
                     rows.damping};
    return result;
}

namespace detail {

/// Descent where the solver left its codes, which are brought to the host again.
inline void solve_descent(gpu const& b, gpu::const_view w, gpu::hessian const& inputs,
                          gpu::hessian const* outputs, int sweeps, bool scales, bool zero_dead,
                          solve_result& solved) {
    packed_matrix& q = solved.weight;
    require_shape(inputs.size == w.cols && q.rows == w.rows && q.cols == w.cols &&
                      (outputs == nullptr || outputs->size == w.rows),
                  "descent", "second moments of w's sides and codes of w",
                  std::to_string(inputs.size));
    if (sweeps <= 0 || w.rows * w.cols == 0) {
        return;
    }
    packed_on_device packed = solved_or_uploaded(b, q.view());
    cuda::gptq_layer layer = layer_of(w, q.format, packed, q.global_scale);
    layer.zero_dead_columns = zero_dead;
    cuda::descent_args args;
    args.inputs = inputs.sum.data();
    args.damping = static_cast<float>(solved.report.damping);
    args.outputs = outputs == nullptr ? nullptr : outputs->sum.data();
    args.row_damping = static_cast<float>(solved.report.row_damping);
    args.scales = scales;
    args.sweeps = sweeps;
    args.stored_scales = packed.scales.data();
    args.stored_zeros = packed.zeros.data();
    cudaStream_t const stream = b.context->stream();
    cuda::descent_report report;
    require_ok(cuda::descend_codes(b.context->libraries(), stream, layer, args,
                                   b.context->two_sided_scratch(), report),
               "descent");
    double const miss = form_of_layer(b, layer, cuda::form_of::errors, inputs, outputs, "descent");
    auto const take = [&](std::vector<std::uint8_t>& to, gpu_array<std::uint8_t> const& from) {
        b.context->staging().to_host(to.data(), from.data(), to.size(), stream, b.threads);
    };
    take(q.codes, packed.codes);
    take(q.scales, packed.scales);
    take(q.zeros, packed.zeros);
    b.solved->push_back({q.codes.data(), std::move(packed)});
    solved.report.relative_error =
        solved.report.energy > 0 ? std::max(0.0, miss) / solved.report.energy : 0.0;
}

}  // namespace detail

/// Coordinate descent on codes towards the two-sided objective; `outputs` null: towards the output
/// error.
inline void solve_polish(gpu const& b, gpu::const_view w, gpu::hessian const& inputs,
                         gpu::hessian const* outputs, int passes, bool zero_dead,
                         solve_result& solved) {
    if (outputs == nullptr) {
        solve_polish(b, w, inputs, passes, zero_dead, solved);
        return;
    }
    detail::solve_descent(b, w, inputs, outputs, passes, false, zero_dead, solved);
}

/// Descent on scales and codes together, `outputs` as in solve_polish.
inline void solve_joint(gpu const& b, gpu::const_view w, gpu::hessian const& inputs,
                        gpu::hessian const* outputs, int sweeps, bool zero_dead,
                        solve_result& solved) {
    detail::solve_descent(b, w, inputs, outputs, sweeps, true, zero_dead, solved);
}

}  // namespace fpq
