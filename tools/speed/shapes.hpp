// SPDX-License-Identifier: Apache-2.0
// Shapes of models whose speed is measured, with random weights: time does not depend on values.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "fpq/format/block.hpp"
#include "fpq/graph/families.hpp"
#include "fpq/graph/graph.hpp"
#include "fpq/model/config.hpp"
#include "fpq/pipeline/words.hpp"

namespace fpq::tools {

/// A Qwen3 with heads of 128. Embedding and head are one table: a step reads the head alone.
struct model_shape {
    char const* name;
    std::size_t hidden;
    std::size_t intermediate;
    std::size_t heads;
    std::size_t kv_heads;
    std::size_t layers;
    std::size_t vocabulary;
};

inline constexpr std::array<model_shape, 3> model_shapes{{
    {"Qwen3-0.6B", 1024, 3072, 16, 8, 28, 151936},
    {"Qwen3-8B", 4096, 12288, 32, 8, 36, 151936},
    {"Qwen3-14B", 5120, 17408, 40, 8, 40, 151936},
}};

/// The configuration that a checkpoint of the shape would have.
[[nodiscard]] inline model_config config_of(model_shape const& shape) {
    return read_model_config({{"model_type", "qwen3"},
                              {"hidden_act", "silu"},
                              {"hidden_size", shape.hidden},
                              {"intermediate_size", shape.intermediate},
                              {"num_attention_heads", shape.heads},
                              {"num_key_value_heads", shape.kv_heads},
                              {"head_dim", 128},
                              {"num_hidden_layers", shape.layers},
                              {"vocab_size", shape.vocabulary},
                              {"max_position_embeddings", 40960},
                              {"rms_norm_eps", 1e-6},
                              {"rope_theta", 1e6},
                              {"tie_word_embeddings", true}},
                             shape.name, shipped_architectures);
}

/// Bytes of linears and head in the format; null: bf16. The head is always bf16.
[[nodiscard]] inline double weight_bytes(model_graph const& graph, quant_format const* format) {
    double bytes = 0;
    for (linear_node const& node : graph.linears()) {
        double const bits = format == nullptr ? 16.0 : format->bits_per_value(node.out, node.in);
        bytes += static_cast<double>(node.values()) * bits / 8;
    }
    return bytes + 2.0 * static_cast<double>(graph.head().values());
}

/// Bytes of a token's keys and values in bf16.
[[nodiscard]] inline double cache_bytes(model_config const& config) {
    return 4.0 * static_cast<double>(config.layers * config.kv_size());
}

}  // namespace fpq::tools
