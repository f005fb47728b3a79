// SPDX-License-Identifier: Apache-2.0
// Floor 6. The solver verbs of the CPU: second moments of inputs, and the solvers of floor 4 behind
// the signature that methods call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "fpq/backend/cpu/cpu.hpp"
#include "fpq/backend/cpu/quant.hpp"
#include "fpq/core/hosted/error.hpp"
#include "fpq/core/hosted/ranks.hpp"
#include "fpq/solve/gptq.hpp"
#include "fpq/solve/joint.hpp"
#include "fpq/solve/options.hpp"
#include "fpq/solve/polish.hpp"
#include "fpq/solve/row_coupling.hpp"
#include "fpq/solve/rtn.hpp"
#include "fpq/solve/two_sided.hpp"

namespace fpq {

/// An empty second moment of inputs `width` wide, of so many windows over all ranks.
[[nodiscard]] inline std::unique_ptr<cpu::moment> make_moment(cpu const&, rank_group const&,
                                                              std::size_t width,
                                                              std::size_t windows) {
    return std::make_unique<cpu::moment>(width, windows);
}

/// moment += x^T x of `count` windows from `first` on, x (count * tokens, width). Windows come in
/// their order.
inline void accumulate(cpu const& b, cpu::moment& moment, std::size_t first, std::size_t count,
                       cpu::const_view x) {
    std::size_t const tokens = x.rows / count;
    for (std::size_t w = 0; w < count; ++w) {
        moment.add(first + w, x.rows_at(w * tokens, tokens), b.threads);
    }
}

/// The sum over the windows of all ranks, each of which has added its own, rounded to float32: the
/// same bytes for any number of ranks.
[[nodiscard]] inline cpu::hessian finish(cpu const&, rank_group& ranks, cpu::moment&& moment) {
    if (ranks.size() == 1) {
        return std::move(moment).finish();
    }
    auto trees = std::move(moment).subtrees();
    if (trees.size() != 1) {
        fail_usage("windows of a rank", "finish", "all of them", "some are missing");
    }
    second_moment own = std::move(trees.front().second);
    std::size_t const n = own.size();
    for_each_peer(ranks, [&](std::size_t peer, bool lower) {
        std::vector<float> parts(n * n);
        std::vector<float> diagonal(n);
        std::uint64_t const count = own.count();
        std::uint64_t others = 0;
        ranks.exchange(peer, std::as_bytes(own.parts()), std::as_writable_bytes(std::span(parts)));
        ranks.exchange(peer, std::as_bytes(own.diagonal_parts()),
                       std::as_writable_bytes(std::span(diagonal)));
        ranks.exchange(peer, std::as_bytes(std::span(&count, 1)),
                       std::as_writable_bytes(std::span(&others, 1)));
        second_moment other(n, others, std::move(parts), std::move(diagonal));
        if (!lower) {
            std::swap(own, other);
        }
        own.merge(other);
    });
    return std::move(own).finish();
}

/// Of a finished second moment: the sums of squares of each column of inputs.
[[nodiscard]] inline std::vector<float> diagonal(cpu const&, cpu::hessian const& moment) {
    return moment.diagonal();
}

/// The factor that linears with one input share. Throws fpq::error (numeric) by `name`.
[[nodiscard]] inline gptq_factor factor_moment(cpu const& b, cpu::hessian const& moment,
                                               quant_order order, double rel_damp,
                                               std::string_view name) {
    solve_options options;
    options.order = order;
    options.rel_damp = rel_damp;
    options.threads = b.threads;
    return factor(moment, options, name);
}

/// GPTQ of w (out, in); see fpq::gptq.
[[nodiscard]] inline solve_result solve_gptq(cpu const& b, cpu::const_view w,
                                             cpu::hessian const& moment, gptq_factor const& factor,
                                             quant_args const& args, float global_scale,
                                             std::string_view name) {
    solve_options options;
    options.observer = observer_of(args, global_scale);
    options.threads = b.threads;
    return gptq(w, moment, factor, args.format, options, name);
}

/// Rounding to nearest of w (out, in); `moment` may be null, then nothing is weighted or measured.
[[nodiscard]] inline solve_result solve_rtn(cpu const& b, cpu::const_view w,
                                            cpu::hessian const* moment, quant_args const& args,
                                            float global_scale, std::string_view name) {
    solve_options options;
    options.observer = observer_of(args, global_scale);
    options.threads = b.threads;
    return rtn(w, moment, args.format, options, name);
}

/// Coordinate descent on the codes of any solver; see fpq::polish.
inline void solve_polish(cpu const& b, cpu::const_view w, cpu::hessian const& moment, int passes,
                         bool zero_dead, solve_result& solved) {
    polish(w, moment, passes, zero_dead, b.threads, solved);
}

/// GPTQ of w (out, in) under the second moments of its inputs and of the gradients at its outputs;
/// see fpq::gptq_two_sided. Both are damped by rel_damp.
[[nodiscard]] inline solve_result solve_two_sided(cpu const& b, cpu::const_view w,
                                                  cpu::hessian const& inputs,
                                                  cpu::hessian const& outputs, quant_order order,
                                                  double rel_damp, std::size_t budget,
                                                  quant_args const& args, float global_scale,
                                                  std::string_view name) {
    solve_options options;
    options.observer = observer_of(args, global_scale);
    options.order = order;
    options.rel_damp = rel_damp;
    options.threads = b.threads;
    return gptq_two_sided(w, inputs, outputs, rel_damp, budget, args.format, options, name);
}

namespace detail {

/// Calls descend(goal); with `outputs`, which may be null, towards the two-sided objective, whose
/// report it renews.
template <class F>
void descend_towards(cpu const& b, cpu::const_view w, cpu::hessian const& inputs,
                     cpu::hessian const* outputs, bool zero_dead, solve_result& solved,
                     F const& descend) {
    if (outputs == nullptr) {
        descend(descent_goal{inputs, nullptr, zero_dead});
        return;
    }
    row_coupling const coupling(*outputs, solved.report.row_damping, "outputs' second moment");
    descend(descent_goal{inputs, &coupling, zero_dead});
    two_sided_report(w, inputs, *outputs, b.threads, solved);
}

}  // namespace detail

/// The same towards the two-sided objective with `outputs`; null: towards the output error.
inline void solve_polish(cpu const& b, cpu::const_view w, cpu::hessian const& inputs,
                         cpu::hessian const* outputs, int passes, bool zero_dead,
                         solve_result& solved) {
    detail::descend_towards(
        b, w, inputs, outputs, zero_dead, solved,
        [&](descent_goal const& goal) { polish(w, goal, passes, b.threads, solved); });
}

/// Descent on scales and codes together, `outputs` as in solve_polish; see fpq::joint.
inline void solve_joint(cpu const& b, cpu::const_view w, cpu::hessian const& inputs,
                        cpu::hessian const* outputs, int sweeps, bool zero_dead,
                        solve_result& solved) {
    detail::descend_towards(
        b, w, inputs, outputs, zero_dead, solved,
        [&](descent_goal const& goal) { joint(w, goal, sweeps, b.threads, solved); });
}

}  // namespace fpq
