// SPDX-License-Identifier: Apache-2.0
// Test support. Requests through an engine, and all that their sinks heard. Header only: the engine
// is a template over the backend.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "fpq/core/random.hpp"
#include "fpq/model/engine.hpp"

namespace fpq_test {

/// What a request heard, updates joined.
struct heard {
    std::vector<fpq::scored_token> prompt;
    std::vector<fpq::scored_token> tokens;
    std::optional<fpq::finish_reason> finish;
    std::string problem;
    std::size_t updates = 0;

    void take(fpq::generation_update const& u) {
        prompt.insert(prompt.end(), u.prompt.begin(), u.prompt.end());
        tokens.insert(tokens.end(), u.tokens.begin(), u.tokens.end());
        finish = u.finish ? u.finish : finish;
        problem += u.problem;
        ++updates;
    }
    [[nodiscard]] std::vector<std::int32_t> ids() const {
        std::vector<std::int32_t> out;
        for (fpq::scored_token const& t : tokens) {
            out.push_back(t.token);
        }
        return out;
    }
};

inline bool same(fpq::scored_token const& a, fpq::scored_token const& b) {
    return a.token == b.token && a.logprob == b.logprob && a.top == b.top;
}

/// Equal to the last bit.
inline bool same(heard const& a, heard const& b) {
    auto const equal = [](auto const& x, auto const& y) {
        bool good = x.size() == y.size();
        for (std::size_t i = 0; good && i < x.size(); ++i) {
            good = same(x[i], y[i]);
        }
        return good;
    };
    return equal(a.prompt, b.prompt) && equal(a.tokens, b.tokens) && a.finish == b.finish;
}

/// One step; throws when there were too many of them: a request is stuck.
template <class B>
bool step_of(fpq::engine<B>& e, std::size_t& steps) {
    if (++steps > 100000) {
        throw std::runtime_error("requests are stuck: " + std::to_string(e.waiting()) + " wait");
    }
    return e.step();
}

/// Runs an engine until nothing is left.
template <class B>
void finish(fpq::engine<B>& e) {
    for (std::size_t steps = 0; step_of(e, steps);) {
    }
}

/// All requests through `e`: `early` of them before the first step, then one more a step.
template <class B>
std::vector<heard> run_all(fpq::engine<B>& e, std::vector<fpq::generation_request> const& requests,
                           std::size_t early) {
    std::vector<heard> out(requests.size());
    std::size_t next = 0;
    auto const submit = [&] {
        heard* const to = &out[next];
        e.submit(requests[next++], [to](fpq::generation_update const& u) {
            to->take(u);
            return true;
        });
    };
    while (next < early && next < requests.size()) {
        submit();
    }
    std::size_t steps = 0;
    for (bool more = true; more || next < requests.size();) {
        more = step_of(e, steps);
        if (next < requests.size()) {
            submit();
        }
    }
    return out;
}

/// Requests of lengths 1 to `longest`, greedy and sampled, scored and not, no two alike.
inline std::vector<fpq::generation_request> mixed_requests(std::size_t count, std::size_t longest,
                                                           std::size_t vocabulary) {
    fpq::philox const source{11, 5};
    std::uint64_t at = 0;
    auto const below = [&](std::size_t bound) {
        return static_cast<std::size_t>(source.below(at++, static_cast<std::uint32_t>(bound)));
    };
    std::vector<fpq::generation_request> out(count);
    for (std::size_t i = 0; i < count; ++i) {
        fpq::generation_request& r = out[i];
        // The short ones are many: every other is below 20.
        r.prompt.resize(1 + below(i % 2 == 0 ? std::min<std::size_t>(20, longest) : longest));
        for (std::int32_t& token : r.prompt) {
            token = static_cast<std::int32_t>(below(vocabulary));
        }
        r.max_tokens = below(24);
        r.score_prompt = below(2) == 0;
        r.top_logprobs = below(2) == 0 ? std::optional(below(4)) : std::nullopt;
        if (below(2) == 0) {
            r.choice.temperature = 0.8F;
            r.choice.seed = i;
            r.choice.top_p = below(2) == 0 ? 1.0F : 0.9F;
            r.choice.top_k = below(2) == 0 ? 0 : 7;
        }
        r.stop_tokens = {static_cast<std::int32_t>(below(vocabulary))};
    }
    return out;
}

}  // namespace fpq_test
