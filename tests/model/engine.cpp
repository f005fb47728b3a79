// SPDX-License-Identifier: Apache-2.0
// The engine on the CPU: a request in any company has the bits it has alone, and the numbers of the
// whole-window pass; what is refused, cancelled, waits for pages, and ends.
#include "fpq/model/engine.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <stdexcept>
#include <vector>

#include "catch.hpp"
#include "line/engine.hpp"
#include "model/fused_family.hpp"
#include "model/random_model.hpp"
#include "support/engine_answers.hpp"

using namespace fpq_test;
using engine_on_cpu = fpq::engine<fpq::cpu>;

namespace {

fpq::resident_model<fpq::cpu> resident(random_model const& model) {
    fpq::resident_model<fpq::cpu> out{model.frame(), model.layers, {}, {}, {}};
    out.hooks.resize(model.layers.size());
    return out;
}

engine_on_cpu engine_of(random_model const& model, fpq::engine_options const& options,
                        int threads = 1) {
    return {fpq::cpu{threads}, resident(model), options};
}

fpq::generation_request request_of(std::vector<std::int32_t> prompt, std::size_t max_tokens) {
    fpq::generation_request r;
    r.prompt = std::move(prompt);
    r.max_tokens = max_tokens;
    return r;
}

heard answer(random_model const& model, fpq::generation_request const& r,
             fpq::engine_options const& options = {.cache_tokens = 512}) {
    engine_on_cpu e = engine_of(model, options);
    return run_all(e, {r}, 1)[0];
}

/// log p of every token of the vocabulary behind each token, from the whole-window pass.
std::vector<std::vector<double>> whole_window(random_model const& model,
                                              std::vector<std::int32_t> const& tokens) {
    std::vector<float> const logits = model.logits(tokens, 1);
    std::size_t const vocab = model.config.vocab_size;
    std::vector<std::vector<double>> out(tokens.size(), std::vector<double>(vocab));
    for (std::size_t t = 0; t < tokens.size(); ++t) {
        double sum = 0;
        for (std::size_t v = 0; v < vocab; ++v) {
            sum += std::exp(static_cast<double>(logits[t * vocab + v]));
        }
        for (std::size_t v = 0; v < vocab; ++v) {
            out[t][v] = static_cast<double>(logits[t * vocab + v]) - std::log(sum);
        }
    }
    return out;
}

/// Token by token through whole windows, the likeliest of each.
std::vector<std::int32_t> greedy_by_windows(random_model const& model,
                                            std::vector<std::int32_t> tokens, std::size_t count) {
    std::vector<std::int32_t> out;
    while (out.size() < count) {
        std::vector<double> const last = whole_window(model, tokens).back();
        out.push_back(
            static_cast<std::int32_t>(std::max_element(last.begin(), last.end()) - last.begin()));
        tokens.push_back(out.back());
    }
    return out;
}

/// A model whose text does not repeat its last token for ever.
fpq::model_config untied() {
    fpq::model_config c = small_config();
    c.tied_head = false;
    return c;
}

/// Three kinds of models: plain; norms of heads and biases; fused linears, norms behind blocks.
std::vector<random_model> kinds() {
    fpq::model_config qwen = small_config();
    qwen.family = &fpq::families::qwen3;
    qwen.attention_bias = true;
    qwen.tied_head = false;
    fpq::model_config shuffled = small_config();
    shuffled.family = &shuffled_family;
    return {random_model(small_config()), random_model(qwen), random_model(shuffled)};
}

}  // namespace

TEST_CASE("a request in any company has the bits that it has alone", "[engine]") {
    std::vector<fpq::engine_options> const ways{
        {.cache_tokens = 700, .page = 5, .batch_tokens = 37, .sequences = 7},
        {.cache_tokens = 5000, .page = 16, .batch_tokens = 512, .sequences = 64},
        {.cache_tokens = 330, .page = 1, .batch_tokens = 2, .sequences = 2},
        {.cache_tokens = 4000, .page = 64, .batch_tokens = 100, .sequences = 20}};
    for (random_model const& model : kinds()) {
        auto const requests = mixed_requests(40, 300, model.config.vocab_size);
        std::vector<heard> alone;
        for (fpq::generation_request const& r : requests) {
            alone.push_back(answer(model, r));
        }
        for (std::size_t i = 0; i < requests.size(); ++i) {
            REQUIRE(alone[i].finish.has_value());
            REQUIRE(alone[i].prompt.size() ==
                    (requests[i].score_prompt ? requests[i].prompt.size() - 1 : 0));
        }
        int threads = 1;
        for (fpq::engine_options const& way : ways) {
            CAPTURE(model.config.family->model_type, way.page, way.batch_tokens);
            engine_on_cpu e = engine_of(model, way, threads++);
            auto const together = run_all(e, requests, 10);
            for (std::size_t i = 0; i < requests.size(); ++i) {
                CAPTURE(i, requests[i].prompt.size());
                REQUIRE(same(together[i], alone[i]));
            }
            REQUIRE(e.running() + e.waiting() == 0);
        }
    }
}

