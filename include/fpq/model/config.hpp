// SPDX-License-Identifier: Apache-2.0
// config.json -> model_config, or one line that says which key was refused and why.
//
// Floor 7. Rules and defaults are those of the transformers' configuration classes of the
// four families. Nothing is guessed: a key that changes the arithmetic and has a value this library
// does not implement is refused by name. It reads no files: the caller parses the JSON.
#pragma once

#include <cmath>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>

#include "fpq/model/model_config.hpp"

namespace fpq {
namespace detail {

/// Bounds that no real checkpoint passes; they keep products of sizes far below 2^64.
inline constexpr std::size_t config_max_width = std::size_t{1} << 20;
inline constexpr std::size_t config_max_layers = 4096;
inline constexpr std::size_t config_max_head_dim = 4096;
inline constexpr std::size_t config_max_vocab = std::size_t{1} << 24;
inline constexpr std::size_t config_max_position = std::size_t{1} << 40;

/// One JSON object whose values are taken with type and range checks; errors name file and key.
class config_object {
public:
    config_object(const nlohmann::json& object, std::string where, std::string prefix)
        : object_(&object), where_(std::move(where)), prefix_(std::move(prefix)) {}

    /// The value, or null when the key is absent or JSON null.
    [[nodiscard]] const nlohmann::json* find(std::string_view key) const {
        const auto it = object_->find(std::string(key));
        return it == object_->end() || it->is_null() ? nullptr : &*it;
    }
    [[nodiscard]] bool has(std::string_view key) const { return find(key) != nullptr; }

    [[noreturn]] void refuse(std::string_view what, std::string_view key, std::string_view expected,
                             std::string_view found) const {
        fail_input(what, where_ + ": " + prefix_ + std::string(key), expected, found);
    }
    [[noreturn]] void refuse(std::string_view what, std::string_view key,
                             std::string_view expected) const {
        const nlohmann::json* value = find(key);
        refuse(what, key, expected, value == nullptr ? "nothing" : printed(*value));
    }

    /// A count in [1, max]; must be present.
    [[nodiscard]] std::size_t count(std::string_view key, std::size_t max) const {
        const nlohmann::json* value = find(key);
        const std::string expected = "an integer from 1 to " + std::to_string(max);
        if (value == nullptr || !value->is_number_integer()) {
            refuse("bad model configuration", key, expected);
        }
        const bool positive = value->is_number_unsigned() || value->get<std::int64_t>() > 0;
        if (!positive || value->get<std::uint64_t>() == 0 || value->get<std::uint64_t>() > max) {
            refuse("bad model configuration", key, expected);
        }
        return value->get<std::size_t>();
    }
    [[nodiscard]] std::size_t count_or(std::string_view key, std::size_t max,
                                       std::size_t fallback) const {
        return has(key) ? count(key, max) : fallback;
    }
    /// A finite number in [min, max].
    [[nodiscard]] double number(std::string_view key, double min, double max) const {
        const nlohmann::json* value = find(key);
        const double x =
            value != nullptr && value->is_number() ? value->get<double>() : std::nan("");
        if (!(x >= min && x <= max)) {
            refuse("bad model configuration", key,
                   "a number from " + nlohmann::json(min).dump() + " to " +
                       nlohmann::json(max).dump());
        }
        return x;
    }
    [[nodiscard]] double number_or(std::string_view key, double min, double max,
                                   double fallback) const {
        return has(key) ? number(key, min, max) : fallback;
    }
    [[nodiscard]] bool flag_or(std::string_view key, bool fallback) const {
        const nlohmann::json* value = find(key);
        if (value != nullptr && !value->is_boolean()) {
            refuse("bad model configuration", key, "true or false");
        }
        return value == nullptr ? fallback : value->get<bool>();
    }
    [[nodiscard]] std::string text_or(std::string_view key, std::string fallback) const {
        const nlohmann::json* value = find(key);
        if (value != nullptr && !value->is_string()) {
            refuse("bad model configuration", key, "a string");
        }
        return value == nullptr ? std::move(fallback) : value->get<std::string>();
    }
    /// A nested object; `key` must be present.
    [[nodiscard]] config_object object(std::string_view key) const {
        const nlohmann::json* value = find(key);
        if (value == nullptr || !value->is_object()) {
            refuse("bad model configuration", key, "an object");
        }
        return {*value, where_, prefix_ + std::string(key) + "."};
    }
    [[nodiscard]] const nlohmann::json& json() const noexcept { return *object_; }

private:
    /// A value for a message: invalid UTF-8 is replaced, long ones are cut.
    static std::string printed(const nlohmann::json& value) {
        constexpr std::size_t longest = 60;
        std::string text =
            value.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);  // ASCII only
        if (text.size() > longest) {
            text = text.substr(0, longest) + "...";
        }
        return text;
    }

