// SPDX-License-Identifier: Apache-2.0
#include "serve/completion_job.hpp"

#include <algorithm>
#include <random>
#include <utility>

namespace fpq::tools {

namespace {

std::uint64_t random_bits() {
    std::random_device source;
    return std::uint64_t{source()} << 32 | source();
}

std::string random_id() {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string id = "cmpl-";
    for (int word = 0; word < 2; ++word) {
        std::uint64_t const bits = random_bits();
        for (int shift = 60; shift >= 0; shift -= 4) {
            id.push_back(digits[bits >> shift & 15]);
        }
    }
    return id;
}

/// Distance of the seeds of one prompt's choices: the odd number nearest to 2^64 over the golden
/// ratio, so that seeds 1, 2, 3 of other requests are none of them.
constexpr std::uint64_t seed_stride = 0x9E3779B97F4A7C15;

}  // namespace

completion_job::prompt_tokens completion_job::tokens_of(completion_prompt& prompt) const {
    if (!prompt.text) {
        return {std::exchange(prompt.tokens, {}), 0, 0};
    }
    tokenizer const& words = *model_->words;
    std::vector<std::int32_t> const& prefix = words.parts().prefix;
    std::vector<std::int32_t> own = words.encode(*prompt.text, false);
    bool const begins = !prefix.empty() && own.size() >= prefix.size() &&
                        std::equal(prefix.begin(), prefix.end(), own.begin());
    // A text that somebody decoded, or a chat template wrote, has its first token already.
    if (!request_.add_special_tokens || begins) {
        return {std::move(own), 0, 0};
    }
    return {words.encode(*prompt.text), prefix.size(), words.parts().suffix.size()};
}

completion_job::completion_job(completion_model const& model, completion_request request)
    : model_(&model),
      request_(std::move(request)),
      id_(random_id()),
      created_(std::chrono::duration_cast<std::chrono::seconds>(
                   std::chrono::system_clock::now().time_since_epoch())
                   .count()),
      seed_(request_.seed ? *request_.seed : random_bits()) {
    for (completion_prompt& prompt : request_.prompts) {
        auto [tokens, before, after] = tokens_of(prompt);
        require_length(tokens.size(), request_, model.limits);
        for (std::size_t i = 0; i < request_.n; ++i) {
            completion_choice& c =
                choices_.emplace_back(*model.words, request_.skip_special_tokens);
            c.prompt_tokens = tokens.size();
            c.echoed = request_.echo ? tokens.size() : 0;
            for (std::size_t t = 0; t < c.echoed; ++t) {
                bool const own = t >= before && t + after < tokens.size();
                c.text.append(tokens[t], own ? token_part::prompt : token_part::none);
                c.tokens.push_back({tokens[t]});
            }
            if (c.echoed == 0) {
                c.text.begin_after(tokens.back());
            }
            c.ready = request_.logprobs ? std::min<std::size_t>(c.echoed, 1) : c.echoed;
        }
        prompts_.push_back(std::move(tokens));
    }
}

generation_request completion_job::engine_request(std::size_t choice) const {
    generation_request out;
    out.prompt = prompts_[choice / request_.n];
    out.max_tokens = request_.max_tokens;
    out.choice = {request_.temperature, request_.top_p, request_.top_k,
                  seed_ + seed_stride * (choice % request_.n)};
    out.top_logprobs = request_.logprobs;
    out.score_prompt = request_.echo && request_.logprobs;
    return out;
}

std::vector<engine_work> completion_job::work_of(std::shared_ptr<completion_job> const& self) {
    std::vector<engine_work> out;
    for (std::size_t i = 0; i < self->choices_.size(); ++i) {
        out.push_back(
            {self->engine_request(i),
             [self, i](generation_update const& what) { return self->take(i, what); },
             [self](engine_failure kind, std::string const& why) { self->fail(kind, why); }});
    }
    return out;
}

bool completion_job::take_token(completion_choice& c, scored_token token) {
    std::vector<std::int32_t> const& ends = model_->ends;
    bool const is_end =
        !request_.ignore_eos && std::find(ends.begin(), ends.end(), token.token) != ends.end();
    c.text.append(token.token, is_end ? token_part::none : token_part::answer);
    c.tokens.push_back(std::move(token));
    ++c.generated;
    c.stopped = !is_end && c.text.stop_at(request_.stop);
    return !is_end && !c.stopped;
}

bool completion_job::take(std::size_t choice, generation_update const& what) {
    bool goes_on = true;
    {
        std::scoped_lock const lock(mutex_);
        completion_choice& c = choices_[choice];
        for (scored_token const& score : what.prompt) {
            if (c.ready < c.echoed) {
                c.tokens[c.ready++] = score;
            }
        }
        for (scored_token const& token : what.tokens) {
            goes_on = goes_on && take_token(c, token);
        }
        c.ready = c.generated == 0 ? c.ready : c.tokens.size();
        c.finish = goes_on ? what.finish : finish_reason::stop;
        if (c.finish) {
            c.text.finish();
        }
        if (c.finish == finish_reason::cancelled && !failure_) {
            failure_.emplace(500, "the engine gave the request up");
        }
        more_ = true;
    }
    changed_.notify_all();
    return goes_on;
}

void completion_job::fail(engine_failure kind, std::string const& why) {
    {
        std::scoped_lock const lock(mutex_);
        int const status = kind == engine_failure::refused   ? 400
                           : kind == engine_failure::stopped ? 503
                                                             : 500;
        failure_.emplace(status, why);
    }
    changed_.notify_all();
}

bool completion_job::all_done() const {
    return std::all_of(choices_.begin(), choices_.end(),
                       [](completion_choice const& c) { return c.finish.has_value(); });
}

bool completion_job::done() {
    std::scoped_lock const lock(mutex_);
    return all_done();
}

bool completion_job::wait_until(deadline until, bool all) {
    std::unique_lock lock(mutex_);
    bool const came =
        changed_.wait_until(lock, until, [&] { return failure_ || all_done() || (!all && more_); });
    if (failure_) {
        throw api_error(*failure_);
    }
    more_ = more_ && !came;
    return came;
}

}  // namespace fpq::tools
