// SPDX-License-Identifier: Apache-2.0
// Floor 7. Continuous batching as bookkeeping, without a model: which requests run, which of their
// tokens the next step takes, what is asked of its logits, and what its answers mean for them.
//
// A request starts when the pages of its whole length are free, in the order in which requests
// came: once started it never waits for memory, so nothing can deadlock and nothing is computed
// twice. The price is room that a request which stops early had reserved. A step takes one row of
// every sequence that generates, then as much of the prompts as fits, the oldest first.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "fpq/backend/ragged.hpp"
#include "fpq/core/random.hpp"
#include "fpq/model/generation.hpp"
#include "fpq/model/page_pool.hpp"

namespace fpq {

namespace detail {

/// The Philox stream of a request's choices.
inline constexpr std::uint64_t choice_stream = 0x20000;

/// A request on its way.
struct sequence {
    std::uint64_t id = 0;
    generation_request request;
    generation_sink sink;
    std::vector<std::int32_t> tokens{};  ///< the prompt and what was generated
    std::vector<std::int32_t> pages{};
    std::size_t cached = 0;  ///< tokens whose keys and values are stored
    bool cancelled = false;

    [[nodiscard]] std::size_t length() const noexcept {
        return request.prompt.size() + request.max_tokens;
    }
    [[nodiscard]] std::size_t generated() const noexcept {
        return tokens.size() - request.prompt.size();
    }
    [[nodiscard]] bool generates() const noexcept { return cached >= request.prompt.size(); }
    [[nodiscard]] bool stops_at(std::int32_t token) const noexcept {
        auto const& stops = request.stop_tokens;
        return std::find(stops.begin(), stops.end(), token) != stops.end();
    }

    /// What is asked of the logits behind the token at `position`; empty: nothing.
    [[nodiscard]] std::optional<row_query> query_at(std::size_t position) const {
        row_query q;
        q.top = request.top_logprobs.value_or(0);
        if (position + 1 < request.prompt.size()) {
            q.target = request.prompt[position + 1];
            return request.score_prompt ? std::optional(q) : std::nullopt;
        }
        if (generated() == request.max_tokens) {
            return std::nullopt;
        }
        token_choice const& how = request.choice;
        q.temperature = how.temperature;
        q.top_p = how.top_p;
        q.top_k = how.top_k;
        q.uniform = uniform(philox{how.seed, choice_stream}.at(generated()));
        return q;
    }
};

}  // namespace detail

struct batch_limits {
    std::size_t rows;       ///< of a step
    std::size_t sequences;  ///< side by side, at most `rows`
    std::size_t page;       ///< tokens of a page
    std::size_t pages;      ///< of the pool
};

/// The requests of an engine. plan() makes a step, settle() takes its answers and calls the sinks.
class batch {
public:
    explicit batch(batch_limits const& limits) : limits_(limits), pool_(limits.pages) {}

    [[nodiscard]] std::size_t waiting() const noexcept { return waiting_.size(); }
    [[nodiscard]] std::size_t running() const noexcept { return running_.size(); }
    [[nodiscard]] std::size_t free_pages() const noexcept { return pool_.free(); }

    /// A checked request. The sink may submit and cancel in its turn.
    std::uint64_t submit(generation_request request, generation_sink sink) {
        auto fresh = std::make_unique<detail::sequence>();
        fresh->id = next_id_++;
        fresh->tokens = request.prompt;
        fresh->request = std::move(request);
        fresh->sink = std::move(sink);
        waiting_.push_back(std::move(fresh));
        return waiting_.back()->id;
    }

    /// Of a request that is not there: nothing.
    void cancel(std::uint64_t id) noexcept {
        auto const mark = [id](auto& list) {
            for (auto& one : list) {
                one->cancelled = one->cancelled || one->id == id;
            }
        };
        mark(waiting_);
        mark(running_);
    }

    /// Ends what was cancelled, starts what has room, and writes down the next step; empty: nothing
    /// is left to do. queries[i] belongs to step.wanted[i].
    void plan(ragged_rows& step, std::vector<row_query>& queries) {
        drop_cancelled();
        start_waiting();
        step.clear();
        step.page = limits_.page;
        queries.clear();
        parts_.clear();
        for (bool const generating : {true, false}) {
            for (auto const& one : running_) {
                if (one->generates() == generating) {
                    add(*one, step, queries);
                }
            }
        }
    }

