// SPDX-License-Identifier: Apache-2.0
// The body of POST /v1/completions as values. Every member that is given counts, or is refused by
// its name.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fpq::tools {

/// What a request may ask for.
struct request_limits {
    std::string model;           ///< the name under which the model is served
    std::size_t longest = 2048;  ///< tokens of a prompt and of what follows it
    std::size_t vocabulary = 0;  ///< token ids are below
    std::size_t choices = 256;   ///< of one request: prompts times n
};

/// Text or token ids.
struct completion_prompt {
    std::optional<std::string> text;
    std::vector<std::int32_t> tokens;  ///< when there is no text
};

struct completion_request {
    std::vector<completion_prompt> prompts;
    std::size_t n = 1;  ///< choices of each prompt
    std::size_t max_tokens = 16;
    float temperature = 1.0F;
    float top_p = 1.0F;
    std::size_t top_k = 0;  ///< 0: all
    std::optional<std::uint64_t> seed;
    std::vector<std::string> stop;        ///< none of them empty
    std::optional<std::size_t> logprobs;  ///< alternatives beside each token
    bool echo = false;
    bool stream = false;
    bool include_usage = false;       ///< of a stream: a last chunk with the usage
    bool add_special_tokens = true;   ///< around a prompt that is text, as the tokenizer does
    bool skip_special_tokens = true;  ///< they are left out of the text
    bool ignore_eos = false;          ///< goes on to max_tokens
};

/// Throws api_error (400, or 404 for another model) that names the member.
completion_request read_completion_request(std::string_view body, request_limits const& limits);

/// Throws api_error (400) unless a prompt of so many tokens and max_tokens fit.
void require_length(std::size_t prompt_tokens, completion_request const& request,
                    request_limits const& limits);

}  // namespace fpq::tools
