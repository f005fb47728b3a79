// SPDX-License-Identifier: Apache-2.0
// What the decoder must know about a checkpoint: sizes, biases, norms, rotary embedding, window.
//
// Floor 7. The keys are those of the config.json that the Hugging Face transformers write
// for Llama, Mistral, Qwen2 and Qwen3, in the spelling before version 5 (rope_theta, rope_scaling,
// torch_dtype) and since (rope_parameters, dtype). Whatever would change the arithmetic and is not
// known here is refused by its key. Reading is in config.hpp, tensor names in names.hpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

#include "fpq/core/hosted/error.hpp"

namespace fpq {

/// The decoder families that the forward pass reproduces.
enum class model_type : std::uint8_t { llama, mistral, qwen2, qwen3 };

/// The value of config.json's `model_type`.
[[nodiscard]] constexpr std::string_view model_type_name(model_type type) noexcept {
    switch (type) {
        case model_type::llama:
            return "llama";
        case model_type::mistral:
            return "mistral";
        case model_type::qwen2:
            return "qwen2";
        case model_type::qwen3:
            return "qwen3";
    }
    return "";
}

/// How rotary frequencies are derived from theta.
enum class rope_kind : std::uint8_t {
    standard,  ///< theta^(-2i/d), called "default" in config.json
    linear,    ///< the same divided by `factor`
    llama3     ///< low frequencies divided by `factor`, high ones kept, a ramp between
};

/// Parameters of the rotary embedding. Fields after `factor` matter for llama3 only.
struct rope_config {
    rope_kind kind = rope_kind::standard;
    double theta = 10000.0;
    double factor = 1.0;
    double low_freq_factor = 1.0;
    double high_freq_factor = 4.0;
    double original_max_position = 8192.0;  ///< tokens

    friend bool operator==(const rope_config&, const rope_config&) = default;
};

/// Everything the forward pass takes from config.json. Sizes are counts of values, heads or tokens.
struct model_config {
    model_type type = model_type::llama;
    std::size_t hidden_size = 0;
    std::size_t intermediate_size = 0;
    std::size_t layers = 0;
    std::size_t heads = 0;     ///< query heads
    std::size_t kv_heads = 0;  ///< key/value heads; divides `heads`
    std::size_t head_dim = 0;  ///< even; not always hidden_size / heads
    std::size_t vocab_size = 0;
    std::size_t max_position = 0;    ///< tokens the model was made for; a hint, not a limit
    std::size_t sliding_window = 0;  ///< tokens a position can see; 0: all earlier ones
    float rms_norm_eps = 1e-6F;
    rope_config rope;
    bool tied_head = false;    ///< lm_head is the embedding
    bool qkv_bias = false;     ///< q_proj, k_proj, v_proj have a bias
    bool output_bias = false;  ///< o_proj has a bias
    bool mlp_bias = false;     ///< gate_proj, up_proj, down_proj have a bias
    bool qk_norm = false;      ///< RMSNorm over each head of q and k (Qwen3)
    std::string dtype;         ///< as written: "bfloat16", "float16", "float32" or empty
    std::string where;         ///< the file this came from, for messages

    /// Values in one token's queries: heads * head_dim.
    [[nodiscard]] std::size_t query_size() const noexcept { return heads * head_dim; }
    /// Values in one token's keys (and values): kv_heads * head_dim.
    [[nodiscard]] std::size_t kv_size() const noexcept { return kv_heads * head_dim; }

    /// The longest sequence for which a sliding window changes nothing: the window itself, since
    /// token i sees tokens j with i - j < window.
    [[nodiscard]] std::size_t max_sequence_without_window() const noexcept {
        return sliding_window != 0 ? sliding_window : std::numeric_limits<std::size_t>::max();
    }

    /// Throws fpq::error when a sequence of `length` tokens needs the sliding window, which the
    /// forward pass does not apply.
    void require_sequence(std::size_t length) const {
        if (length > max_sequence_without_window()) {
            fail_input("sliding-window attention is not supported", where + ": sliding_window",
                       "a window of at least the sequence length " + std::to_string(length),
                       std::to_string(sliding_window));
        }
    }
};

}  // namespace fpq
