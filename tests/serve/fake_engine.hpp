// SPDX-License-Identifier: Apache-2.0
// Test support. An engine that answers every request with the tokens it was told, one a step, and
// with scores that follow from token and place.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/model/generation.hpp"

namespace fpq_test {

class fake_engine {
public:
    /// What follows any prompt, from its beginning again when it is used up.
    std::vector<std::int32_t> answer{1, 2, 3};
    /// The answer begins at this many tokens plus the seed.
    bool seeded = false;
    /// Steps throw when this many requests have been submitted; 0: never.
    std::size_t breaks_after = 0;
    /// No token comes while this is set.
    std::atomic<bool> held{false};
    std::size_t submitted = 0;
    std::atomic<std::size_t> steps{0};
    std::vector<fpq::generation_request> seen;

    std::uint64_t submit(fpq::generation_request request, fpq::generation_sink sink) {
        if (request.prompt.size() == 13) {
            fpq::fail_usage("the fake engine", {}, "no prompt of 13 tokens", "one");
        }
        seen.push_back(request);
        running_.emplace(++submitted, one{std::move(request), std::move(sink), 0});
        return submitted;
    }
    void cancel(std::uint64_t id) { running_.erase(id); }
    bool step() {
        ++steps;
        if (breaks_after != 0 && submitted >= breaks_after) {
            throw std::runtime_error("the fake engine broke");
        }
        for (auto at = running_.begin(); at != running_.end();) {
            at = advance(at->second) ? std::next(at) : running_.erase(at);
        }
        return !running_.empty();
    }

    /// An eighth is exact in float and in the JSON of it.
    static float logprob(std::int32_t token, std::size_t place) {
        return -0.125F * static_cast<float>((static_cast<std::size_t>(token) + place) % 32 + 1);
    }

private:
    struct one {
        fpq::generation_request request;
        fpq::generation_sink sink;
        std::size_t done;
    };

    static fpq::scored_token scored(fpq::generation_request const& r, std::int32_t token,
                                    std::size_t place) {
        fpq::scored_token out{token};
        if (r.top_logprobs) {
            out.logprob = logprob(token, place);
            for (std::size_t k = 0; k < *r.top_logprobs; ++k) {
                // Even places hold the likeliest token, odd ones another.
                auto const other = static_cast<std::int32_t>(k + (place % 2));
                out.top.emplace_back((token + other) % 4000,
                                     place % 2 == 0 ? out.logprob - static_cast<float>(k)
                                                    : -0.0625F - static_cast<float>(k));
            }
        }
        return out;
    }

    /// One token; false when the request is done.
    bool advance(one& o) {
        if (held) {
            return true;
        }
        fpq::generation_request const& r = o.request;
        fpq::generation_update what;
        if (o.done == 0 && r.score_prompt) {
            for (std::size_t i = 1; i < r.prompt.size(); ++i) {
                what.prompt.push_back(scored(r, r.prompt[i], i));
            }
        }
        if (o.done < r.max_tokens) {
            std::size_t const at = o.done + (seeded ? r.choice.seed : 0);
            std::int32_t const token = answer[at % answer.size()];
            what.tokens.push_back(scored(r, token, r.prompt.size() + o.done));
            ++o.done;
        }
        if (o.done == r.max_tokens) {
            what.finish = fpq::finish_reason::length;
        }
        bool const goes_on = o.sink(what);
        return goes_on && !what.finish;
    }

    std::map<std::uint64_t, one> running_;
};

}  // namespace fpq_test
