// SPDX-License-Identifier: Apache-2.0
// What is asked of an engine and what it answers: tokens in, tokens and their log-probabilities
// out.
//
// Floor 7, data only. Text, stop strings and chat templates are the caller's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace fpq {

/// How the next token is chosen.
struct token_choice {
    float temperature = 0.0F;  ///< 0: the likeliest token, the lowest id among equals
    float top_p = 1.0F;        ///< in (0, 1]: the smallest set of tokens with that much probability
    std::size_t top_k = 0;     ///< the likeliest so many; 0: all
    std::uint64_t seed = 0;    ///< token t of a request takes random number t of this Philox stream
};

struct generation_request {
    std::vector<std::int32_t> prompt;  ///< at least one token
    std::size_t max_tokens = 16;       ///< to generate; 0: the prompt is only scored
    token_choice choice{};
    std::vector<std::int32_t> stop_tokens{};  ///< end the text, and are not part of it
    /// Alternatives beside every scored token: the likeliest so many, in that order. Empty: no
    /// log-probabilities at all.
    std::optional<std::size_t> top_logprobs{};
    bool score_prompt = false;  ///< log-probabilities of the prompt's tokens from the second on
};

struct scored_token {
    std::int32_t token = 0;
    float logprob = 0.0F;  ///< natural logarithm, of the model's own distribution: temperature 1
    std::vector<std::pair<std::int32_t, float>> top{};  ///< the likeliest first, lower ids first
};

enum class finish_reason : std::uint8_t { stop, length, cancelled };

/// What a step of the engine brought for one request.
struct generation_update {
    std::vector<scored_token> prompt{};     ///< of tokens 1, 2, ... of the prompt, when asked for
    std::vector<scored_token> tokens{};     ///< generated, in order
    std::optional<finish_reason> finish{};  ///< of the last update
    std::string problem{};                  ///< why the engine cancelled it by itself, else empty
};

/// Takes an update; false cancels the request, and it is not called again. So does an exception,
/// which goes no further.
using generation_sink = std::function<bool(generation_update const&)>;

}  // namespace fpq
