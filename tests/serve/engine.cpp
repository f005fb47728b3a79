// SPDX-License-Identifier: Apache-2.0
// The whole way over loopback with a model: a request gives the same bytes alone and among others,
// as text and as tokens, whole and in parts.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <string>
#include <thread>
#include <vector>

#include "fpq/graph/families.hpp"
#include "line/engine.hpp"
#include "serve/served.hpp"

using namespace fpq_test;

namespace {

/// tiny-llama in an engine of few rows, so that requests wait for each other.
struct tiny_engine {
    tiny_engine()
        : model(fpq::cpu{2}, repo_dir() / "examples" / "models" / "tiny-llama",
                fpq::shipped_architectures),
          engine(fpq::cpu{2}, model, options()) {}

    static fpq::engine_options options() {
        fpq::engine_options o;
        o.cache_tokens = 1024;
        o.batch_tokens = 48;
        o.sequences = 6;
        return o;
    }

    fpq::opened_model<fpq::cpu> model;
    fpq::engine<fpq::cpu> engine;
};

served_options long_enough() {
    served_options o;
    o.longest = 256;
    return o;
}

json choice_of(served const& s, json const& body) {
    auto const reply = s.post(body);
    INFO(reply.text);
    REQUIRE(reply.status == 200);
    return reply.body().at("choices").at(0);
}

/// What the engine itself answers, greedily.
std::vector<std::int32_t> answer_of(fpq::engine<fpq::cpu>& engine,
                                    std::vector<std::int32_t> const& prompt, std::size_t count) {
    std::vector<std::int32_t> out;
    engine.submit({.prompt = prompt, .max_tokens = count}, [&](fpq::generation_update const& u) {
        for (fpq::scored_token const& token : u.tokens) {
            out.push_back(token.token);
        }
        return true;
    });
    while (engine.step()) {
    }
    return out;
}

/// The one choice of a stream, its parts put together.
json joined(std::vector<json> const& events) {
    json out;
    for (json const& event : events) {
        json const& part = event.at("choices").at(0);
        if (out.is_null()) {
            out = part;
            continue;
        }
        out["text"] = out.at("text").get<std::string>() + part.at("text").get<std::string>();
        for (auto const& [key, list] : part.at("logprobs").items()) {
            json& all = out["logprobs"][key];
            all.insert(all.end(), list.begin(), list.end());
        }
    }
    return out;
}

}  // namespace

TEST_CASE("a request gives the same answer alone, among others, as text, as tokens and streamed",
          "[serve]") {
    tiny_engine tiny;
    served const s(fpq::tools::calls_of(tiny.engine), long_enough());
    std::vector<json> requests;
    for (std::size_t i = 0; i < 12; ++i) {
        std::string text = "It was the";
        for (std::size_t w = 0; w < i * 2; ++w) {
            text += w % 3 == 0 ? " best of" : " times and";
        }
        requests.push_back({{"prompt", text},
                            {"max_tokens", 3 + i * 2},
                            {"temperature", i % 2 == 0 ? 0.0 : 0.9},
                            {"seed", i},
                            {"echo", i % 3 == 0},
                            {"logprobs", 2}});
    }
    std::vector<json> alone;
    for (json const& request : requests) {
        alone.push_back(choice_of(s, request));
        json tokens = request;
        tokens["prompt"] = tiny_words().encode(request.at("prompt").get<std::string>());
        json again = choice_of(s, tokens);
        if (request.at("echo") == true) {
            again["text"] = alone.back().at("text");  // begins with the tokenizer's first token
            again["logprobs"]["text_offset"] = alone.back().at("logprobs").at("text_offset");
        }
        CHECK(again == alone.back());
    }
    std::vector<std::string> among(requests.size());
    std::vector<std::thread> clients;
    for (std::size_t i = 0; i < requests.size(); ++i) {
        clients.emplace_back([&, i] {
            httplib::Client client(s.url());
            client.set_read_timeout(300);
            auto const result =
                client.Post("/v1/completions", requests[i].dump(), "application/json");
            among[i] = result ? result->body : "";
        });
    }
    for (std::thread& client : clients) {
        client.join();
    }
    for (std::size_t i = 0; i < requests.size(); ++i) {
        INFO(i);
        REQUIRE_FALSE(among[i].empty());
        CHECK(json::parse(among[i]).at("choices").at(0) == alone[i]);
        json streamed = requests[i];
        streamed["stream"] = true;
        std::string text;
        for (json const& event : events_of(s.post(streamed).text)) {
            text += event.at("choices").at(0).at("text").get<std::string>();
        }
        CHECK(text == alone[i].at("text"));
    }
}

