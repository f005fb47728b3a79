// SPDX-License-Identifier: Apache-2.0
// Tensor names and shapes of a decoder, and which linears share an input or a global scale.
//
// Floor 7. The only place where tensor names are written. All supported families use the
// same names; they differ in which biases and norms exist, which model_config says.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "fpq/model/model_config.hpp"

namespace fpq {

/// The seven linear layers of a decoder layer, in the order in which they run.
enum class linear_role : std::uint8_t { q, k, v, o, gate, up, down };

inline constexpr std::array<linear_role, 7> linear_roles = {
    linear_role::q,    linear_role::k,  linear_role::v,   linear_role::o,
    linear_role::gate, linear_role::up, linear_role::down};

[[nodiscard]] constexpr std::size_t role_index(linear_role role) noexcept {
    return static_cast<std::size_t>(role);
}

/// "q_proj" ... "down_proj".
[[nodiscard]] constexpr std::string_view role_name(linear_role role) noexcept {
    constexpr std::array<std::string_view, 7> names = {"q_proj",    "k_proj",  "v_proj",   "o_proj",
                                                       "gate_proj", "up_proj", "down_proj"};
    return names[role_index(role)];
}

/// The linears that read the same input, which engines fuse: q/k/v and gate/up; others stand alone.
[[nodiscard]] constexpr std::span<const linear_role> fused_group(linear_role role) noexcept {
    const std::span<const linear_role> all(linear_roles);
    switch (role) {
        case linear_role::q:
        case linear_role::k:
        case linear_role::v:
            return all.subspan(0, 3);
        case linear_role::gate:
        case linear_role::up:
            return all.subspan(4, 2);
        default:
            return all.subspan(role_index(role), 1);
    }
}

/// The first linear of the group: the one by which a shared input is named.
[[nodiscard]] constexpr linear_role shared_input(linear_role role) noexcept {
    return fused_group(role).front();
}

/// "model.layers.N"
[[nodiscard]] inline std::string layer_name(std::size_t layer) {
    return "model.layers." + std::to_string(layer);
}

/// Module name, "model.layers.N.self_attn.q_proj"; its tensors add ".weight" and ".bias".
[[nodiscard]] inline std::string linear_name(std::size_t layer, linear_role role) {
    const bool attention = role_index(role) <= role_index(linear_role::o);
    return layer_name(layer) + (attention ? ".self_attn." : ".mlp.") + std::string(role_name(role));
}

[[nodiscard]] inline std::string weight_name(std::size_t layer, linear_role role) {
    return linear_name(layer, role) + ".weight";
}
[[nodiscard]] inline std::string bias_name(std::size_t layer, linear_role role) {
    return linear_name(layer, role) + ".bias";
}

[[nodiscard]] inline std::string input_norm_name(std::size_t layer) {
    return layer_name(layer) + ".input_layernorm.weight";
}
[[nodiscard]] inline std::string post_norm_name(std::size_t layer) {
    return layer_name(layer) + ".post_attention_layernorm.weight";
}
[[nodiscard]] inline std::string q_norm_name(std::size_t layer) {
    return layer_name(layer) + ".self_attn.q_norm.weight";
}
[[nodiscard]] inline std::string k_norm_name(std::size_t layer) {
    return layer_name(layer) + ".self_attn.k_norm.weight";
}

inline constexpr std::string_view embedding_name = "model.embed_tokens.weight";
inline constexpr std::string_view final_norm_name = "model.norm.weight";
inline constexpr std::string_view head_name = "lm_head.weight";
/// The head as a module, for lists of modules that stay unquantized.
inline constexpr std::string_view head_module = "lm_head";

/// A linear's weight is (out, in).
struct linear_shape {
    std::size_t out;
    std::size_t in;
};

[[nodiscard]] inline linear_shape expected_shape(const model_config& config,
                                                 linear_role role) noexcept {
    switch (role) {
        case linear_role::q:
            return {config.heads * config.head_dim, config.hidden_size};
        case linear_role::k:
        case linear_role::v:
            return {config.kv_heads * config.head_dim, config.hidden_size};
        case linear_role::o:
            return {config.hidden_size, config.heads * config.head_dim};
        case linear_role::gate:
        case linear_role::up:
            return {config.intermediate_size, config.hidden_size};
        case linear_role::down:
            return {config.hidden_size, config.intermediate_size};
    }
    return {0, 0};
}

[[nodiscard]] inline bool has_bias(const model_config& config, linear_role role) noexcept {
    switch (role) {
        case linear_role::q:
        case linear_role::k:
        case linear_role::v:
            return config.qkv_bias;
        case linear_role::o:
            return config.output_bias;
        default:
            return config.mlp_bias;
    }
}

/// Every tensor name that the model reads, in the order in which it runs; a checkpoint that holds
/// others is not this model.
template <class Function>
void for_each_tensor_name(const model_config& config, Function function) {
    function(std::string(embedding_name));
    for (std::size_t layer = 0; layer < config.layers; ++layer) {
        function(input_norm_name(layer));
        for (const linear_role role : linear_roles) {
            function(weight_name(layer, role));
            if (has_bias(config, role)) {
                function(bias_name(layer, role));
            }
        }
        if (config.qk_norm) {
            function(q_norm_name(layer));
            function(k_norm_name(layer));
        }
        function(post_norm_name(layer));
    }
    function(std::string(final_norm_name));
    if (!config.tied_head) {
        function(std::string(head_name));
    }
}

}  // namespace fpq