    /// Takes the answers of the step of the last plan().
    void settle(std::vector<row_answer>& answers) {
        for (part const& p : parts_) {
            generation_update update;
            update.finish = advance(p, answers, update);
            if (update.prompt.empty() && update.tokens.empty() && !update.finish) {
                continue;
            }
            if (!tell(*p.of, update) || update.finish) {
                p.of->sink = nullptr;
            }
        }
        remove(running_, [](detail::sequence const& s) { return s.sink == nullptr; });
    }

private:
    /// The rows of a sequence in a step.
    struct part {
        detail::sequence* of;
        std::size_t count;
        std::size_t first_answer;
        std::size_t answers;
    };

    /// False: the sink wants no more, or threw, which ends its request alone.
    static bool tell(detail::sequence const& s, generation_update const& update) noexcept {
        try {
            return s.sink(update);
        } catch (...) {
            return false;
        }
    }

    template <class List, class Which>
    void remove(List& from, Which which) {
        auto const last = std::remove_if(from.begin(), from.end(), [&](auto const& s) {
            if (!which(*s)) {
                return false;
            }
            pool_.give_back(s->pages);
            return true;
        });
        from.erase(last, from.end());
    }

    void drop_cancelled() {
        std::vector<detail::sequence*> dropped;  // a sink may submit: the lists change under it
        auto const collect = [&](auto const& from) {
            for (auto const& s : from) {
                if (s->cancelled) {
                    dropped.push_back(s.get());
                }
            }
        };
        collect(running_);
        collect(waiting_);
        generation_update update;
        update.finish = finish_reason::cancelled;
        for (detail::sequence* const s : dropped) {
            static_cast<void>(tell(*s, update));
            s->sink = nullptr;
        }
        auto const is_over = [](detail::sequence const& s) { return s.sink == nullptr; };
        remove(running_, is_over);
        remove(waiting_, is_over);
    }

    void start_waiting() {
        while (!waiting_.empty() && running_.size() < limits_.sequences) {
            detail::sequence& next = *waiting_.front();
            std::size_t const pages = (next.length() + limits_.page - 1) / limits_.page;
            if (pages > pool_.free()) {
                return;
            }
            next.pages = pool_.take(pages);
            running_.push_back(std::move(waiting_.front()));
            waiting_.pop_front();
        }
    }

    void add(detail::sequence& s, ragged_rows& step, std::vector<row_query>& queries) {
        std::size_t const row = step.tokens.size();
        std::size_t const count = std::min(s.tokens.size() - s.cached, limits_.rows - row);
        if (count == 0) {
            return;
        }
        step.spans.push_back({row, count, s.cached, step.pages.size()});
        step.pages.insert(step.pages.end(), s.pages.begin(), s.pages.end());
        part p{&s, count, queries.size(), 0};
        for (std::size_t i = 0; i < count; ++i) {
            step.tokens.push_back(s.tokens[s.cached + i]);
            if (auto const query = s.query_at(s.cached + i)) {
                step.wanted.push_back(static_cast<std::int32_t>(row + i));
                queries.push_back(*query);
            }
        }
        p.answers = queries.size() - p.first_answer;
        parts_.push_back(p);
    }

    /// Moves the sequence on by its rows; returns how it ended, if it did.
    std::optional<finish_reason> advance(part const& p, std::vector<row_answer>& answers,
                                         generation_update& update) {
        detail::sequence& s = *p.of;
        std::size_t const prompt = s.request.prompt.size();
        std::size_t const first = s.cached;
        s.cached += p.count;
        for (std::size_t i = 0; i < p.answers; ++i) {
            row_answer& answer = answers[p.first_answer + i];
            if (!answer.finite) {
                update.problem = "logits are not finite";
                return finish_reason::cancelled;
            }
            scored_token token{answer.token, answer.logprob, std::move(answer.top)};
            // When the prompt is scored every row of it is asked, else its last alone.
            if (s.request.score_prompt && first + i + 1 < prompt) {
                update.prompt.push_back(std::move(token));
                continue;
            }
            if (s.stops_at(answer.token)) {
                return finish_reason::stop;
            }
            token.logprob = s.request.top_logprobs ? token.logprob : 0.0F;
            s.tokens.push_back(answer.token);
            update.tokens.push_back(std::move(token));
        }
        bool const whole = s.generates() && s.generated() == s.request.max_tokens;
        return whole ? std::optional(finish_reason::length) : std::nullopt;
    }

    batch_limits limits_;
    page_pool pool_;
    std::uint64_t next_id_ = 1;
    std::deque<std::unique_ptr<detail::sequence>> waiting_;
    std::vector<std::unique_ptr<detail::sequence>> running_;
    std::vector<part> parts_;  // of the step that was planned
};

}  // namespace fpq
