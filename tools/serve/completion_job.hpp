// SPDX-License-Identifier: Apache-2.0
// One completion request while it runs: what the engine brought for each of its choices, as text
// and scores. The engine's thread fills it, the connection's thread reads it.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "fpq/io/tokenizer/tokenizer.hpp"
#include "fpq/model/generation.hpp"
#include "serve/api_error.hpp"
#include "serve/completion_request.hpp"
#include "serve/engine_loop.hpp"
#include "serve/text_stream.hpp"

namespace fpq::tools {

/// What completions are made with.
struct completion_model {
    tokenizer const* words = nullptr;
    std::vector<std::int32_t> ends;  ///< tokens that end a text
    request_limits limits;           ///< with the name
};

/// One of the answers.
struct completion_choice {
    completion_choice(tokenizer const& words, bool skip_special) : text(words, skip_special) {}

    text_stream text;                  ///< of `tokens`, in their order
    std::vector<scored_token> tokens;  ///< the prompt's when they are echoed, then the generated
    std::size_t echoed = 0;            ///< of `tokens`, those of the prompt
    std::size_t ready = 0;             ///< of `tokens`, those that have all that was asked for
    std::size_t prompt_tokens = 0;
    std::size_t generated = 0;
    bool stopped = false;  ///< by a stop string
    std::optional<finish_reason> finish;
};

/// Filled and read under `mutex`.
class completion_job {
public:
    using deadline = std::chrono::steady_clock::time_point;

    /// Tokenizes the prompts. Throws api_error for one that is too long.
    completion_job(completion_model const& model, completion_request request);

    [[nodiscard]] completion_request const& request() const noexcept { return request_; }
    [[nodiscard]] completion_model const& model() const noexcept { return *model_; }
    [[nodiscard]] std::string const& id() const noexcept { return id_; }
    [[nodiscard]] std::int64_t created() const noexcept { return created_; }

    /// The work of each choice, which keeps `self` alive.
    static std::vector<engine_work> work_of(std::shared_ptr<completion_job> const& self);

    /// Waits until every choice is done. False: not until then. Throws api_error when one failed
    /// (400, 500 or 503).
    bool wait(deadline until) { return wait_until(until, true); }
    /// The same, until something came since the last call.
    bool wait_for_more(deadline until) { return wait_until(until, false); }

    /// For who reads: the choices, locked against changes.
    struct locked {
        std::unique_lock<std::mutex> lock;
        std::vector<completion_choice> const& choices;
    };
    [[nodiscard]] locked look() { return {std::unique_lock(mutex_), choices_}; }
    [[nodiscard]] bool done();

private:
    struct prompt_tokens {
        std::vector<std::int32_t> ids;
        std::size_t before = 0;  ///< of them, put before the text by the tokenizer
        std::size_t after = 0;   ///< behind it
    };
    [[nodiscard]] prompt_tokens tokens_of(completion_prompt& prompt) const;
    [[nodiscard]] generation_request engine_request(std::size_t choice) const;
    bool take(std::size_t choice, generation_update const& what);
    /// False: the text ends with it.
    bool take_token(completion_choice& c, scored_token token);
    void fail(engine_failure kind, std::string const& why);
    bool wait_until(deadline until, bool all);
    [[nodiscard]] bool all_done() const;

    completion_model const* model_;
    completion_request request_;
    std::string id_;
    std::int64_t created_;
    std::uint64_t seed_;
    std::vector<std::vector<std::int32_t>> prompts_;

    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<completion_choice> choices_;
    std::optional<api_error> failure_;
    bool more_ = false;
};

}  // namespace fpq::tools