    const nlohmann::json* object_;
    std::string where_;
    std::string prefix_;
};

inline model_type read_model_type(const config_object& config) {
    const std::string name = config.text_or("model_type", "");
    for (const model_type type :
         {model_type::llama, model_type::mistral, model_type::qwen2, model_type::qwen3}) {
        if (name == model_type_name(type)) {
            return type;
        }
    }
    config.refuse("unsupported architecture", "model_type", "llama, mistral, qwen2 or qwen3");
}

/// Keys by which other models announce arithmetic that the four families do not have.
inline void refuse_foreign_features(const config_object& config) {
    for (const char* key : {"num_experts", "num_local_experts", "n_routed_experts"}) {
        if (config.has(key)) {
            config.refuse("mixture of experts is not supported", key, "no such key");
        }
    }
    if (config.text_or("hidden_act", "silu") != "silu") {
        config.refuse("unsupported activation function", "hidden_act", "\"silu\"");
    }
    if (config.number_or("partial_rotary_factor", 0.0, 1.0, 1.0) != 1.0) {
        config.refuse("partial rotary embedding is not supported", "partial_rotary_factor", "1");
    }
    if (config.flag_or("is_encoder_decoder", false)) {
        config.refuse("encoder-decoder models are not supported", "is_encoder_decoder", "false");
    }
    if (config.has("per_layer_config")) {
        config.refuse("layers of different kinds are not supported", "per_layer_config",
                      "no such key");
    }
}

inline constexpr double config_max_theta = 1e15;
inline constexpr double config_max_factor = 1e6;

/// Reads one of rope_scaling and rope_parameters; theta falls back to `theta`.
inline rope_config read_rope_object(const config_object& rope, double theta) {
    rope_config out;
    out.theta = rope.number_or("rope_theta", 1.0, config_max_theta, theta);
    const std::string kind = rope.text_or("rope_type", rope.text_or("type", "default"));
    if (rope.has("rope_type") && rope.text_or("type", kind) != kind) {
        rope.refuse("contradictory rotary embedding types", "type", "\"" + kind + "\"");
    }
    const char* const key = rope.has("rope_type") ? "rope_type" : "type";
    if (rope.number_or("partial_rotary_factor", 0.0, 1.0, 1.0) != 1.0) {
        rope.refuse("partial rotary embedding is not supported", "partial_rotary_factor", "1");
    }
    if (kind == "default") {
        for (const auto& [name, value] : rope.json().items()) {
            if (value.is_object()) {
                rope.refuse("rotary embedding per layer type is not supported", name, "a number");
            }
        }
        return out;
    }
    if (kind != "linear" && kind != "llama3") {
        rope.refuse("unsupported rotary embedding", key, "default, linear or llama3");
    }
    out.factor = rope.number("factor", 1.0, config_max_factor);
    if (kind == "linear") {
        out.kind = rope_kind::linear;
        return out;
    }
    out.kind = rope_kind::llama3;
    out.low_freq_factor = rope.number("low_freq_factor", 1e-6, config_max_factor);
    out.high_freq_factor = rope.number("high_freq_factor", 1e-6, config_max_factor);
    if (!(out.high_freq_factor > out.low_freq_factor)) {
        rope.refuse("bad model configuration", "high_freq_factor",
                    "more than low_freq_factor " + nlohmann::json(out.low_freq_factor).dump());
    }
    out.original_max_position =
        static_cast<double>(rope.count("original_max_position_embeddings", config_max_position));
    return out;
}

/// Both spellings; when both are written they must say the same.
inline rope_config read_rope(const config_object& config) {
    constexpr double default_theta = 10000.0;  // of all four configuration classes
    const double theta = config.number_or("rope_theta", 1.0, config_max_theta, default_theta);
    rope_config out;
    out.theta = theta;
    const bool scaling = config.has("rope_scaling");
    if (scaling) {
        out = read_rope_object(config.object("rope_scaling"), theta);
    }
    if (config.has("rope_parameters")) {
        const rope_config parameters = read_rope_object(config.object("rope_parameters"), theta);
        if (scaling && !(parameters == out)) {
            config.refuse("contradictory rotary embeddings", "rope_parameters",
                          "what rope_scaling says");
        }
        out = parameters;
    }
    if (config.has("rope_theta") && out.theta != theta) {
        config.refuse("contradictory rotary embeddings", "rope_theta",
                      nlohmann::json(out.theta).dump());
    }
    return out;
}

/// The window that some layer applies, 0 when none does (Qwen writes one and switches it off).
inline std::size_t read_sliding_window(const config_object& config, const model_config& model) {
    const bool qwen = model.type == model_type::qwen2 || model.type == model_type::qwen3;
    bool used =
        config.has("sliding_window") && (!qwen || config.flag_or("use_sliding_window", false));
    if (const nlohmann::json* types = config.find("layer_types"); types != nullptr) {
        if (!types->is_array() || types->size() != model.layers) {
            config.refuse("bad model configuration", "layer_types",
                          "one entry for each of the " + std::to_string(model.layers) + " layers");
        }
        used = false;
        for (const nlohmann::json& type : *types) {
            if (type != "full_attention" && type != "sliding_attention") {
                config.refuse("unsupported layer type", "layer_types",
                              "full_attention or sliding_attention");
            }
            used = used || type == "sliding_attention";
        }
        if (used && !config.has("sliding_window")) {
            config.refuse("bad model configuration", "sliding_window",
                          "a number, as layer_types has sliding_attention");
        }
    } else if (qwen && used && config.has("max_window_layers")) {
        // Layers from max_window_layers on slide; 0 is allowed here, so count() does not fit.
        used = config.number("max_window_layers", 0.0, 1e9) < static_cast<double>(model.layers);
    }
    return used ? config.count("sliding_window", config_max_position) : 0;
}

/// Which projections have biases: the families differ in what they let the keys decide.
inline void read_biases(const config_object& config, model_config& model) {
    const bool attention = config.flag_or("attention_bias", false);
    const bool mlp = config.flag_or("mlp_bias", false);
    if (mlp && model.type != model_type::llama) {
        config.refuse("this model type has no MLP bias", "mlp_bias", "false");
    }
    if (attention && model.type == model_type::mistral) {
        config.refuse("this model type has no attention bias", "attention_bias", "false");
    }
    const bool qwen2 = model.type == model_type::qwen2;  // q, k, v always; o never
    model.qkv_bias = attention || qwen2;
    model.output_bias = attention && !qwen2;
    model.mlp_bias = mlp;
    model.qk_norm = model.type == model_type::qwen3;
}

inline void read_sizes(const config_object& config, model_config& model) {
    model.hidden_size = config.count("hidden_size", config_max_width);
    model.intermediate_size = config.count("intermediate_size", config_max_width);
    model.layers = config.count("num_hidden_layers", config_max_layers);
    model.heads = config.count("num_attention_heads", config_max_width);
    model.kv_heads = config.count_or("num_key_value_heads", model.heads, model.heads);
    model.vocab_size = config.count("vocab_size", config_max_vocab);
    model.max_position = config.count_or("max_position_embeddings", config_max_position, 2048);
    if (model.heads % model.kv_heads != 0) {
        config.refuse("bad model configuration", "num_key_value_heads",
                      "a divisor of num_attention_heads " + std::to_string(model.heads));
    }
    constexpr std::size_t qwen3_head_dim = 128;  // Qwen3's default does not follow hidden_size
    if (config.has("head_dim")) {
        model.head_dim = config.count("head_dim", config_max_head_dim);
    } else if (model.type == model_type::qwen3) {
        model.head_dim = qwen3_head_dim;
    } else if (model.hidden_size % model.heads != 0) {
        config.refuse("bad model configuration", "num_attention_heads",
                      "a divisor of hidden_size " + std::to_string(model.hidden_size));
    } else {
        model.head_dim = model.hidden_size / model.heads;
    }
    if (model.head_dim % 2 != 0 || model.head_dim > config_max_head_dim) {
        config.refuse("bad model configuration", "head_dim",
                      "an even number up to " + std::to_string(config_max_head_dim),
                      std::to_string(model.head_dim));
    }
    if (model.query_size() > config_max_width) {
        config.refuse("bad model configuration", "num_attention_heads",
                      "heads * head_dim up to " + std::to_string(config_max_width),
                      std::to_string(model.query_size()));
    }
}

}  // namespace detail

/// The configuration in a parsed config.json. `where` names the file in messages.
/// Throws fpq::error (input) with file, key, expected and found; never anything else but bad_alloc.
[[nodiscard]] inline model_config read_model_config(const nlohmann::json& json,
                                                    const std::string& where) {
    if (!json.is_object()) {
        fail_input("bad model configuration", where, "a JSON object", json.type_name());
    }
    const detail::config_object config(json, where, "");
    model_config model;
    model.where = where;
    model.type = detail::read_model_type(config);
    detail::refuse_foreign_features(config);
    detail::read_sizes(config, model);
    detail::read_biases(config, model);
    constexpr double default_eps = 1e-6;  // of all four configuration classes
    model.rms_norm_eps =
        static_cast<float>(config.number_or("rms_norm_eps", 0.0, 1.0, default_eps));
    model.rope = detail::read_rope(config);
    model.sliding_window = detail::read_sliding_window(config, model);
    model.tied_head = config.flag_or("tie_word_embeddings", false);
    model.dtype = config.text_or("dtype", config.text_or("torch_dtype", ""));
    return model;
}

}  // namespace fpq
