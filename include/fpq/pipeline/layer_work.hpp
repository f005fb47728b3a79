// SPDX-License-Identifier: Apache-2.0
// Floor 8. One decoder layer: rotate its weights, watch its inputs, find the global scales that
// fused linears share, let the methods work on each group. Holds the statistics of one layer at a
// time; knows nothing of checkpoints, text or files.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "fpq/backend/scale_args.hpp"
#include "fpq/core/half.hpp"
#include "fpq/core/hosted/ranks.hpp"
#include "fpq/graph/graph.hpp"
#include "fpq/graph/scheme.hpp"
#include "fpq/method/methods.hpp"
#include "fpq/model/layer.hpp"
#include "fpq/pipeline/gradient_statistics.hpp"
#include "fpq/pipeline/plan.hpp"
#include "fpq/pipeline/report.hpp"
#include "fpq/pipeline/report_line.hpp"
#include "fpq/pipeline/sink.hpp"
#include "fpq/pipeline/streams.hpp"
#include "fpq/quant/error_stats.hpp"
#include "fpq/quant/saturate.hpp"
#include "fpq/transform/transform.hpp"

namespace fpq {

/// The transform of a scheme. Its matrix is rounded to bf16 for the kinds that clients run, as they
/// hold it so: see transform_args.
inline block_transform transform_of(transform_args const& args) {
    block_transform exact = block_transform::make(args.kind, args.block, args.seed);
    if (args.is_identity() || !is_client_transform(args.kind)) {
        return exact;
    }
    std::vector<float> rounded = exact.matrix();
    for (float& value : rounded) {
        value = round_to_bf16(value);
    }
    return block_transform::from_matrix(exact.block(), rounded, transform_kind::orthogonal);
}

/// The transforms of a plan, one a scheme; empty for the identity.
using scheme_transforms = std::vector<std::optional<block_transform>>;

inline scheme_transforms transforms_of(run_plan const& plan) {
    scheme_transforms out;
    for (scheme const& s : plan.schemes) {
        out.push_back(s.transform.is_identity() ? std::nullopt
                                                : std::optional(transform_of(s.transform)));
    }
    return out;
}

namespace detail {

/// The rms of the largest channel over that of all, of the diagonal of a second moment; nothing
/// where no input was other than 0.
inline std::optional<double> peak_of(std::vector<float> const& diagonal) {
    double sum = 0.0;
    double most = 0.0;
    for (float const square : diagonal) {
        sum += static_cast<double>(square);
        most = std::max(most, static_cast<double>(square));
    }
    return sum > 0.0 ? std::optional(std::sqrt(most * static_cast<double>(diagonal.size()) / sum))
                     : std::nullopt;
}

}  // namespace detail

/// What the calibration saw of one tap.
template <class B>
struct input_statistics {
    std::unique_ptr<typename B::moment> second_moment;
    float amax = 0.0F;  // of the transformed input
};

/// Global scales of inputs, by tap.
using input_scales = std::array<float, tap_count>;

template <class B>
class layer_work {
public:
    /// All references outlive the object.
    layer_work(B const& b, rank_group& ranks, run_plan const& plan, model_graph const& graph,
               scheme_transforms const& transforms)
        : backend_(b),
          ranks_(ranks),
          plan_(plan),
          graph_(graph),
          transforms_(transforms),
          needs_(needs_of(plan.methods)) {}

    /// True when some linear of the layer must see inputs before it is solved: layers() means the
    /// head.
    [[nodiscard]] bool needs_inputs(std::size_t layer) const;

    /// w' = w M^-T for the linears that have a transform.
    void transform_layer(std::size_t layer, decoder_layer<B>& weights) const;

    /// Hooks of the calibration forward over some of `windows`: x becomes its transform, is
    /// recorded, then quantized, each window with a global scale of its own. Windows come in order.
    [[nodiscard]] layer_hooks<B> observing_hooks(std::size_t layer, window_range at,
                                                 std::size_t windows);

    /// Hooks of the forward that the quantized model will do.
    [[nodiscard]] layer_hooks<B> quantized_hooks(std::size_t layer,
                                                 input_scales const& scales) const;

    /// What a backward pass is told of the inputs x at a tap: they become their transform, whose
    /// largest size is kept where a global scale follows from it.
    void prepare_inputs(std::size_t layer, tap input, typename B::view x);

    /// What a backward pass found out about the linears of a layer, until forget().
    void take(std::vector<gradient_statistics<B>> found) { gradients_ = std::move(found); }

    /// All windows have been seen: what the ranks saw is joined.
    void finish_observing();

    /// One scale for each tap, from all windows seen: the smallest G, the widest range.
    [[nodiscard]] input_scales find_input_scales(std::size_t layer) const;