TEST_CASE("an engine gives the log-probabilities of whole windows", "[engine]") {
    for (random_model const& model : kinds()) {
        auto const tokens = some_tokens(150, model.config.vocab_size);
        fpq::generation_request r = request_of(tokens, 1);
        r.score_prompt = true;
        r.top_logprobs = 4;
        heard const found = answer(model, r, {.cache_tokens = 512, .page = 7, .batch_tokens = 32});
        auto const expected = whole_window(model, tokens);
        REQUIRE(found.prompt.size() == tokens.size() - 1);
        REQUIRE(found.tokens.size() == 1);
        for (std::size_t t = 0; t < tokens.size(); ++t) {
            CAPTURE(model.config.family->model_type, t);
            bool const last = t + 1 == tokens.size();
            fpq::scored_token const& s = last ? found.tokens[0] : found.prompt[t];
            if (!last) {
                REQUIRE(s.token == tokens[t + 1]);
            }
            REQUIRE(s.logprob ==
                    Approx(expected[t][static_cast<std::size_t>(s.token)]).margin(2e-4));
            REQUIRE(s.top.size() == 4);
            std::vector<double> sorted = expected[t];
            std::sort(sorted.rbegin(), sorted.rend());
            for (std::size_t i = 0; i < 4; ++i) {
                REQUIRE(s.top[i].second == Approx(sorted[i]).margin(2e-4));
                REQUIRE(s.top[i].second ==
                        Approx(expected[t][static_cast<std::size_t>(s.top[i].first)]).margin(2e-4));
            }
        }
    }
}

TEST_CASE("greedy text is that of whole windows, and a stop token ends it unseen", "[engine]") {
    random_model const model(untied());
    auto const prompt = some_tokens(9, 50);
    auto const expected = greedy_by_windows(model, prompt, 12);
    heard const found = answer(model, request_of(prompt, 12));
    CHECK(found.ids() == expected);
    CHECK(found.finish == fpq::finish_reason::length);
    CHECK(found.tokens[3].logprob == 0.0F);  // none were asked for
    // The first token that is another than the first.
    auto const stop = std::find_if(expected.begin(), expected.end(),
                                   [&](std::int32_t t) { return t != expected[0]; });
    REQUIRE(stop != expected.end());
    fpq::generation_request r = request_of(prompt, 12);
    r.stop_tokens = {*stop};
    r.top_logprobs = 0;
    heard const stopped = answer(model, r);
    CHECK(stopped.ids() == std::vector<std::int32_t>(expected.begin(), stop));
    CHECK(stopped.finish == fpq::finish_reason::stop);
    CHECK(stopped.tokens.at(0).logprob < 0.0F);
    CHECK(stopped.tokens[0].top.empty());
}

TEST_CASE("a prompt is scored without an answer, and may be one token", "[engine]") {
    random_model const model(small_config());
    fpq::generation_request r = request_of(some_tokens(200, 50), 0);
    r.score_prompt = true;
    heard const found = answer(model, r);
    CHECK(found.prompt.size() == 199);
    CHECK(found.tokens.empty());
    CHECK(found.finish == fpq::finish_reason::length);
    r.prompt = {3};
    heard const single = answer(model, r);
    CHECK(single.prompt.empty());
    CHECK(single.finish == fpq::finish_reason::length);
}

TEST_CASE("equal logits: the lowest id is taken", "[engine]") {
    random_model model(untied());
    std::size_t const h = model.config.hidden_size;
    for (std::int32_t first = 0; first < 50; ++first) {
        // The head's row of the likeliest token stands for two others as well.
        fpq::generation_request r = request_of({first}, 1);
        r.top_logprobs = 3;
        random_model changed = model;
        std::int32_t const likeliest = answer(model, r).ids().at(0);
        std::vector<std::int32_t> equal{likeliest, (likeliest + 11) % 50, (likeliest + 29) % 50};
        for (std::int32_t const to : equal) {
            std::copy_n(model.head.data() + static_cast<std::size_t>(likeliest) * h, h,
                        changed.head.data() + static_cast<std::size_t>(to) * h);
        }
        std::sort(equal.begin(), equal.end());
        fpq::scored_token const found = answer(changed, r).tokens.at(0);
        REQUIRE(found.token == equal[0]);
        for (std::size_t i = 0; i < 3; ++i) {
            REQUIRE(found.top.at(i).first == equal[i]);
            REQUIRE(found.top[i].second == found.logprob);
        }
    }
}

