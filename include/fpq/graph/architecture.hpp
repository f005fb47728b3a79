// SPDX-License-Identifier: Apache-2.0
// Floor 5. A decoder family as a table: its linears, its norms, the names of their tensors, and the
// keys of config.json where families differ. Data only: graph.hpp makes nodes of it, model/forward
// runs it, and no other file knows a tensor name. A new dense family is one table (families.hpp).
//
// What all families share: token embedding, layers of causal grouped attention with rotary
// embedding and a gated SiLU MLP, each added to the residual stream, a final RMSNorm and a head.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace fpq {

/// A value inside a layer that linears read. The widths: hidden size, query heads, hidden size,
/// intermediate size; head_input is what lm_head reads (hidden size).
enum class tap : std::uint8_t {
    attention_input,
    attention_output,
    mlp_input,
    mlp_middle,
    head_input
};
inline constexpr std::size_t tap_count = 5;

/// What rows of a linear's output mean. The widths: query heads, key/value heads (k and v), hidden
/// size (o and down), intermediate size (gate and up), vocabulary.
enum class part : std::uint8_t { q, k, v, o, gate, up, down, logits };

/// Whether a linear has a bias: never, always, or as config.json says under one of its two keys.
enum class bias_rule : std::uint8_t { never, always, attention_key, mlp_key };

/// One linear of every layer.
struct linear_row {
    std::string_view name;        ///< module, "model.layers.{layer}.self_attn.q_proj"
    tap input;                    ///< what it reads
    std::array<part, 3> parts{};  ///< what its output rows hold, in order
    std::size_t part_count = 1;  ///< of `parts`; more than one where a checkpoint stores them fused
    bias_rule bias = bias_rule::never;
    /// The linear that engines fuse it into, the same word for all of them; empty: none. Fused
    /// linears read one input and share their scheme and global scales.
    std::string_view fused{};
};

/// Where an RMSNorm acts: on what a block reads, on what it adds to the residual stream, or on each
/// query or key head before rotation.
enum class norm_place : std::uint8_t {
    attention_input,
    attention_output,
    mlp_input,
    mlp_output,
    query_head,
    key_head
};
inline constexpr std::size_t norm_place_count = 6;

struct norm_row {
    std::string_view name;  ///< tensor without ".weight", "model.layers.{layer}.input_layernorm"
    norm_place place;
};

/// Keys of config.json. Those that all families spell alike are in model/config.hpp.
struct config_keys {
    std::string_view hidden_size = "hidden_size";
    std::string_view intermediate_size = "intermediate_size";
    std::string_view layers = "num_hidden_layers";
    std::string_view heads = "num_attention_heads";
    std::string_view kv_heads = "num_key_value_heads";
    std::string_view head_dim = "head_dim";
    std::string_view vocab_size = "vocab_size";
    std::string_view max_position = "max_position_embeddings";
    std::string_view norm_eps = "rms_norm_eps";
    std::string_view attention_bias = "attention_bias";
    std::string_view mlp_bias = "mlp_bias";
    /// A flag without which `sliding_window` means nothing; empty: the window always counts.
    std::string_view window_switch{};
};

/// A family. Everything it points at is static.
struct architecture {
    std::string_view model_type;  ///< config.json's `model_type`
    std::span<linear_row const> linears;
    std::span<norm_row const> norms;
    std::string_view embedding = "model.embed_tokens";  ///< modules; their tensors add ".weight"
    std::string_view final_norm = "model.norm";
    std::string_view head = "lm_head";
    config_keys keys{};
    std::size_t default_head_dim = 0;  ///< when the key is absent; 0: hidden size / heads

    /// True when some norm row has this place.
    [[nodiscard]] constexpr bool has_norm(norm_place place) const noexcept {
        for (norm_row const& row : norms) {
            if (row.place == place) {
                return true;
            }
        }
        return false;
    }
};

/// The families a program knows, looked up by model_type.
using architecture_list = std::span<architecture const* const>;

}  // namespace fpq
