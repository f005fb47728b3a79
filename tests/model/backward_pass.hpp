// SPDX-License-Identifier: Apache-2.0
// Test support. The backward pass of a whole model on one window, all layers held.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <vector>

#include "fpq/backend/cpu/load.hpp"
#include "fpq/model/backward.hpp"
#include "line/backward.hpp"

namespace fpq_test {

/// A copy of what a hook saw of a linear.
struct seen_linear {
    std::size_t layer, row;
    fpq::cpu::tensor x, dy;
};

struct backward_result {
    std::vector<std::int32_t> labels;
    std::vector<fpq::label_score> scores;
    std::vector<seen_linear> linears;  // in the order of the calls
    fpq::cpu::tensor embedding;        // (tokens, hidden) gradient

    [[nodiscard]] seen_linear const& at(std::size_t layer, std::size_t row) const {
        for (seen_linear const& one : linears) {
            if (one.layer == layer && one.row == row) {
                return one;
            }
        }
        throw std::logic_error("no such linear was seen");
    }
};

inline fpq::cpu::tensor copy_of(fpq::cpu::const_view x) { return fpq::upload(fpq::cpu{1}, x); }

/// layer(i) gives the weights of layer i. `windows` windows stand one below the other in `tokens`,
/// the first is number `first`.
template <class Layer>
backward_result backward_pass(int threads, fpq::decoder<fpq::cpu> const& network,
                              Layer const& layer, std::vector<std::int32_t> const& tokens,
                              std::size_t windows, std::size_t first, fpq::label_rule const& rule,
                              std::vector<std::int32_t> const& labels = {}) {
    fpq::cpu const b{threads};
    std::size_t const length = tokens.size() / windows;
    std::size_t const layers = network.config().layers;
    fpq::cpu::tensor hidden(tokens.size(), network.config().hidden_size);
    network.embed_tokens(b, tokens, hidden.view());
    std::vector<fpq::cpu::tensor> inputs;
    for (std::size_t i = 0; i < layers; ++i) {
        inputs.push_back(hidden);
        network.forward_layer(b, layer(i), hidden.view(), length, {});
    }
    backward_result out;
    out.labels = labels;
    out.labels.resize(tokens.size());
    out.scores.resize(tokens.size());
    out.embedding = fpq::cpu::tensor(hidden.rows(), hidden.cols());
    fpq::cpu::view const gradient = out.embedding.view();
    fpq::cpu::score_workspace held;
    for (std::size_t w = 0; w < windows; ++w) {
        std::size_t const at = w * length;
        fpq::backward_head<fpq::cpu>(
            b, network, hidden.view().rows_at(at, length), first + w,
            std::span(tokens).subspan(at, length), rule, std::span(out.labels).subspan(at, length),
            std::span(out.scores).subspan(at, length), held, gradient.rows_at(at, length));
    }
    for (std::size_t i = layers; i-- > 0;) {
        fpq::decoder_layer<fpq::cpu> const& weights = layer(i);
        fpq::gradient_hooks<fpq::cpu> hooks;
        hooks.on_linear = [&](std::size_t row, fpq::cpu::const_view x, fpq::cpu::const_view dy) {
            out.linears.push_back({i, row, copy_of(x), copy_of(dy)});
        };
        fpq::backward_layer<fpq::cpu>(
            b, network, weights, inputs[i].view(), length,
            fpq::trace_layer<fpq::cpu>(b, network, weights, inputs[i].view(), length), hooks,
            gradient);
    }
    return out;
}

}  // namespace fpq_test
