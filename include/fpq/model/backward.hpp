// SPDX-License-Identifier: Apache-2.0
// Floor 7. The backward pass of every family, from its table, one layer at a time: a layer's
// forward is made again from its stored input, then taken back. Gradients of inputs and of the
// outputs of linears only; weights get none. Inputs of linears are as the forward pass makes them;
// a hook may change what is told of them, which changes no gradient.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <utility>

#include "fpq/backend/labels.hpp"
#include "fpq/core/hosted/error.hpp"
#include "fpq/graph/architecture.hpp"
#include "fpq/graph/graph.hpp"
#include "fpq/model/forward.hpp"
#include "fpq/model/layer.hpp"
#include "fpq/model/linears.hpp"

namespace fpq {

/// What a caller may see of a backward pass.
template <class B>
struct gradient_hooks {
    /// Called once for each tap with x (tokens, width), before on_linear of its linears: what it
    /// writes is what they are told. From one thread at a time. May be empty.
    std::function<void(tap input, typename B::view x)> on_input;
    /// Called once for each linear of a layer, its row of the table, with x (tokens, in), what it
    /// reads or on_input made of that, and dy (tokens, out), the gradient at its output: before a
    /// norm, a residual or an activation is added to it. Taps come in reverse, linears of a tap in
    /// their order. From one thread at a time; both are gone after the call. May be empty.
    std::function<void(std::size_t row, typename B::const_view x, typename B::const_view dy)>
        on_linear;
};

/// What a layer's forward leaves for its backward.
template <class B>
struct layer_trace {
    typename B::tensor attention_input;  ///< what q, k and v read
    linear_outputs<B> qkv;               ///< q and k rotated
    typename B::tensor q, k;             ///< before norm and rotation; empty without head norms
    typename B::tensor mixed;            ///< what o reads
    linear_outputs<B> o;                 ///< before a norm
    typename B::tensor hidden;           ///< between the blocks
    typename B::tensor mlp_input;        ///< what gate and up read
    linear_outputs<B> gate_up;           ///< before the activation
    typename B::tensor middle;           ///< what down reads
    linear_outputs<B> down;              ///< before a norm; empty where there is none behind it
};

/// The forward of one layer over windows of `length` tokens from its input (windows * length,
/// hidden), without its last sum. Memory: about 6 hidden + 3 query + 2 kv + 3 intermediate values a
/// token. Throws fpq::error (input) for windows that the model cannot run.
template <class B>
[[nodiscard]] layer_trace<B> trace_layer(B const& b, decoder<B> const& network,
                                         decoder_layer<B> const& layer,
                                         typename B::const_view input, std::size_t length);

/// `gradient` (windows * length, hidden), at the layer's output, becomes that at its input, from
/// which `trace` was made and which is used up. Throws fpq::error (usage) for packed weights.
template <class B>
void backward_layer(B const& b, decoder<B> const& network, decoder_layer<B> const& layer,
                    typename B::const_view input, std::size_t length, layer_trace<B>&& trace,
                    gradient_hooks<B> const& hooks, typename B::view gradient);

/// Whose labels a backward pass takes.
enum class label_source : std::uint8_t {
    model,  ///< drawn from its own softmax at every position: gradients estimate the Fisher matrix
    text,   ///< the next token; the last position has none
    caller  ///< as they are given, tokens or no_label
};

struct label_rule {
    label_source from = label_source::model;
    std::uint64_t seed = 0;  ///< of label_source::model
};

/// gradient (tokens, hidden) = that of sum over tokens of -log p(label) at `hidden`, the last
/// layer's output for window number `window`, which holds `tokens`. labels and scores get what each
/// position's were. Drawn labels are a function of seed, window, position and logits.
template <class B>
void backward_head(B const& b, decoder<B> const& network, typename B::const_view hidden,
                   std::size_t window, std::span<std::int32_t const> tokens, label_rule const& rule,
                   std::span<std::int32_t> labels, std::span<label_score> scores,
                   typename B::score_workspace& held, typename B::view gradient);

namespace detail {

/// Philox streams of drawn labels, one a position; a window takes its own number of each.
inline constexpr std::uint64_t label_stream = std::uint64_t{0x6C6162656C} << 24;  // "label"

/// norm(x), or a copy of x where the layer has no such norm.
template <class B>
typename B::tensor normed(B const& b, decoder<B> const& network, typename B::vector const& norm,
                          typename B::const_view x) {
    auto y = make(b, x.rows, x.cols);
    if (norm.empty()) {
        copy(b, x, y.view());
    } else {
        rms_norm(b, x, norm, network.config().rms_norm_eps, y.view());
    }
    return y;
}

/// Gives each linear that reads `input` to the hooks, which may change x, and adds up dx (tokens,
/// width) from the gradients of their outputs.
template <class B>
void backward_linears(B const& b, model_graph const& graph, decoder_layer<B> const& layer,
                      tap input, typename B::view x, linear_outputs<B> const& gradients,
                      gradient_hooks<B> const& hooks, typename B::view dx) {
    if (hooks.on_input) {
        hooks.on_input(input, x);
    }
    std::size_t next = 0;
    for_each_linear(graph, layer, input, [&](std::size_t first) {
        linear_weights<B> const& w = layer.linears[first];
        if (!w.packed.empty()) {
            fail_usage("backward pass", graph.layer(0)[first].module, "a dense weight", "codes");
        }
        typename B::const_view const dy = gradients.buffers[next].view();
        std::size_t at = 0;
        for (std::size_t r = first; r <= first + w.joined; ++r) {
            std::size_t const width = graph.layer(0)[r].out;
            if (hooks.on_linear) {
                hooks.on_linear(r, x, dy.cols_at(at, width));
            }
            at += width;
        }
        linear_backward(b, dy, w.weight.view(), next != 0, dx);
        ++next;
    });
}

/// `gradient`, behind hidden + norm(y), is carried to the outputs y of the linear of a block.
template <class B>
linear_outputs<B> backward_block(B const& b, decoder<B> const& network,
                                 decoder_layer<B> const& layer, tap input, part which,
                                 norm_place place, linear_outputs<B> const& y,
                                 typename B::const_view gradient) {
    auto dy = make_outputs(b, network.graph(), layer, input, gradient.rows);
    auto const& norm = layer.norm(place);
    if (norm.empty()) {
        copy(b, gradient, dy.at(which));
    } else {
        rms_norm_backward(b, y.at(which), norm, network.config().rms_norm_eps, gradient,
                          dy.at(which));
    }
    return dy;
}

/// gradient += what comes through norm(hidden) from dx; dx is used up.
template <class B>
void add_through_norm(B const& b, decoder<B> const& network, typename B::vector const& norm,
                      typename B::const_view hidden, typename B::view dx,
                      typename B::view gradient) {
    if (!norm.empty()) {
        rms_norm_backward(b, hidden, norm, network.config().rms_norm_eps, dx, dx);
    }
    add(b, gradient, dx);
}

}  // namespace detail

template <class B>
layer_trace<B> trace_layer(B const& b, decoder<B> const& network, decoder_layer<B> const& layer,
                           typename B::const_view input, std::size_t length) {
    model_config const& c = network.config();
    c.require_sequence(length);
    auto const table = network.rope(b, length);
    auto const linears = [&](tap at, typename B::const_view x) {
        return apply_linears<B>(b, network.graph(), layer, at, x);
    };
    layer_trace<B> t;
    t.attention_input = detail::normed(b, network, layer.norm(norm_place::attention_input), input);
    t.qkv = linears(tap::attention_input, t.attention_input.view());
    auto const q = t.qkv.at(part::q);
    auto const k = t.qkv.at(part::k);
    if (!layer.norm(norm_place::query_head).empty() || !layer.norm(norm_place::key_head).empty()) {
        t.q = make(b, q.rows, q.cols);
        t.k = make(b, k.rows, k.cols);
        copy(b, q, t.q.view());
        copy(b, k, t.k.view());
    }
    network.rotate_qk(b, layer, q, k, *table, {length, 0, 1});
    t.mixed = make(b, input.rows, c.query_size());
    attention(b, q, k, t.qkv.at(part::v), network.heads(), length, t.mixed.view());

    t.o = linears(tap::attention_output, t.mixed.view());
    t.hidden =
        detail::normed(b, network, layer.norm(norm_place::attention_output), t.o.at(part::o));
    add(b, t.hidden.view(), input);

    t.mlp_input = detail::normed(b, network, layer.norm(norm_place::mlp_input), t.hidden.view());
    t.gate_up = linears(tap::mlp_input, t.mlp_input.view());
    t.middle = make(b, input.rows, c.intermediate_size);
    copy(b, t.gate_up.at(part::gate), t.middle.view());
    silu_mul(b, t.middle.view(), t.gate_up.at(part::up));
    if (!layer.norm(norm_place::mlp_output).empty()) {
        t.down = linears(tap::mlp_middle, t.middle.view());
    }
    return t;
}

template <class B>
void backward_layer(B const& b, decoder<B> const& network, decoder_layer<B> const& layer,
                    typename B::const_view input, std::size_t length, layer_trace<B>&& trace,
                    gradient_hooks<B> const& hooks, typename B::view gradient) {
    model_graph const& graph = network.graph();
    layer_trace<B> t = std::move(trace);
    auto const norm = [&](norm_place place) ->
        typename B::vector const& { return layer.norm(place); };
    auto dx = make(b, input.rows, input.cols);
    {
        auto const dy = detail::backward_block(b, network, layer, tap::mlp_middle, part::down,
                                               norm_place::mlp_output, t.down, gradient);
        auto dmiddle = make(b, t.middle.rows(), t.middle.cols());
        detail::backward_linears(b, graph, layer, tap::mlp_middle, t.middle.view(), dy, hooks,
                                 dmiddle.view());
        silu_mul_backward(b, dmiddle.view(), t.gate_up.at(part::gate), t.gate_up.at(part::up));
    }
    detail::backward_linears(b, graph, layer, tap::mlp_input, t.mlp_input.view(), t.gate_up, hooks,
                             dx.view());
    detail::add_through_norm(b, network, norm(norm_place::mlp_input), t.hidden.view(), dx.view(),
                             gradient);

    auto const dqkv = make_outputs(b, graph, layer, tap::attention_input, input.rows);
    {
        auto const dy = detail::backward_block(b, network, layer, tap::attention_output, part::o,
                                               norm_place::attention_output, t.o, gradient);
        auto dmixed = make(b, t.mixed.rows(), t.mixed.cols());
        detail::backward_linears(b, graph, layer, tap::attention_output, t.mixed.view(), dy, hooks,
                                 dmixed.view());
        attention_backward(b, t.qkv.at(part::q), t.qkv.at(part::k), t.qkv.at(part::v),
                           dmixed.view(), network.heads(), length, dqkv.at(part::q),
                           dqkv.at(part::k), dqkv.at(part::v));
    }
    rotate_backward(b, t.q.view(), t.k.view(), graph.config().head_dim,
                    norm(norm_place::query_head), norm(norm_place::key_head),
                    graph.config().rms_norm_eps, *network.rope(b, length), {length, 0, 1},
                    dqkv.at(part::q), dqkv.at(part::k));
    detail::backward_linears(b, graph, layer, tap::attention_input, t.attention_input.view(), dqkv,
                             hooks, dx.view());
    detail::add_through_norm(b, network, norm(norm_place::attention_input), input, dx.view(),
                             gradient);
}

template <class B>
void backward_head(B const& b, decoder<B> const& network, typename B::const_view hidden,
                   std::size_t window, std::span<std::int32_t const> tokens, label_rule const& rule,
                   std::span<std::int32_t> labels, std::span<label_score> scores,
                   typename B::score_workspace& held, typename B::view gradient) {
    auto x = make(b, hidden.rows, hidden.cols);
    rms_norm(b, hidden, network.final_norm(), network.config().rms_norm_eps, x.view());
    label_draw const draw{rule.seed, detail::label_stream, window};
    for (std::size_t t = 0; t < tokens.size() && rule.from == label_source::text; ++t) {
        labels[t] = t + 1 < tokens.size() ? tokens[t + 1] : no_label;
    }
    head_backward(b, x.view(), network.head_table(),
                  rule.from == label_source::model ? &draw : nullptr, labels, scores, gradient,
                  held);
    rms_norm_backward(b, hidden, network.final_norm(), network.config().rms_norm_eps, gradient,
                      gradient);
}

}  // namespace fpq