TEST_CASE("sampled text comes again with its seed, and not with another", "[engine]") {
    random_model const model(untied());
    fpq::generation_request r = request_of({1, 2, 3}, 40);
    r.choice.temperature = 1.0F;
    r.choice.seed = 5;
    auto const five = answer(model, r).ids();
    CHECK(answer(model, r).ids() == five);
    r.choice.seed = 6;
    CHECK(answer(model, r).ids() != five);
    r.choice.seed = 5;
    r.choice.top_k = 1;
    CHECK(answer(model, r).ids() == greedy_by_windows(model, {1, 2, 3}, 40));
}

TEST_CASE("token t of sampled text takes random number t of the request's stream", "[engine]") {
    random_model const model(untied());
    fpq::generation_request r = request_of({1, 2, 3}, 30);
    r.choice.temperature = 1.0F;
    r.choice.seed = 9;
    std::vector<std::int32_t> tokens = r.prompt;
    fpq::philox const numbers{9, fpq::detail::choice_stream};
    for (std::size_t t = 0; t < r.max_tokens; ++t) {
        // Where the cumulated probabilities of the whole window pass the number.
        std::vector<double> const last = whole_window(model, tokens).back();
        double const goal = static_cast<double>(fpq::uniform(numbers.at(t)));
        double passed = 0;
        std::size_t id = 0;
        while ((passed += std::exp(last[id])) <= goal && id + 1 < last.size()) {
            ++id;
        }
        tokens.push_back(static_cast<std::int32_t>(id));
    }
    CHECK(answer(model, r).ids() == std::vector<std::int32_t>(tokens.begin() + 3, tokens.end()));
}

TEST_CASE("what can never run is refused at once", "[engine]") {
    random_model const model(small_config());
    engine_on_cpu e = engine_of(model, {.cache_tokens = 60, .page = 16});
    CHECK(e.longest() == 64);
    fpq::generation_sink const sink = [](fpq::generation_update const&) { return true; };
    auto const refused = [&](auto const& change) {
        fpq::generation_request r = request_of({1, 2}, 3);
        change(r);
        try {
            e.submit(r, sink);
        } catch (fpq::error const& why) {
            return why.category() == fpq::error_category::usage;
        }
        return false;
    };
    constexpr float nan = std::numeric_limits<float>::quiet_NaN();
    CHECK(refused([](auto& r) { r.prompt.clear(); }));
    CHECK(refused([](auto& r) { r.prompt[1] = 50; }));
    CHECK(refused([](auto& r) { r.prompt[0] = -1; }));
    CHECK(refused([](auto& r) { r.max_tokens = 63; }));
    CHECK(refused([](auto& r) { r.max_tokens = std::numeric_limits<std::size_t>::max(); }));
    CHECK(refused([](auto& r) { r.prompt.assign(65, 1); }));
    CHECK(refused([](auto& r) { r.choice.temperature = -1.0F; }));
    CHECK(refused([](auto& r) { r.choice.temperature = nan; }));
    CHECK(refused([](auto& r) { r.choice.top_p = 0.0F; }));
    CHECK(refused([](auto& r) { r.choice.top_p = 1.5F; }));
    CHECK(refused([](auto& r) { r.choice.top_p = nan; }));
    CHECK_FALSE(refused([](auto& r) { r.max_tokens = 62; }));
    CHECK_THROWS_AS(e.submit(request_of({1}, 1), nullptr), fpq::error);
    CHECK(e.waiting() == 1);
    for (fpq::engine_options const wrong :
         {fpq::engine_options{.page = 0}, fpq::engine_options{.batch_tokens = 0},
          fpq::engine_options{.sequences = 0}}) {
        CHECK_THROWS_AS(engine_of(model, wrong), fpq::error);
    }
    fpq::model_config windowed = small_config();
    windowed.sliding_window = 20;
    CHECK(engine_of(random_model(windowed), {.cache_tokens = 64}).longest() == 20);
    fpq::model_config made_for = small_config();
    made_for.max_position = 30;
    CHECK(engine_of(random_model(made_for), {}).longest() == 30);
}

