// SPDX-License-Identifier: Apache-2.0
// Floor 8. How long a run will take on this machine: operations are counted from the plan, rates
// are measured with the products and the rounding that the run uses.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <variant>
#include <vector>

#include "fpq/backend/backend.hpp"
#include "fpq/graph/graph.hpp"
#include "fpq/graph/scheme.hpp"
#include "fpq/method/methods.hpp"
#include "fpq/pipeline/plan.hpp"
#include "fpq/solve/smooth.hpp"

namespace fpq {

/// Of a whole run.
struct run_work {
    double products = 0.0;        ///< floating-point operations of products of float32 matrices
    double attention = 0.0;       ///< of causal attention
    double solving = 0.0;         ///< of GPTQ, polish and their factorizations
    std::vector<double> rounded;  ///< values rounded with the weight rule of each scheme
    double bytes = 0.0;           ///< read and written
};

/// What a sweep of joint costs a value beside its products, in operations of a solver's products:
/// its groups are searched one value after the other, NVFP4 in half a microsecond (measured).
inline constexpr double joint_work = 20000.0;

/// Counts the operations of a plan. `evaluation_tokens`: of all windows of its evaluation.
inline run_work count_work(run_plan const& plan, model_graph const& graph,
                           std::size_t evaluation_tokens) {
    run_work work;
    work.rounded.resize(plan.schemes.size());
    method_needs const needs = needs_of(plan.methods);
    double const calibration = static_cast<double>(plan.calibration_tokens);
    double const evaluation = static_cast<double>(evaluation_tokens);
    model_config const& c = graph.config();
    // Every layer runs twice over the calibration text (watched, then quantized), and twice over
    // that of an evaluation (the original, then quantized).
    // A backward pass: once forward, once more for what it needs, and back.
    // Smoothing watches once more.
    bool const smooths = plan.smoothing.acts();
    double const passes = (needs.output_moment ? 4.0
                           : smooths           ? 3.0
                                               : 2.0) *
                              calibration +
                          2.0 * evaluation;
    double const candidates =
        smooths ? static_cast<double>(smooth_candidates(plan.smoothing)) : 0.0;
    double const sample = std::min(static_cast<double>(smooth_tokens), calibration);
    double solve_per_square = 0.0;  // operations for each (out, in, in)
    double solve_per_value = 0.0;   // for each (out, in)
    for (method const& m : plan.methods) {
        if (std::holds_alternative<gptq_method>(m) || std::holds_alternative<two_sided_method>(m)) {
            solve_per_square += 1.0;
        } else if (auto const* const polish = std::get_if<polish_method>(&m)) {
            solve_per_square += 2.0 + 2.0 * static_cast<double>(polish->passes);
        } else if (auto const* const joint = std::get_if<joint_method>(&m)) {
            solve_per_square += 2.0 + 2.0 * static_cast<double>(joint->sweeps);
            solve_per_value += joint_work * static_cast<double>(joint->sweeps);
        }
    }
    auto const one = [&](linear_node const& node, bool first_of_tap) {
        double const in = static_cast<double>(node.in);
        double const out = static_cast<double>(node.out);
        scheme const* const s = plan.scheme_of(graph, node);
        if (s == nullptr || !s->weight) {
            return;
        }
        work.rounded[static_cast<std::size_t>(s - plan.schemes.data())] += in * out;
        if (node.layer < graph.layers()) {
            work.rounded[static_cast<std::size_t>(s - plan.schemes.data())] +=
                candidates * in * out;
            work.products += candidates * 2.0 * sample * in * out;
        }
        if (needs.output_moment) {  // both moments, and their factors, are the linear's own
            work.products += calibration * (in * in + out * out);
            work.solving += (solve_per_square + 4.0) * out * in * (in + out) +
                            solve_per_value * out * in + in * in * in + out * out * out;
        }
        if (needs.second_moment) {
            work.products += first_of_tap ? calibration * in * in : 0.0;  // the lower half
            work.solving += (solve_per_square + 2.0) * out * in * in +    // its error is 2
                            solve_per_value * out * in +
                            (first_of_tap ? in * in * in : 0.0);  // factor and inverse
        }
    };
    for (std::size_t layer = 0; layer < graph.layers(); ++layer) {
        std::array<bool, tap_count> seen{};
        for (linear_node const& node : graph.layer(layer)) {
            bool& counted = seen[static_cast<std::size_t>(node.input)];
            work.products += passes * 2.0 * static_cast<double>(node.values());
            one(node, !counted);
            counted = true;
        }
        work.attention += passes * 2.0 * static_cast<double>(plan.calibration.sequence_length) *
                          static_cast<double>(c.heads * c.head_dim);
    }
    one(graph.head(), true);
    work.products += 2.0 * evaluation * 2.0 * static_cast<double>(c.vocab_size) *
                     static_cast<double>(c.hidden_size);
    for (plan_entry const& entry : plan.entries) {
        work.bytes += 2.0 * static_cast<double>(entry.bytes_in);  // checked, then used
    }
    work.bytes += plan.output ? 2.0 * static_cast<double>(plan.output->bytes) : 0.0;
    return work;
}

namespace detail {

/// Seconds of one call of `f`, the least of a few, at most about 0.2 s spent.
template <class F>
double seconds_of(F f) {
    using clock = std::chrono::steady_clock;
    double least = 1e30;
    double spent = 0.0;
    for (int i = 0; i < 5 && spent < 0.2; ++i) {
        auto const begin = clock::now();
        f();
        double const took = std::chrono::duration<double>(clock::now() - begin).count();
        least = std::min(least, took);
        spent += took;
    }
    return least;
}

}  // namespace detail

/// Seconds that `work` takes on `b`, from rates measured now (under a second).
template <class B>
double estimate_seconds(B const& b, run_plan const& plan, run_work const& work) {
    auto const filled = [&](std::size_t rows, std::size_t cols) {
        std::vector<float> values(rows * cols);
        for (std::size_t i = 0; i < values.size(); ++i) {
            values[i] = std::sin(static_cast<float>(i * 7919 % 65521));
        }
        return upload(b, as_view<float const>(values.data(), rows, cols));
    };
    double seconds = 0.0;
    if (work.products + work.attention + work.solving > 0.0) {
        constexpr std::size_t n = B::is_queued ? 4096 : 768;  // what fills it
        tensor<B> const x = filled(n, n);
        tensor<B> const w = filled(n, n);
        tensor<B> y = make(b, n, n);
        double const took = detail::seconds_of([&] {
            linear(b, x.view(), w.view(), {}, y.view());
            wait(b);
        });
        double const rate = 2.0 * static_cast<double>(n * n * n) / took;
        // Attention runs in smaller products than linears, and a solver partly column by column
        // and, on a card, in float32.
        double const solver = B::is_queued ? 12.0 : 2.0;
        seconds += (work.products + 2.0 * work.attention + solver * work.solving) / rate;
    }
    for (std::size_t i = 0; i < plan.schemes.size(); ++i) {
        if (work.rounded[i] == 0.0) {
            continue;
        }
        constexpr std::size_t rows = B::is_queued ? 8192 : 128;
        constexpr std::size_t cols = 2048;
        tensor<B> const values = filled(rows, cols);
        tensor<B> x = make(b, rows, cols);
        double const took = detail::seconds_of([&] {
            copy(b, values.view(), x.view());
            fake_quantize(b, *plan.schemes[i].weight, 1.0F, x.view());
            wait(b);
        });
        seconds += work.rounded[i] * took / static_cast<double>(rows * cols);
    }
    constexpr double bytes_a_second = 2e9;  // files in the page cache or on a fast disk
    return seconds + work.bytes / bytes_a_second;
}

}  // namespace fpq