    /// The groups of a layer that engines fuse; the head alone for layers().
    [[nodiscard]] std::vector<std::vector<linear_node const*>> groups(std::size_t layer) const;

    /// Lets the methods work on one group and replaces its weights (in the transformed basis) by
    /// the decoded ones, rounded to bf16. Gives what was solved, in the order of the nodes.
    [[nodiscard]] std::vector<quantized_linear> solve(std::vector<linear_node const*> const& nodes,
                                                      std::vector<typename B::view> const& weights,
                                                      input_scales const& scales,
                                                      run_report& report);

    /// Forgets what was seen of a layer.
    void forget();

    [[nodiscard]] block_transform const* transform(scheme const* s) const;

private:
    static constexpr std::size_t index(tap input) noexcept {
        return static_cast<std::size_t>(input);
    }

    [[nodiscard]] scheme const* scheme_at(std::size_t layer, tap input) const;

    template <class F>
    void for_each_node(std::size_t layer, F f) const {
        if (layer == graph_.layers()) {
            f(graph_.head());
            return;
        }
        for (linear_node const& node : graph_.layer(layer)) {
            f(node);
        }
    }

    B backend_;
    rank_group& ranks_;
    run_plan const& plan_;
    model_graph const& graph_;
    scheme_transforms const& transforms_;
    method_needs needs_;
    std::array<input_statistics<B>, tap_count> statistics_;
    std::array<std::optional<typename B::hessian>, tap_count> finished_;
    std::vector<gradient_statistics<B>> gradients_;  // of the layer at hand
};

template <class B>
bool layer_work<B>::needs_inputs(std::size_t layer) const {
    bool needed = false;
    for_each_node(layer, [&](linear_node const& node) {
        scheme const* const s = plan_.scheme_of(graph_, node);
        needed = needed || (s != nullptr && s->weight && needs_.second_moment) ||
                 (s != nullptr && s->input && s->input->format.has_global);
    });
    return needed;
}

template <class B>
void layer_work<B>::transform_layer(std::size_t layer, decoder_layer<B>& weights) const {
    for (linear_node const& node : graph_.layer(layer)) {
        if (block_transform const* const t = transform(plan_.scheme_of(graph_, node))) {
            transform_weights(backend_, *t, weights.linears[node.row].weight);
        }
    }
}

template <class B>
layer_hooks<B> layer_work<B>::observing_hooks(std::size_t layer, window_range at,
                                              std::size_t windows) {
    layer_hooks<B> hooks;
    hooks.on_input = [this, layer, at, windows](tap input, typename B::view x) {
        scheme const* const s = scheme_at(layer, input);
        if (s == nullptr) {
            return;
        }
        if (block_transform const* const t = transform(s)) {
            transform_inputs(backend_, *t, x);
        }
        input_statistics<B>& seen = statistics_[index(input)];
        if (needs_.second_moment && s->weight) {
            if (!seen.second_moment) {
                seen.second_moment = make_moment(backend_, ranks_, x.cols, windows);
            }
            accumulate(backend_, *seen.second_moment, at.first, at.count, x);
        }
        if (!s->input) {
            return;
        }
        if (!s->input->format.has_global) {
            fake_quantize(backend_, *s->input, global_scale_of(*s->input, 0.0F), x);
            return;
        }
        std::size_t const tokens = x.rows / at.count;
        std::vector<float> const most = window_amax(backend_, x, at.count);
        for (std::size_t w = 0; w < at.count; ++w) {
            seen.amax = std::max(seen.amax, most[w]);
            fake_quantize(backend_, *s->input, global_scale_of(*s->input, most[w]),
                          x.rows_at(w * tokens, tokens));
        }
    };
    return hooks;
}

template <class B>
layer_hooks<B> layer_work<B>::quantized_hooks(std::size_t layer, input_scales const& scales) const {
    layer_hooks<B> hooks;
    hooks.on_input = [this, layer, scales](tap input, typename B::view x) {
        scheme const* const s = scheme_at(layer, input);
        if (s == nullptr) {
            return;
        }
        if (block_transform const* const t = transform(s)) {
            transform_inputs(backend_, *t, x);
        }
        if (s->input) {
            fake_quantize(backend_, *s->input, scales[index(input)], x);
        }
    };
    return hooks;
}

template <class B>
void layer_work<B>::prepare_inputs(std::size_t layer, tap input, typename B::view x) {
    scheme const* const s = scheme_at(layer, input);
    if (block_transform const* const t = transform(s)) {
        transform_inputs(backend_, *t, x);
    }
    if (s != nullptr && s->input && s->input->format.has_global) {
        float& most = statistics_[index(input)].amax;
        most = std::max(most, amax(backend_, x));
    }
}

template <class B>
void layer_work<B>::finish_observing() {
    std::array<float, tap_count> most{};
    for (std::size_t i = 0; i < tap_count; ++i) {
        most[i] = statistics_[i].amax;
    }
    share_maxima(ranks_, most);
    for (std::size_t i = 0; i < tap_count; ++i) {
        statistics_[i].amax = most[i];
        if (auto const moment = std::move(statistics_[i].second_moment)) {
            finished_[i].emplace(finish(backend_, ranks_, std::move(*moment)));
        }
    }
}

template <class B>
input_scales layer_work<B>::find_input_scales(std::size_t layer) const {
    input_scales scales;
    scales.fill(1.0F);
    for_each_node(layer, [&](linear_node const& node) {
        scheme const* const s = plan_.scheme_of(graph_, node);
        if (s != nullptr && s->input) {
            scales[index(node.input)] =
                global_scale_of(*s->input, statistics_[index(node.input)].amax);
        }
    });
    return scales;
}

template <class B>
std::vector<std::vector<linear_node const*>> layer_work<B>::groups(std::size_t layer) const {
    return layer == graph_.layers() ? std::vector<std::vector<linear_node const*>>{{&graph_.head()}}
                                    : graph_.groups(layer);
}

template <class B>
std::vector<quantized_linear> layer_work<B>::solve(std::vector<linear_node const*> const& nodes,
                                                   std::vector<typename B::view> const& weights,
                                                   input_scales const& scales, run_report& report) {
    scheme const& s = *plan_.scheme_of(graph_, *nodes.front());
    linear_group<B> group;
    group.args = *s.weight;
    std::vector<float> sizes;
    for (std::size_t i = 0; i < nodes.size(); ++i) {
        group.members.push_back({nodes[i]->module, weights[i], {}});
        for (gradient_statistics<B> const& g : gradients_) {
            if (g.node->module == nodes[i]->module) {
                group.members.back().weighted_moment = &g.inputs;
                group.members.back().output_moment = g.outputs ? &*g.outputs : nullptr;
            }
        }
        sizes.push_back(amax(backend_, weights[i]));
    }
    float const most = *std::max_element(sizes.begin(), sizes.end());
    group.global_scale = global_scale_of(group.args, most);
    std::optional<typename B::hessian> const& seen = finished_[index(nodes.front()->input)];
    group.second_moment = seen ? &*seen : nullptr;
    std::optional<double> const input_peak =
        seen ? detail::peak_of(diagonal(backend_, *seen)) : std::nullopt;
    apply(backend_, plan_.methods, group);
    std::vector<quantized_linear> solved;
    for (std::size_t i = 0; i < nodes.size(); ++i) {
        solve_result& result = group.members[i].result;
        if (most >= largest_safe_maximum) {
            saturate_to_finite(result.weight);
            changed_on_host(backend_, result.weight);
        }
        local_loss local;
        error_stats const error = decode_weights(backend_, result.weight.view(), weights[i], local);
        linear_report line = detail::line_of(graph_, *nodes[i]);
        line.dead_columns = result.report.dead_columns;
        line.set_loss(error, local);
        line.set_weight_peak(static_cast<double>(sizes[i]), error.signal);
        line.input_peak = input_peak;
        if (seen || !gradients_.empty()) {
            line.objective = result.report.objective;
            if (result.report.energy > 0.0) {
                line.relative_error = result.report.relative_error;
            }
        }
        line.damping_retries = result.report.damping_retries;
        line.damping = result.report.damping;
        line.row_damping = result.report.row_damping;
        line.global_scale = result.weight.global_scale;
        line.input_global_scale = scales[index(nodes[i]->input)];
        report.add(std::move(line),
                   result.weight.format.bytes(result.weight.rows, result.weight.cols));
        solved.push_back({nodes[i]->module, std::move(result.weight),
                          scales[index(nodes[i]->input)], transform(&s)});
    }
    return solved;
}

template <class B>
void layer_work<B>::forget() {
    statistics_ = {};
    finished_ = {};
    gradients_.clear();
    release_scratch(backend_);
}

template <class B>
block_transform const* layer_work<B>::transform(scheme const* s) const {
    if (s == nullptr) {
        return nullptr;
    }
    auto const& t = transforms_[static_cast<std::size_t>(s - plan_.schemes.data())];
    return t ? &*t : nullptr;
}

template <class B>
scheme const* layer_work<B>::scheme_at(std::size_t layer, tap input) const {
    return input == tap::head_input ? plan_.scheme_of(graph_, graph_.head())
                                    : plan_.input_scheme(graph_, layer, input);
}

}  // namespace fpq
