// SPDX-License-Identifier: Apache-2.0
// Floor 7. The linears of a layer that read one tap, in the order of the family's table: their
// outputs, where a forward pass computes them and where a backward pass has their gradients.
#pragma once

#include <array>
#include <cstddef>
#include <vector>

#include "fpq/graph/architecture.hpp"
#include "fpq/graph/graph.hpp"
#include "fpq/model/layer.hpp"

namespace fpq {

/// One buffer for each linear that reads a tap, (tokens, out), and the parts as columns of them.
template <class B>
struct linear_outputs {
    std::vector<typename B::tensor> buffers;
    std::array<typename B::view, 8> parts{};

    [[nodiscard]] typename B::view at(part which) const noexcept {
        return parts[static_cast<std::size_t>(which)];
    }
};

/// f(r) for each row of the table that reads `input`, but those joined to one before them.
template <class B, class F>
void for_each_linear(model_graph const& graph, decoder_layer<B> const& layer, tap input,
                     F const& f) {
    auto const rows = graph.family().linears;
    for (std::size_t r = 0; r < rows.size(); ++r) {
        if (rows[r].input == input) {
            f(r);
            r += layer.linears[r].joined;
        }
    }
}

/// Uninitialized outputs of the linears that read `input`, for so many tokens.
template <class B>
[[nodiscard]] linear_outputs<B> make_outputs(B const& b, model_graph const& graph,
                                             decoder_layer<B> const& layer, tap input,
                                             std::size_t tokens) {
    linear_outputs<B> out;
    for_each_linear(graph, layer, input, [&](std::size_t first) {
        std::size_t const last = first + layer.linears[first].joined;
        out.buffers.push_back(make(b, tokens, layer.linears[first].out_features()));
        auto const y = out.buffers.back().view();
        std::size_t at = 0;
        for (std::size_t r = first; r <= last; ++r) {
            linear_row const& row = graph.family().linears[r];
            for (std::size_t i = 0; i < row.part_count; ++i) {
                std::size_t const width = part_width(graph.config(), row.parts[i]);
                out.parts[static_cast<std::size_t>(row.parts[i])] = y.cols_at(at, width);
                at += width;
            }
        }
    });
    return out;
}

/// The outputs of the linears that read `input`, whose value is x (tokens, width).
template <class B>
[[nodiscard]] linear_outputs<B> apply_linears(B const& b, model_graph const& graph,
                                              decoder_layer<B> const& layer, tap input,
                                              typename B::const_view x) {
    linear_outputs<B> out = make_outputs(b, graph, layer, input, x.rows);
    std::size_t next = 0;
    for_each_linear(graph, layer, input, [&](std::size_t r) {
        apply_linear<B>(b, x, layer.linears[r], out.buffers[next++].view());
    });
    return out;
}

}  // namespace fpq
