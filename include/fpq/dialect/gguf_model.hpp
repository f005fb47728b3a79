// SPDX-License-Identifier: Apache-2.0
// Floor 6. A model's config as GGUF has it: the keys of its architecture, the factors of a llama3
// rotary embedding as a tensor, and why a client could not run the model as it is.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fpq/dialect/dialect.hpp"
#include "fpq/dialect/gguf_names.hpp"
#include "fpq/graph/graph.hpp"
#include "fpq/graph/model_config.hpp"
#include "fpq/io/gguf/gguf_value.hpp"

namespace fpq {

inline constexpr std::string_view gguf_rope_tensor = "rope_freqs.weight";

/// What each pair of a head's rotary frequencies is divided by, (head_dim / 2).
inline std::vector<float> gguf_rope_factors(rope_config const& rope, std::size_t head_dim) {
    constexpr double two_pi = 6.283185307179586476925;
    std::vector<float> out(head_dim / 2, 1.0F);
    for (std::size_t i = 0; i < out.size(); ++i) {
        double const base =
            std::pow(rope.theta, -static_cast<double>(2 * i) / static_cast<double>(head_dim));
        double const turns = rope.original_max_position * base / two_pi;
        if (turns < rope.low_freq_factor) {
            out[i] = static_cast<float>(rope.factor);
        } else if (turns <= rope.high_freq_factor) {
            double const kept =
                (turns - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor);
            out[i] = static_cast<float>(1.0 / ((1.0 - kept) / rope.factor + kept));
        }
    }
    return out;
}

/// The keys of the architecture, sizes as clients need them.
inline gguf_metadata gguf_architecture(model_graph const& graph) {
    model_config const& c = graph.config();
    std::string const family(find_gguf_family(graph.family().model_type)->architecture);
    gguf_metadata out{{"general.architecture", family}};
    auto const count = [&](std::string_view key, std::size_t value) {
        out.emplace_back(family + "." + std::string(key), static_cast<std::uint32_t>(value));
    };
    count("block_count", c.layers);
    count("context_length", c.max_position);
    count("embedding_length", c.hidden_size);
    count("feed_forward_length", c.intermediate_size);
    count("attention.head_count", c.heads);
    count("attention.head_count_kv", c.kv_heads);
    count("attention.key_length", c.head_dim);
    count("attention.value_length", c.head_dim);
    out.emplace_back(family + ".attention.layer_norm_rms_epsilon", c.rms_norm_eps);
    count("rope.dimension_count", c.head_dim);
    out.emplace_back(family + ".rope.freq_base", static_cast<float>(c.rope.theta));
    if (c.rope.kind == rope_kind::linear) {
        out.emplace_back(family + ".rope.scaling.type", std::string("linear"));
        out.emplace_back(family + ".rope.scaling.factor", static_cast<float>(c.rope.factor));
    }
    count("vocab_size", c.vocab_size);
    return out;
}

/// Why no client of GGUF runs the model as fpq does.
inline std::optional<refusal> refuse_gguf_model(model_graph const& graph) {
    model_config const& c = graph.config();
    gguf_family const* const family = find_gguf_family(graph.family().model_type);
    if (family == nullptr) {
        return refusal{"model_type", "llama, mistral, qwen2 or qwen3",
                       std::string(graph.family().model_type)};
    }
    for (linear_node const& node : graph.linears()) {
        if (graph.family().linears[node.row].part_count != 1) {
            return refusal{node.module, "a linear for each of q, k, v, gate and up", "a fused one"};
        }
    }
    for (linear_node const& node : graph.layer(0)) {
        if (node.bias && node.input != tap::attention_input && !family->output_bias) {
            return refusal{node.bias_name(), "no bias there (clients of GGUF load none)", "one"};
        }
    }
    if (!c.unknown_rope.empty()) {
        return refusal{"rope_scaling", "default, linear or llama3", c.unknown_rope};
    }
    if (c.rope.kind == rope_kind::llama3 && family->architecture != "llama") {
        return refusal{
            "rope_scaling",
            "default or linear (clients of GGUF read the factors of llama3 for llama alone)",
            "llama3"};
    }
    if (c.sliding_window != 0 && c.sliding_window < c.max_position) {
        return refusal{"sliding_window",
                       "none, or one of at least max_position_embeddings " +
                           std::to_string(c.max_position) + " (clients of GGUF look further back)",
                       std::to_string(c.sliding_window)};
    }
    return std::nullopt;
}

}  // namespace fpq
