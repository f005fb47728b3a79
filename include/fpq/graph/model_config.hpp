// SPDX-License-Identifier: Apache-2.0
// What the decoder must know about a checkpoint: sizes, biases, norms, rotary embedding, window.
//
// Floor 5. Values only. model/config.hpp reads them from config.json, architecture.hpp says which
// linears and norms a family has.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/graph/architecture.hpp"

namespace fpq {

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
    architecture const* family = nullptr;  ///< static
    std::size_t hidden_size = 0;
    std::size_t intermediate_size = 0;
    std::size_t layers = 0;
    std::size_t heads = 0;     ///< query heads
    std::size_t kv_heads = 0;  ///< key/value heads; divides `heads`
    std::size_t head_dim = 0;  ///< even; not always hidden_size / heads
    std::size_t vocab_size = 0;
    std::size_t max_position = 0;    ///< tokens the model was made for; a hint, not a limit
    bool says_max_position = false;  ///< config.json does, else a default stands above
    std::size_t sliding_window = 0;  ///< tokens a position can see; 0: all earlier ones
    float rms_norm_eps = 1e-6F;
    rope_config rope;
    bool tied_head = false;       ///< lm_head is the embedding
    std::string absent_prefix;    ///< which the names of this checkpoint lack ("model.") or empty
    bool attention_bias = false;  ///< what bias_rule::attention_key asks for
    bool mlp_bias = false;        ///< what bias_rule::mlp_key asks for
    std::string dtype;            ///< as written: "bfloat16", "float16", "float32" or empty
    std::string where;            ///< the file this came from, for messages
    std::string unknown_rope;     ///< a rotary embedding that the forward pass lacks, or empty
    std::vector<std::string> notes;           ///< what a user should know of how it was read
    std::vector<std::string> contradictions;  ///< where config.json and tensors disagree

    /// Values in one token's queries: heads * head_dim.
    [[nodiscard]] std::size_t query_size() const noexcept { return heads * head_dim; }
    /// Values in one token's keys (and values): kv_heads * head_dim.
    [[nodiscard]] std::size_t kv_size() const noexcept { return kv_heads * head_dim; }

    /// The longest sequence for which a sliding window changes nothing: the window itself, since
    /// token i sees tokens j with i - j < window.
    [[nodiscard]] std::size_t max_sequence_without_window() const noexcept {
        return sliding_window != 0 ? sliding_window : std::numeric_limits<std::size_t>::max();
    }

    /// A line about windows of `length` tokens when config.json says that the model was not made
    /// for them, else empty.
    [[nodiscard]] std::string long_windows(std::size_t length) const {
        return says_max_position && length > max_position
                   ? "windows of " + std::to_string(length) +
                         " tokens are longer than max_position_embeddings " +
                         std::to_string(max_position) + ": the model was not made for them"
                   : std::string();
    }

    /// Throws fpq::error when the forward pass cannot run on `length` tokens: the rotary embedding
    /// is not implemented, or the sliding window, which is not applied, would count.
    void require_sequence(std::size_t length) const {
        if (!unknown_rope.empty()) {
            fail_input("unsupported rotary embedding", where, "default, linear or llama3",
                       unknown_rope);
        }
        if (length > max_sequence_without_window()) {
            fail_input("sliding-window attention is not supported", where + ": sliding_window",
                       "a window of at least the sequence length " + std::to_string(length),
                       std::to_string(sliding_window));
        }
    }
};

}  // namespace fpq
