// SPDX-License-Identifier: Apache-2.0
// Floor 5. Where a scale per channel of a tap can be folded: what makes the values there is linear
// in a norm's weight, or in rows of a linear of the same layer, so that dividing these and
// multiplying the columns of the linears that read the tap leaves the model what it was.
#pragma once

#include <cstddef>
#include <optional>

#include "fpq/graph/architecture.hpp"
#include "fpq/graph/graph.hpp"
#include "fpq/graph/model_config.hpp"

namespace fpq {

/// What is divided. `norm`, or rows [first_row, first_row + channels) of the linear `row` of the
/// table, and of its bias.
struct fold_target {
    std::optional<norm_place> norm;
    std::size_t row = 0;
    std::size_t first_row = 0;
    std::size_t channels = 0;  ///< scales that can be chosen; the values of a tap may share some
};

namespace detail {

/// The rows of a layer's linears that hold `which`; nothing where no linear does.
inline std::optional<fold_target> rows_of_part(model_graph const& graph, part which) {
    auto const rows = graph.family().linears;
    for (std::size_t r = 0; r < rows.size(); ++r) {
        std::size_t begin = 0;
        for (std::size_t i = 0; i < rows[r].part_count; ++i) {
            std::size_t const width = part_width(graph.config(), rows[r].parts[i]);
            if (rows[r].parts[i] == which) {
                return fold_target{std::nullopt, r, begin, width};
            }
            begin += width;
        }
    }
    return std::nullopt;
}

}  // namespace detail

/// Where scales of the values at a tap of a layer go: the norm before attention or MLP, v's rows
/// for what attention gives (a mean of values, whatever the weights of that mean), up's rows for
/// what down reads (a product with up). Nothing where no norm stands before a block, and for the
/// head.
[[nodiscard]] inline std::optional<fold_target> fold_target_of(model_graph const& graph, tap at) {
    auto const norm = [&graph](norm_place place) {
        return graph.family().has_norm(place)
                   ? std::optional(fold_target{place, 0, 0, graph.config().hidden_size})
                   : std::nullopt;
    };
    switch (at) {
        case tap::attention_input:
            return norm(norm_place::attention_input);
        case tap::attention_output:
            return detail::rows_of_part(graph, part::v);
        case tap::mlp_input:
            return norm(norm_place::mlp_input);
        case tap::mlp_middle:
            return detail::rows_of_part(graph, part::up);
        case tap::head_input:
            break;
    }
    return std::nullopt;
}

/// The channel of the target that makes value j of a tap. Query heads of a group read one key/value
/// head, and share its scales.
[[nodiscard]] inline std::size_t fold_channel(model_config const& config, tap at,
                                              std::size_t j) noexcept {
    if (at != tap::attention_output) {
        return j;
    }
    std::size_t const head = j / config.head_dim / (config.heads / config.kv_heads);
    return head * config.head_dim + j % config.head_dim;
}

}  // namespace fpq