TEST_CASE("an answer tells every token once, streamed or whole, echoed or not", "[serve]") {
    // Longer than a step, so that its scores come in parts.
    std::string text = "It was";
    for (std::size_t i = 0; i < 30; ++i) {
        text += " the best of times";
    }
    std::vector<std::int32_t> const prompt = tiny_words().encode(text);
    std::size_t const own = tiny_words().encode(text, false).size();
    constexpr std::size_t count = 5;
    REQUIRE(prompt.size() > tiny_engine::options().batch_tokens + 1);
    REQUIRE(prompt.size() == own + 1);  // the tokenizer's first token
    tiny_engine tiny;
    std::vector<std::int32_t> const answer = answer_of(tiny.engine, prompt, count);
    served const s(fpq::tools::calls_of(tiny.engine), long_enough());
    std::string const first = tiny_words().token(prompt[0]).value();
    for (json const& asked : {json(text), json(first + text), json(prompt)}) {
        for (bool const echo : {false, true}) {
            for (bool const stream : {false, true}) {
                INFO(asked.dump().substr(0, 30) << ", echo " << echo << ", stream " << stream);
                json const request{{"prompt", asked}, {"max_tokens", count}, {"temperature", 0},
                                   {"logprobs", 1},   {"echo", echo},        {"stream", stream}};
                json const choice =
                    stream ? joined(events_of(s.post(request).text)) : choice_of(s, request);
                std::vector<std::int32_t> told = echo ? prompt : std::vector<std::int32_t>();
                told.insert(told.end(), answer.begin(), answer.end());
                std::vector<std::string> names;
                for (std::int32_t const token : told) {
                    names.push_back(fpq::tools::token_name(tiny_words(), token));
                }
                json const& l = choice.at("logprobs");
                CHECK(l.at("tokens") == json(names));
                for (char const* const key : {"token_logprobs", "top_logprobs", "text_offset"}) {
                    CHECK(l.at(key).size() == told.size());
                }
                json const& scores = l.at("token_logprobs");
                CHECK(std::count(scores.begin(), scores.end(), json()) == (echo ? 1 : 0));
                std::string const shown = tiny_words().decode(
                    asked == json(text) && echo ? std::vector(told.begin() + 1, told.end()) : told);
                CHECK(choice.at("text") == shown);
            }
        }
    }
}

TEST_CASE("what lm-evaluation-harness asks: scores of a text, and whether it is the greedy one",
          "[serve]") {
    tiny_engine tiny;
    served const s(fpq::tools::calls_of(tiny.engine), long_enough());
    // The model's own continuation is greedy, token by token, with the scores it had when made.
    std::vector<std::int32_t> tokens = tiny_words().encode("It was the best of");
    std::size_t const context = tokens.size();
    json const made = choice_of(s, {{"prompt", tokens},
                                    {"max_tokens", 8},
                                    {"temperature", 0},
                                    {"logprobs", 1},
                                    {"ignore_eos", true},
                                    {"skip_special_tokens", false}});
    std::vector<std::int32_t> const more =
        tiny_words().encode(made.at("text").get<std::string>(), false);
    REQUIRE(more.size() == 8);
    tokens.insert(tokens.end(), more.begin(), more.end());
    json const scored = choice_of(s, {{"model", "tiny"},
                                      {"prompt", {tokens}},
                                      {"temperature", 0},
                                      {"max_tokens", 1},
                                      {"logprobs", 1},
                                      {"seed", 1234},
                                      {"echo", true}})
                            .at("logprobs");
    REQUIRE(scored.at("token_logprobs").size() == tokens.size() + 1);
    for (std::size_t i = context; i < tokens.size(); ++i) {
        CHECK(scored.at("token_logprobs")[i] ==
              made.at("logprobs").at("token_logprobs")[i - context]);
        float most = -1e9F;
        for (auto const& [name, value] : scored.at("top_logprobs")[i].items()) {
            most = std::max(most, value.get<float>());
        }
        CHECK(scored.at("token_logprobs")[i].get<float>() == most);
    }
    // Of another continuation the scores are lower, and it is not greedy.
    tokens[context] = tokens[context] == 300 ? 301 : 300;
    json const other = choice_of(s, {{"prompt", {tokens}},
                                     {"temperature", 0},
                                     {"max_tokens", 1},
                                     {"logprobs", 1},
                                     {"echo", true}})
                           .at("logprobs");
    CHECK(other.at("token_logprobs")[context].get<float>() <
          scored.at("token_logprobs")[context].get<float>());
    CHECK(other.at("top_logprobs")[context].size() == 2);
    for (std::size_t i = 1; i < context; ++i) {
        CHECK(other.at("token_logprobs")[i] == scored.at("token_logprobs")[i]);
        CHECK(std::isfinite(other.at("token_logprobs")[i].get<float>()));
    }
}

TEST_CASE("more clients than the engine holds are all answered", "[serve]") {
    tiny_engine tiny;
    served const s(fpq::tools::calls_of(tiny.engine), long_enough());
    json const request{{"prompt", {"Once upon a time", "In the", "A"}},
                       {"max_tokens", 4},
                       {"temperature", 0},
                       {"logprobs", 0}};
    json const expected = s.post(request).body().at("choices");
    std::atomic<std::size_t> right{0};
    std::vector<std::thread> clients;
    for (std::size_t c = 0; c < 64; ++c) {
        clients.emplace_back([&] {
            httplib::Client client(s.url());
            client.set_read_timeout(600);
            auto const result = client.Post("/v1/completions", request.dump(), "application/json");
            right += result && result->status == 200 &&
                             json::parse(result->body).at("choices") == expected
                         ? 1
                         : 0;
        });
    }
    for (std::thread& client : clients) {
        client.join();
    }
    CHECK(right == 64);
    while (s.loop.size() != 0) {
        std::this_thread::yield();
    }
}
