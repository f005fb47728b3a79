// SPDX-License-Identifier: Apache-2.0
// config.json -> model_config, or one line that says which key was refused and why.
//
// Floor 7. Rules and defaults are those of the transformers' configuration classes of the families
// in graph/families.hpp, in the spelling before version 5 (rope_theta, rope_scaling, torch_dtype)
// and since (rope_parameters, dtype). Nothing is guessed: a key that changes the arithmetic and has
// a value this library does not implement is refused by name. It reads no files: the caller parses
// the JSON.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>

#include "fpq/graph/architecture.hpp"
#include "fpq/graph/model_config.hpp"
#include "fpq/io/json/json_value.hpp"

namespace fpq {
namespace detail {

/// Bounds that no real checkpoint passes; they keep products of sizes far below 2^64.
inline constexpr std::size_t config_max_width = std::size_t{1} << 20;
inline constexpr std::size_t config_max_layers = 4096;
inline constexpr std::size_t config_max_head_dim = 4096;
inline constexpr std::size_t config_max_vocab = std::size_t{1} << 24;
inline constexpr std::size_t config_max_position = std::size_t{1} << 40;

inline architecture const* read_family(const json_value& config, architecture_list known) {
    const std::string name = config.optional<std::string>("model_type").value_or("");
    std::string names;
    for (architecture const* const family : known) {
        if (name == family->model_type) {
            return family;
        }
        names += (names.empty() ? "" : family == known.back() ? " or " : ", ");
        names += family->model_type;
    }
    config.refuse_member("model_type", "unsupported architecture", names);
}

/// Keys by which other models announce arithmetic that dense families do not have.
inline void refuse_foreign_features(const json_value& config) {
    for (const char* key : {"num_experts", "num_local_experts", "n_routed_experts"}) {
        if (config.has(key)) {
            config.refuse_member(key, "mixture of experts is not supported", "no such key");
        }
    }
    if (config.optional<std::string>("hidden_act").value_or("silu") != "silu") {
        config.refuse_member("hidden_act", "unsupported activation function", "\"silu\"");
    }
    if (config.optional<double>("partial_rotary_factor", {0.0, 1.0}).value_or(1.0) != 1.0) {
        config.refuse_member("partial_rotary_factor", "partial rotary embedding is not supported",
                             "1");
    }
    if (config.optional<bool>("is_encoder_decoder").value_or(false)) {
        config.refuse_member("is_encoder_decoder", "encoder-decoder models are not supported",
                             "false");
    }
    if (config.has("per_layer_config")) {
        config.refuse_member("per_layer_config", "layers of different kinds are not supported",
                             "no such key");
    }
}

inline constexpr double config_max_theta = 1e15;
inline constexpr double config_max_factor = 1e6;

/// Reads one of rope_scaling and rope_parameters; theta falls back to `theta`. A kind that the
/// forward pass lacks goes to `unknown`: rounding weights needs no rotary embedding.
inline rope_config read_rope_object(const json_value& rope, double theta, std::string& unknown) {
    rope_config out;
    out.theta = rope.optional<double>("rope_theta", {1.0, config_max_theta}).value_or(theta);
    const std::string kind = rope.optional<std::string>("rope_type")
                                 .value_or(rope.optional<std::string>("type").value_or("default"));
    if (rope.has("rope_type") && rope.optional<std::string>("type").value_or(kind) != kind) {
        rope.refuse_member("type", "contradictory rotary embedding types", "\"" + kind + "\"");
    }
    if (rope.optional<double>("partial_rotary_factor", {0.0, 1.0}).value_or(1.0) != 1.0) {
        rope.refuse_member("partial_rotary_factor", "partial rotary embedding is not supported",
                           "1");
    }
    if (kind == "default") {
        for (const auto& [name, value] : rope.json().items()) {
            if (value.is_object()) {
                rope.refuse_member(name, "rotary embedding per layer type is not supported",
                                   "a number");
            }
        }
        return out;
    }
    if (kind != "linear" && kind != "llama3") {
        unknown = kind;
        return out;
    }
    out.factor = rope.required<double>("factor", {1.0, config_max_factor});
    if (kind == "linear") {
        out.kind = rope_kind::linear;
        return out;
    }
    out.kind = rope_kind::llama3;
    out.low_freq_factor = rope.required<double>("low_freq_factor", {1e-6, config_max_factor});
    out.high_freq_factor = rope.required<double>("high_freq_factor", {1e-6, config_max_factor});
    if (!(out.high_freq_factor > out.low_freq_factor)) {
        rope.refuse_member(
            "high_freq_factor", "bad model configuration",
            "more than low_freq_factor " + nlohmann::json(out.low_freq_factor).dump());
    }
    out.original_max_position = static_cast<double>(
        rope.required<std::size_t>("original_max_position_embeddings", {1, config_max_position}));
    return out;
}

/// Both spellings; when both are written they must say the same.
inline rope_config read_rope(const json_value& config, std::string& unknown) {
    constexpr double default_theta = 10000.0;  // of all configuration classes
    const double theta =
        config.optional<double>("rope_theta", {1.0, config_max_theta}).value_or(default_theta);
    rope_config out;
    out.theta = theta;
    const bool scaling = config.has("rope_scaling");
    if (scaling) {
        out = read_rope_object(config.required<json_value>("rope_scaling"), theta, unknown);
    }
    if (config.has("rope_parameters")) {
        const rope_config parameters =
            read_rope_object(config.required<json_value>("rope_parameters"), theta, unknown);
        if (scaling && !(parameters == out)) {
            config.refuse_member("rope_parameters", "contradictory rotary embeddings",
                                 "what rope_scaling says");
        }
        out = parameters;
    }
    if (config.has("rope_theta") && out.theta != theta) {
        config.refuse_member("rope_theta", "contradictory rotary embeddings",
                             nlohmann::json(out.theta).dump());
    }
    return out;
}

/// The window that some layer applies, 0 when none does (Qwen writes one and switches it off).
inline std::size_t read_sliding_window(const json_value& config, const model_config& model) {
    const std::string_view window_switch = model.family->keys.window_switch;
    bool used = config.has("sliding_window") &&
                (window_switch.empty() || config.optional<bool>(window_switch).value_or(false));
    if (const auto listed = config.find("layer_types")) {
        const nlohmann::json& types = listed->json();
        if (!types.is_array() || types.size() != model.layers) {
            config.refuse_member(
                "layer_types", "bad model configuration",
                "one entry for each of the " + std::to_string(model.layers) + " layers");
        }
        used = false;
        for (const nlohmann::json& type : types) {
            if (type != "full_attention" && type != "sliding_attention") {
                config.refuse_member("layer_types", "unsupported layer type",
                                     "full_attention or sliding_attention");
            }
            used = used || type == "sliding_attention";
        }
        if (used && !config.has("sliding_window")) {
            config.refuse_member("sliding_window", "bad model configuration",
                                 "a number, as layer_types has sliding_attention");
        }
    } else if (!window_switch.empty() && used && config.has("max_window_layers")) {
        // Layers from max_window_layers on slide; 0 is allowed here, so count() does not fit.
        used = config.required<double>("max_window_layers", {0.0, 1e9}) <
               static_cast<double>(model.layers);
    }
    return used ? config.required<std::size_t>("sliding_window", {1, config_max_position}) : 0;
}

/// Which linears have biases is the table's to say; a key that it does not know is refused.
inline void read_biases(const json_value& config, model_config& model) {
    const config_keys& keys = model.family->keys;
    model.attention_bias = config.optional<bool>(keys.attention_bias).value_or(false);
    model.mlp_bias = config.optional<bool>(keys.mlp_bias).value_or(false);
    const auto some = [&](bool attention, bias_rule a, bias_rule b) {
        for (const linear_row& row : model.family->linears) {
            const bool in_attention =
                row.input == tap::attention_input || row.input == tap::attention_output;
            if (in_attention == attention && (row.bias == a || row.bias == b)) {
                return true;
            }
        }
        return false;
    };
    if (model.mlp_bias && !some(false, bias_rule::mlp_key, bias_rule::always)) {
        config.refuse_member(keys.mlp_bias, "this model type has no MLP bias", "false");
    }
    if (model.attention_bias && !some(true, bias_rule::attention_key, bias_rule::always)) {
        config.refuse_member(keys.attention_bias, "this model type has no attention bias", "false");
    }
}

inline void read_sizes(const json_value& config, model_config& model) {
    const config_keys& keys = model.family->keys;
    model.hidden_size = config.required<std::size_t>(keys.hidden_size, {1, config_max_width});
    model.intermediate_size =
        config.required<std::size_t>(keys.intermediate_size, {1, config_max_width});
    model.layers = config.required<std::size_t>(keys.layers, {1, config_max_layers});
    model.heads = config.required<std::size_t>(keys.heads, {1, config_max_width});
    model.kv_heads =
        config.optional<std::size_t>(keys.kv_heads, {1, model.heads}).value_or(model.heads);
    model.vocab_size = config.required<std::size_t>(keys.vocab_size, {1, config_max_vocab});
    model.max_position =
        config.optional<std::size_t>(keys.max_position, {1, config_max_position}).value_or(2048);
    model.says_max_position = config.has(keys.max_position);
    if (model.heads % model.kv_heads != 0) {
        config.refuse_member(
            keys.kv_heads, "bad model configuration",
            "a divisor of " + std::string(keys.heads) + " " + std::to_string(model.heads));
    }
    if (config.has(keys.head_dim)) {
        model.head_dim = config.required<std::size_t>(keys.head_dim, {1, config_max_head_dim});
    } else if (model.family->default_head_dim != 0) {
        model.head_dim = model.family->default_head_dim;
    } else if (model.hidden_size % model.heads != 0) {
        config.refuse_member(keys.heads, "bad model configuration",
                             "a divisor of " + std::string(keys.hidden_size) + " " +
                                 std::to_string(model.hidden_size));
    } else {
        model.head_dim = model.hidden_size / model.heads;
    }
    if (model.head_dim % 2 != 0 || model.head_dim > config_max_head_dim) {
        config.refuse_member(keys.head_dim, "bad model configuration",
                             "an even number up to " + std::to_string(config_max_head_dim),
                             std::to_string(model.head_dim));
    }
    if (model.query_size() > config_max_width) {
        config.refuse_member(keys.heads, "bad model configuration",
                             "heads * head_dim up to " + std::to_string(config_max_width),
                             std::to_string(model.query_size()));
    }
}

}  // namespace detail

/// The configuration in a parsed config.json of one of the `known` families. `where` names the file
/// in messages.
/// Throws fpq::error (input) with file, key, expected and found; never anything else but bad_alloc.
[[nodiscard]] inline model_config read_model_config(const nlohmann::json& json,
                                                    const std::string& where,
                                                    architecture_list known) {
    if (!json.is_object()) {
        fail_input("bad model configuration", where, "a JSON object", json.type_name());
    }
    const json_value config(json, where, "bad model configuration");
    model_config model;
    model.where = where;
    model.family = detail::read_family(config, known);
    detail::refuse_foreign_features(config);
    detail::read_sizes(config, model);
    detail::read_biases(config, model);
    constexpr double default_eps = 1e-6;  // of all configuration classes
    model.rms_norm_eps = static_cast<float>(
        config.optional<double>(model.family->keys.norm_eps, {0.0, 1.0}).value_or(default_eps));
    model.rope = detail::read_rope(config, model.unknown_rope);
    model.sliding_window = detail::read_sliding_window(config, model);
    model.tied_head = config.optional<bool>("tie_word_embeddings").value_or(false);
    model.dtype = config.optional<std::string>("dtype").value_or(
        config.optional<std::string>("torch_dtype").value_or(""));
    return model;
}

}  // namespace fpq
