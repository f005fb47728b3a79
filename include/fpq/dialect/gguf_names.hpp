// SPDX-License-Identifier: Apache-2.0
// Floor 6. How GGUF names the tensors of a model, and in which order it has the rows of queries and
// keys.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "fpq/graph/architecture.hpp"
#include "fpq/graph/graph.hpp"
#include "fpq/graph/model_config.hpp"

namespace fpq {

/// A family under GGUF's name for it.
struct gguf_family {
    std::string_view model_type;
    std::string_view architecture;
    bool pairs_neighbours;     ///< rotates values 2r and 2r+1 of a head, not r and r + d/2
    bool output_bias = false;  ///< of attention and MLP, where the config asks for them
};

/// Null for a family without one.
inline gguf_family const* find_gguf_family(std::string_view model_type) noexcept {
    static constexpr std::array<gguf_family, 4> families{{{"llama", "llama", true, true},
                                                          {"mistral", "llama", true, true},
                                                          {"qwen2", "qwen2", false},
                                                          {"qwen3", "qwen3", false}}};
    for (gguf_family const& family : families) {
        if (family.model_type == model_type) {
            return &family;
        }
    }
    return nullptr;
}

/// Where a tensor of the model stands in the file. `heads` of its rows are reordered; 0: none.
struct gguf_name {
    std::string name;
    std::size_t heads = 0;
};

namespace detail {

inline std::string_view gguf_part(part which) noexcept {
    switch (which) {
        case part::q:
            return "attn_q";
        case part::k:
            return "attn_k";
        case part::v:
            return "attn_v";
        case part::o:
            return "attn_output";
        case part::gate:
            return "ffn_gate";
        case part::up:
            return "ffn_up";
        case part::down:
            return "ffn_down";
        case part::logits:
            break;
    }
    return "output";
}

/// Empty for a norm that no family of find_gguf_family has.
inline std::string_view gguf_norm(norm_place place) noexcept {
    switch (place) {
        case norm_place::attention_input:
            return "attn_norm";
        case norm_place::mlp_input:
            return "ffn_norm";
        case norm_place::query_head:
            return "attn_q_norm";
        case norm_place::key_head:
            return "attn_k_norm";
        case norm_place::attention_output:
        case norm_place::mlp_output:
            break;
    }
    return "";
}

inline std::string gguf_in_layer(std::size_t layer, std::string_view what) {
    return "blk." + std::to_string(layer) + "." + std::string(what);
}

}  // namespace detail

/// Of a linear of the layers or the head, without ".weight": its tensors add ".weight", ".bias" and
/// ".scale".
inline gguf_name gguf_name_of(model_graph const& graph, linear_node const& node) {
    if (node.layer == graph.layers()) {
        return {"output", 0};
    }
    part const which = graph.family().linears[node.row].parts[0];
    gguf_family const* const family = find_gguf_family(graph.family().model_type);
    bool const reordered = family != nullptr && family->pairs_neighbours;
    std::size_t const heads = which == part::q   ? graph.config().heads
                              : which == part::k ? graph.config().kv_heads
                                                 : 0;
    return {detail::gguf_in_layer(node.layer, detail::gguf_part(which)), reordered ? heads : 0};
}

/// The linear of that module, the head included; null when there is none.
inline linear_node const* find_linear(model_graph const& graph, std::string_view module) {
    for (linear_node const& node : graph.linears()) {
        if (node.module == module) {
            return &node;
        }
    }
    return graph.head().module == module ? &graph.head() : nullptr;
}

/// Of any tensor of the model; empty when GGUF has no name for it.
inline std::optional<gguf_name> gguf_name_of(model_graph const& graph, std::string_view tensor) {
    for (std::string_view const suffix : {".weight", ".bias"}) {
        if (!tensor.ends_with(suffix)) {
            continue;
        }
        std::string_view const module = tensor.substr(0, tensor.size() - suffix.size());
        if (linear_node const* const node = find_linear(graph, module)) {
            gguf_name out = gguf_name_of(graph, *node);
            out.name += suffix;
            return out;
        }
    }
    if (tensor == graph.embedding() + ".weight") {
        return gguf_name{"token_embd.weight"};
    }
    if (tensor == graph.final_norm()) {
        return gguf_name{"output_norm.weight"};
    }
    for (std::size_t layer = 0; layer < graph.layers(); ++layer) {
        for (norm_node const& norm : graph.norms(layer)) {
            std::string_view const name = detail::gguf_norm(norm.place);
            if (norm.tensor == tensor && !name.empty()) {
                return gguf_name{detail::gguf_in_layer(layer, name) + ".weight"};
            }
        }
    }
    return std::nullopt;
}

/// The row of the model that is row `row` of the file: values r and r + d/2 of a head, which the
/// model rotates together, become neighbours. `rows` are those of `heads` heads.
constexpr std::size_t gguf_source_row(std::size_t row, std::size_t rows,
                                      std::size_t heads) noexcept {
    if (heads == 0) {
        return row;
    }
    std::size_t const width = rows / heads;
    std::size_t const inside = row % width;
    return row - inside + inside % 2 * (width / 2) + inside / 2;
}

}  // namespace fpq