TEST_CASE("requests wait for pages in their order and all come through", "[engine]") {
    random_model const model(small_config());
    engine_on_cpu e = engine_of(model, {.cache_tokens = 40, .page = 10, .sequences = 8});
    std::vector<std::size_t> order;
    for (std::size_t i = 0; i < 6; ++i) {
        // Three pages, then one, three, one ... of four.
        e.submit(request_of({1}, i % 2 == 0 ? 25 : 5),
                 [&order, i](fpq::generation_update const& u) {
                     if (u.finish) {
                         order.push_back(i);
                     }
                     return true;
                 });
    }
    REQUIRE(e.step());
    CHECK(e.running() == 2);
    CHECK(e.waiting() == 4);
    std::size_t steps = 1;
    while (e.step()) {
        REQUIRE(e.running() <= 2);
        REQUIRE(++steps < 500);
    }
    std::vector<std::size_t> sorted = order;
    std::sort(sorted.begin(), sorted.end());
    CHECK(sorted == std::vector<std::size_t>{0, 1, 2, 3, 4, 5});
    CHECK(std::find(order.begin(), order.end(), 0) < std::find(order.begin(), order.end(), 2));
    CHECK(std::find(order.begin(), order.end(), 2) < std::find(order.begin(), order.end(), 4));
}

TEST_CASE("a cancelled request ends alone, whoever cancels it", "[engine]") {
    random_model const model(small_config());
    auto const other = request_of({4, 5}, 10);
    heard const expected = answer(model, other);
    engine_on_cpu e = engine_of(model, {.cache_tokens = 64, .page = 16, .sequences = 3});
    std::vector<heard> out(4);
    auto const listen = [&](std::size_t i, auto const& verdict) {
        return [&out, i, verdict](fpq::generation_update const& u) {
            out[i].take(u);
            return verdict(u);
        };
    };
    auto const yes = [](auto const&) { return true; };
    auto const first = e.submit(request_of({1}, 10), listen(0, yes));
    e.submit(other, listen(1, yes));
    e.submit(request_of({2}, 10),
             listen(2, [](auto const&) -> bool { throw std::runtime_error("client is gone"); }));
    auto const waits = e.submit(request_of({3}, 10), listen(3, yes));
    e.submit(request_of({3}, 10), [](auto const&) { return false; });
    REQUIRE(e.step());
    CHECK(e.running() == 2);
    CHECK(out[2].updates == 1);
    e.cancel(first);
    e.cancel(waits);
    e.cancel(12345);
    finish(e);
    CHECK(out[0].finish == fpq::finish_reason::cancelled);
    CHECK(out[0].ids().size() == 1);
    CHECK(out[3].finish == fpq::finish_reason::cancelled);
    CHECK(out[3].tokens.empty());
    CHECK(out[2].updates == 1);
    CHECK(same(out[1], expected));
    CHECK(e.running() + e.waiting() == 0);
    // All pages came back: four sequences of one page each fit again.
    auto const again = request_of({4, 5}, 14);
    auto const all = run_all(e, {again, again, again, again}, 4);
    CHECK(all[3].ids() == answer(model, again).ids());
}

TEST_CASE("a sink may submit and cancel", "[engine]") {
    random_model const model(small_config());
    engine_on_cpu e = engine_of(model, {.cache_tokens = 64});
    heard follow;
    heard first;
    std::uint64_t id = 0;
    id = e.submit(request_of({1}, 30), [&](fpq::generation_update const& u) {
        first.take(u);
        if (first.updates == 3) {
            e.submit(request_of({2}, 4), [&](fpq::generation_update const& v) {
                follow.take(v);
                return true;
            });
            e.cancel(id);
        }
        return true;
    });
    finish(e);
    CHECK(first.finish == fpq::finish_reason::cancelled);
    CHECK(first.ids().size() == 3);
    CHECK(follow.ids() == answer(model, request_of({2}, 4)).ids());
}

TEST_CASE("logits that are not finite end their request with a reason, no other", "[engine]") {
    random_model model(untied());
    // Token 9 alone leads to NaN.
    model.embedding[9 * model.config.hidden_size] = std::numeric_limits<float>::quiet_NaN();
    engine_on_cpu e = engine_of(model, {.cache_tokens = 64});
    auto const out = run_all(e, {request_of({9}, 4), request_of({5}, 4)}, 2);
    CHECK(out[0].finish == fpq::finish_reason::cancelled);
    CHECK(out[0].problem == "logits are not finite");
    CHECK(out[1].finish == fpq::finish_reason::length);
    CHECK(out[1].problem.empty());
    CHECK(out[1].tokens.size() == 4);
}
