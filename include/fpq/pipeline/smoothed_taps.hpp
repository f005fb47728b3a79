// SPDX-License-Identifier: Apache-2.0
// Floor 8. Which inputs of a plan's layers have scales folded, and the plain tensors that change
// by it.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string>

#include "fpq/graph/architecture.hpp"
#include "fpq/graph/fold.hpp"
#include "fpq/graph/graph.hpp"
#include "fpq/pipeline/plan.hpp"

namespace fpq {

/// The inputs of a decoder layer, in the order in which it reads them.
inline constexpr std::array<tap, 4> layer_taps{tap::attention_input, tap::attention_output,
                                               tap::mlp_input, tap::mlp_middle};

/// Where the scales of a tap's channels are folded; nothing where they are not: no smoothing, no
/// target, or a weight at either end that stays as it is.
[[nodiscard]] inline std::optional<fold_target> smoothed_target(run_plan const& plan,
                                                                model_graph const& graph,
                                                                std::size_t layer, tap at) {
    if (!plan.smoothing.acts()) {
        return std::nullopt;
    }
    std::optional<fold_target> target = fold_target_of(graph, at);
    if (!target) {
        return std::nullopt;
    }
    for (linear_node const& node : graph.layer(layer)) {
        bool const ends = node.input == at || (!target->norm && node.row == target->row);
        scheme const* const s = plan.scheme_of(graph, node);
        if (ends && (s == nullptr || !s->weight)) {
            return std::nullopt;
        }
    }
    return target;
}

/// The norm or bias that folding at a tap changes; empty: none.
[[nodiscard]] inline std::string folded_tensor(model_graph const& graph, std::size_t layer,
                                               fold_target const& target) {
    if (!target.norm) {
        linear_node const& made_by = graph.layer(layer)[target.row];
        return made_by.bias ? made_by.bias_name() : std::string();
    }
    for (norm_node const& norm : graph.norms(layer)) {
        if (norm.place == *target.norm) {
            return norm.tensor;
        }
    }
    return {};
}

}  // namespace fpq
