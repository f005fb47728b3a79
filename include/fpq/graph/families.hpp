// SPDX-License-Identifier: Apache-2.0
// Floor 5. The families that fpq ships: Llama, Mistral, Qwen2, Qwen3. They name their tensors alike
// and differ in biases, head norms and two keys of config.json.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string_view>

#include "fpq/graph/architecture.hpp"

namespace fpq {

namespace detail {

/// The seven linears of a Llama-like layer with the biases of q/k/v, o and the MLP.
constexpr std::array<linear_row, 7> llama_linears(bias_rule qkv, bias_rule o, bias_rule mlp) {
    return {{
        {"model.layers.{layer}.self_attn.q_proj", tap::attention_input, {part::q}, 1, qkv, "qkv"},
        {"model.layers.{layer}.self_attn.k_proj", tap::attention_input, {part::k}, 1, qkv, "qkv"},
        {"model.layers.{layer}.self_attn.v_proj", tap::attention_input, {part::v}, 1, qkv, "qkv"},
        {"model.layers.{layer}.self_attn.o_proj", tap::attention_output, {part::o}, 1, o, ""},
        {"model.layers.{layer}.mlp.gate_proj", tap::mlp_input, {part::gate}, 1, mlp, "gate_up"},
        {"model.layers.{layer}.mlp.up_proj", tap::mlp_input, {part::up}, 1, mlp, "gate_up"},
        {"model.layers.{layer}.mlp.down_proj", tap::mlp_middle, {part::down}, 1, mlp, ""},
    }};
}

inline constexpr std::array<norm_row, 2> llama_norms{{
    {"model.layers.{layer}.input_layernorm", norm_place::attention_input},
    {"model.layers.{layer}.post_attention_layernorm", norm_place::mlp_input},
}};
inline constexpr std::array<norm_row, 4> qwen3_norms{{
    {"model.layers.{layer}.input_layernorm", norm_place::attention_input},
    {"model.layers.{layer}.self_attn.q_norm", norm_place::query_head},
    {"model.layers.{layer}.self_attn.k_norm", norm_place::key_head},
    {"model.layers.{layer}.post_attention_layernorm", norm_place::mlp_input},
}};

inline constexpr auto llama_rows =
    llama_linears(bias_rule::attention_key, bias_rule::attention_key, bias_rule::mlp_key);
inline constexpr auto mistral_rows =
    llama_linears(bias_rule::never, bias_rule::never, bias_rule::never);
inline constexpr auto qwen2_rows =
    llama_linears(bias_rule::always, bias_rule::never, bias_rule::never);
inline constexpr auto qwen3_rows =
    llama_linears(bias_rule::attention_key, bias_rule::attention_key, bias_rule::never);

/// Qwen writes a window and switches it off.
constexpr config_keys qwen_keys() {
    config_keys keys;
    keys.window_switch = "use_sliding_window";
    return keys;
}

constexpr architecture family(std::string_view type, std::span<linear_row const> linears,
                              std::span<norm_row const> norms) {
    architecture a;
    a.model_type = type;
    a.linears = linears;
    a.norms = norms;
    return a;
}

constexpr architecture qwen(std::string_view type, std::span<linear_row const> linears,
                            std::span<norm_row const> norms, std::size_t head_dim) {
    architecture a = family(type, linears, norms);
    a.keys = qwen_keys();
    a.default_head_dim = head_dim;
    return a;
}

}  // namespace detail

namespace families {

inline constexpr architecture llama =
    detail::family("llama", detail::llama_rows, detail::llama_norms);
inline constexpr architecture mistral =
    detail::family("mistral", detail::mistral_rows, detail::llama_norms);
inline constexpr architecture qwen2 =
    detail::qwen("qwen2", detail::qwen2_rows, detail::llama_norms, 0);
/// Its default head_dim does not follow the hidden size.
inline constexpr architecture qwen3 =
    detail::qwen("qwen3", detail::qwen3_rows, detail::qwen3_norms, 128);

}  // namespace families

namespace detail {

inline constexpr std::array<architecture const*, 4> shipped{&families::llama, &families::mistral,
                                                            &families::qwen2, &families::qwen3};

}  // namespace detail

/// The families of this file.
inline constexpr architecture_list shipped_architectures{detail::shipped};

}  // namespace fpq
