// SPDX-License-Identifier: Apache-2.0
#include "serve/completion_response.hpp"

#include <algorithm>
#include <cmath>
#include <string_view>

#include "fpq/io/text/text_unicode.hpp"

namespace fpq::tools {

namespace {

using json = nlohmann::ordered_json;

char const* word_of(finish_reason reason) {
    return reason == finish_reason::stop ? "stop" : "length";
}

/// JSON has no infinity; the API writes this for a probability of 0.
float finite(float logprob) { return std::isfinite(logprob) ? logprob : -9999.0F; }

/// Characters, not bytes.
std::size_t characters(std::string_view text) {
    return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
        return (static_cast<unsigned char>(c) & 0xC0u) != 0x80u;
    }));
}

/// The likeliest tokens and the one that stands there. Of two tokens with one name the likelier
/// counts.
json alternatives(tokenizer const& words, scored_token const& token) {
    json out = json::object();
    for (auto const& [other, logprob] : token.top) {
        out.emplace(token_name(words, other), finite(logprob));
    }
    out.emplace(token_name(words, token.token), finite(token.logprob));
    return out;
}

/// Of tokens [begin, end) of a choice. Nothing precedes the first token of an echoed prompt.
json logprobs_of(completion_job const& job, completion_choice const& c, std::size_t begin,
                 std::size_t end) {
    tokenizer const& words = *job.model().words;
    json tokens = json::array();
    json logprobs = json::array();
    json tops = json::array();
    json offsets = json::array();
    std::size_t counted = 0;
    std::size_t offset = 0;
    for (std::size_t i = begin; i < end; ++i) {
        std::size_t const place = c.text.begin_of(i);
        offset += characters(std::string_view(c.text.text()).substr(counted, place - counted));
        counted = place;
        bool const first = i == 0 && c.echoed > 0;
        tokens.push_back(token_name(words, c.tokens[i].token));
        logprobs.push_back(first ? json() : json(finite(c.tokens[i].logprob)));
        tops.push_back(first ? json() : alternatives(words, c.tokens[i]));
        offsets.push_back(offset);
    }
    return {{"tokens", std::move(tokens)},
            {"token_logprobs", std::move(logprobs)},
            {"top_logprobs", std::move(tops)},
            {"text_offset", std::move(offsets)}};
}

/// Tokens of a choice that is done which are told: none that begins where a stop string ended the
/// text, or behind.
std::size_t told_tokens(completion_choice const& c) {
    std::size_t n = c.tokens.size();
    while (c.stopped && n > c.echoed && c.text.begin_of(n - 1) >= c.text.text().size()) {
        --n;
    }
    return n;
}

json usage_of(completion_job const& job, std::vector<completion_choice> const& choices) {
    std::size_t prompt = 0;
    std::size_t generated = 0;
    for (std::size_t i = 0; i < choices.size(); ++i) {
        prompt += i % job.request().n == 0 ? choices[i].prompt_tokens : 0;
        generated += choices[i].generated;
    }
    return {{"prompt_tokens", prompt},
            {"completion_tokens", generated},
            {"total_tokens", prompt + generated}};
}

json frame_of(completion_job const& job) {
    return {{"id", job.id()},
            {"object", "text_completion"},
            {"created", job.created()},
            {"model", job.model().limits.model}};
}

json choice_json(std::size_t index, std::string_view text, json logprobs,
                 std::optional<finish_reason> finish) {
    return {{"text", repair_utf8(text)},
            {"index", index},
            {"logprobs", std::move(logprobs)},
            {"finish_reason", finish ? json(word_of(*finish)) : json()}};
}

std::string event(std::string const& data) { return "data: " + data + "\n\n"; }

}  // namespace

std::string completion_answer(completion_job& job) {
    auto const [lock, choices] = job.look();
    json out = frame_of(job);
    out["choices"] = json::array();
    for (std::size_t i = 0; i < choices.size(); ++i) {
        completion_choice const& c = choices[i];
        json logprobs = job.request().logprobs ? logprobs_of(job, c, 0, told_tokens(c)) : json();
        out["choices"].push_back(choice_json(i, c.text.text(), std::move(logprobs), c.finish));
    }
    out["usage"] = usage_of(job, choices);
    return out.dump();
}

completion_events::completion_events(completion_job& job)
    : job_(&job), sent_(job.look().choices.size()) {}

std::string completion_events::next() {
    auto const [lock, choices] = job_->look();
    std::string out;
    bool all = true;
    for (std::size_t i = 0; i < choices.size(); ++i) {
        completion_choice const& c = choices[i];
        progress& sent = sent_[i];
        if (sent.finished) {
            continue;
        }
        bool const done = c.finish.has_value();
        all = all && done;
        std::size_t end = done ? c.text.text().size() : c.text.settled(job_->request().stop);
        std::size_t tokens = done ? told_tokens(c) : sent.tokens;
        while (!done && tokens < c.ready && c.text.end_of(tokens) <= end) {
            ++tokens;
        }
        if (!done && tokens < c.tokens.size()) {
            end = std::min(end, c.text.begin_of(tokens));  // text and its tokens go together
        }
        end = std::max(end, sent.text);
        if (!done && end == sent.text) {
            continue;
        }
        json logprobs =
            job_->request().logprobs ? logprobs_of(*job_, c, sent.tokens, tokens) : json();
        json chunk = frame_of(*job_);
        chunk["choices"] = json::array(
            {choice_json(i, std::string_view(c.text.text()).substr(sent.text, end - sent.text),
                         std::move(logprobs), c.finish)});
        out += event(chunk.dump());
        sent = {end, tokens, done};
    }
    if (all && !ended_) {
        ended_ = true;
        if (job_->request().include_usage) {
            json chunk = frame_of(*job_);
            chunk["choices"] = json::array();
            chunk["usage"] = usage_of(*job_, choices);
            out += event(chunk.dump());
        }
        out += event("[DONE]");
    }
    return out;
}

std::string completion_events::of(api_error const& why) { return event(why.body().dump()); }

}  // namespace fpq::tools
