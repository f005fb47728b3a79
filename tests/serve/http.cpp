// SPDX-License-Identifier: Apache-2.0
// Completions over loopback with an engine that answers what it is told: the form of answers,
// streams, errors, the key, limits.
#include <algorithm>
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "serve/api_key.hpp"
#include "serve/completion_response.hpp"
#include "serve/loopback.hpp"
#include "serve/served.hpp"

using namespace fpq_test;
using fpq::tools::calls_of;

namespace {

std::vector<std::int32_t> ids_of(std::string const& text) {
    return tiny_words().encode(text, false);
}

/// An engine whose answer is this text and then the end of the text.
struct told_engine : fake_engine {
    explicit told_engine(std::string const& text) {
        answer = ids_of(text);
        answer.push_back(tiny_words().eos().value());
    }
};

std::size_t size_of(json const& list) { return list.size(); }

}  // namespace

TEST_CASE("an answer has the API's form", "[serve]") {
    told_engine engine(" there lived a fox.");
    served const s(calls_of(engine));
    auto const reply = s.post({{"model", "tiny"}, {"prompt", "Once"}, {"max_tokens", 64}});
    REQUIRE(reply.status == 200);
    json const body = reply.body();
    CHECK(body.at("object") == "text_completion");
    CHECK(body.at("model") == "tiny");
    CHECK(body.at("id").get<std::string>().starts_with("cmpl-"));
    CHECK(body.at("created").get<std::int64_t>() > 1700000000);
    REQUIRE(size_of(body.at("choices")) == 1);
    json const& choice = body.at("choices")[0];
    CHECK(choice.at("text") == " there lived a fox.");
    CHECK(choice.at("index") == 0);
    CHECK(choice.at("logprobs").is_null());
    CHECK(choice.at("finish_reason") == "stop");
    std::size_t const prompt = tiny_words().encode("Once").size();
    CHECK(body.at("usage") == json{{"prompt_tokens", prompt},
                                   {"completion_tokens", engine.answer.size()},
                                   {"total_tokens", prompt + engine.answer.size()}});
}

TEST_CASE("max_tokens ends a text, ignore_eos goes beyond its end", "[serve]") {
    told_engine engine(" there lived");
    served const s(calls_of(engine));
    json const cut = s.post({{"prompt", "Once"}, {"max_tokens", 1}}).body().at("choices")[0];
    CHECK(cut.at("finish_reason") == "length");
    CHECK(cut.at("text") == tiny_words().decode(std::vector{engine.answer[0]}));
    std::size_t const most = engine.answer.size() + 1;
    json const on = s.post({{"prompt", "Once"}, {"max_tokens", most}, {"ignore_eos", true}}).body();
    CHECK(on.at("choices")[0].at("finish_reason") == "length");
    CHECK(on.at("usage").at("completion_tokens") == most);
    json const shown = s.post({{"prompt", "Once"},
                               {"max_tokens", most},
                               {"ignore_eos", true},
                               {"skip_special_tokens", false}})
                           .body();
    CHECK_THAT(shown.at("choices")[0].at("text").get<std::string>(),
               Catch::Contains("<|end_of_text|>"));
}

TEST_CASE("log-probabilities of an answer: tokens, values, alternatives, places", "[serve]") {
    told_engine engine(" d\xC3\xA9j\xC3\xA0 vu");
    served const s(calls_of(engine));
    json const choice =
        s.post({{"prompt", {1, 2}}, {"max_tokens", 3}, {"logprobs", 2}}).body().at("choices")[0];
    json const& l = choice.at("logprobs");
    REQUIRE(size_of(l.at("tokens")) == 3);
    std::string joined;
    for (std::size_t i = 0; i < 3; ++i) {
        float const expected = fake_engine::logprob(engine.answer[i], 2 + i);
        CHECK(l.at("token_logprobs")[i].get<float>() == expected);
        std::string const name = l.at("tokens")[i];
        CHECK(l.at("top_logprobs")[i].at(name).get<float>() == expected);
        // At even places the token is one of the two likeliest, at odd ones it stands beside them.
        CHECK(size_of(l.at("top_logprobs")[i]) == (i % 2 == 0 ? 2 : 3));
        std::size_t const before =
            static_cast<std::size_t>(std::count_if(joined.begin(), joined.end(), [](char c) {
                return (static_cast<unsigned char>(c) & 0xC0u) != 0x80u;
            }));
        CHECK(l.at("text_offset")[i] == before);  // characters
        joined += name;
    }
    CHECK(joined == choice.at("text"));
}

TEST_CASE("an echoed prompt comes with its text and the scores of all but its first token",
          "[serve]") {
    told_engine engine(" there lived");
    served const s(calls_of(engine));
    std::vector<std::int32_t> const prompt = ids_of("Once upon a time");
    json const request{{"prompt", prompt}, {"max_tokens", 1}, {"echo", true},   {"logprobs", 1},
                       {"temperature", 0}, {"seed", 1234},    {"model", "tiny"}};
    json const choice = s.post(request).body().at("choices")[0];
    CHECK(choice.at("text") ==
          "Once upon a time" + tiny_words().decode(std::vector{engine.answer[0]}));
    json const& l = choice.at("logprobs");
    REQUIRE(size_of(l.at("tokens")) == prompt.size() + 1);
    CHECK(l.at("token_logprobs")[0].is_null());
    CHECK(l.at("top_logprobs")[0].is_null());
    for (std::size_t i = 1; i < prompt.size(); ++i) {
        CHECK(l.at("token_logprobs")[i].get<float>() == fake_engine::logprob(prompt[i], i));
    }
    CHECK(l.at("token_logprobs").back().get<float>() ==
          fake_engine::logprob(engine.answer[0], prompt.size()));
    json none = request;
    none["max_tokens"] = 0;
    json const scored = s.post(none).body();
    CHECK(scored.at("choices")[0].at("text") == "Once upon a time");
    CHECK(size_of(scored.at("choices")[0].at("logprobs").at("tokens")) == prompt.size());
    CHECK(scored.at("usage").at("completion_tokens") == 0);
    none["prompt"] = "Once upon a time";  // as text: the tokenizer may put tokens around it
    json const text = s.post(none).body().at("choices")[0];
    CHECK(text.at("text") == "Once upon a time");
    CHECK(size_of(text.at("logprobs").at("tokens")) ==
          tiny_words().encode("Once upon a time").size());
}

TEST_CASE(
    "a token that ends the text is told with its score, so that the last score is never one "
    "of the prompt's",
    "[serve]") {
    told_engine engine("");  // ends at once
    served const s(calls_of(engine));
    json const choice =
        s.post({{"prompt", {5, 6, 7}}, {"max_tokens", 1}, {"echo", true}, {"logprobs", 1}})
            .body()
            .at("choices")[0];
    CHECK(choice.at("finish_reason") == "stop");
    CHECK(choice.at("logprobs").at("tokens")[3] == "<|end_of_text|>");
    CHECK(size_of(choice.at("logprobs").at("token_logprobs")) == 4);
    CHECK(choice.at("text") == tiny_words().decode(std::vector<std::int32_t>{5, 6, 7}));
}

TEST_CASE("prompts of a list are answered in order, n times each", "[serve]") {
    told_engine engine(" a b c d e f g");
    engine.seeded = true;
    served const s(calls_of(engine));
    json const body = s.post({{"prompt", {"one", "two"}},
                              {"max_tokens", 2},
                              {"n", 2},
                              {"echo", true},
                              {"seed", 0},
                              {"ignore_eos", true}})
                          .body();
    REQUIRE(size_of(body.at("choices")) == 4);
    for (std::size_t i = 0; i < 4; ++i) {
        CHECK(body.at("choices")[i].at("index") == i);
        CHECK(
            body.at("choices")[i].at("text").get<std::string>().starts_with(i < 2 ? "one" : "two"));
    }
    // The choices of a prompt have seeds of their own, those of another prompt the same.
    auto const answer = [&](std::size_t i) {
        return body.at("choices")[i].at("text").get<std::string>().substr(3);
    };
    CHECK(answer(0) != answer(1));
    CHECK(answer(0) == answer(2));
    CHECK(answer(1) == answer(3));
    std::size_t const prompts =
        tiny_words().encode("one").size() + tiny_words().encode("two").size();
    CHECK(body.at("usage").at("prompt_tokens") == prompts);  // each once
    CHECK(body.at("usage").at("completion_tokens") == 8);
}

TEST_CASE("a stop string ends the text before it, with the tokens that are in it", "[serve]") {
    told_engine engine(" one two three four");
    served const s(calls_of(engine));
    json const request{
        {"prompt", "x"}, {"max_tokens", 50}, {"stop", {"o thr", "four"}}, {"logprobs", 0}};
    json const body = s.post(request).body();
    json const& choice = body.at("choices")[0];
    CHECK(choice.at("text") == " one tw");
    CHECK(choice.at("finish_reason") == "stop");
    std::string joined;
    for (json const& token : choice.at("logprobs").at("tokens")) {
        joined += token.get<std::string>();
    }
    CHECK(joined.starts_with(" one tw"));
    CHECK_FALSE(joined.find("three") != std::string::npos);
    CHECK(size_of(choice.at("logprobs").at("top_logprobs")[0]) == 1);  // the token itself
    CHECK(engine.seen.size() == 1);
}

TEST_CASE("a stream is the answer in parts", "[serve]") {
    told_engine engine(" one two caf\xC3\xA9 \xF0\x9F\x98\x80 three");
    served const s(calls_of(engine));
    for (char const* const stop : {"none of it", "thre", "\xF0\x9F\x98\x80"}) {
        json request{{"prompt", "Once"}, {"max_tokens", 50}, {"stop", stop},
                     {"logprobs", 1},    {"echo", true},     {"seed", 1}};
        json const whole = s.post(request).body();
        request["stream"] = true;
        request["stream_options"] = {{"include_usage", true}};
        auto const reply = s.post(request);
        CHECK(reply.status == 200);
        std::vector<json> events = events_of(reply.text);
        REQUIRE(events.size() >= 2);
        CHECK(events.back().at("usage") == whole.at("usage"));
        CHECK(events.back().at("choices").empty());
        events.pop_back();
        std::string text;
        json tokens = json::array();
        json offsets = json::array();
        for (json const& event : events) {
            CHECK(event.at("id") == events[0].at("id"));
            CHECK(event.at("object") == "text_completion");
            json const& choice = event.at("choices").at(0);
            CHECK(choice.at("finish_reason").is_null() == (&event != &events.back()));
            text += choice.at("text").get<std::string>();
            for (json const& token : choice.at("logprobs").at("tokens")) {
                tokens.push_back(token);
            }
            for (json const& offset : choice.at("logprobs").at("text_offset")) {
                offsets.push_back(offset);
            }
        }
        json const& choice = whole.at("choices")[0];
        CHECK(text == choice.at("text"));
        CHECK(tokens == choice.at("logprobs").at("tokens"));
        CHECK(offsets == choice.at("logprobs").at("text_offset"));
        CHECK(events.back().at("choices")[0].at("finish_reason") == choice.at("finish_reason"));
    }
}

TEST_CASE("what a step brought is sent at once, unless a stop string may begin with it",
          "[serve]") {
    told_engine engine(" one two three");
    fpq::tools::completion_model const model{
        &tiny_words(), {tiny_words().eos().value()}, {"tiny", 128, 4096, 16}};
    auto const job = std::make_shared<fpq::tools::completion_job>(
        model, fpq::tools::read_completion_request(
                   R"({"prompt": [1, 2], "max_tokens": 50, "stream": true, "stop": [" two four"]})",
                   model.limits));
    for (fpq::tools::engine_work& work : fpq::tools::completion_job::work_of(job)) {
        engine.submit(work.request, work.sink);
    }
    fpq::tools::completion_events events(*job);
    CHECK(events.next().empty());
    std::string sent;
    std::string made;
    for (std::size_t i = 0; !job->done(); ++i) {
        engine.step();
        made += tiny_words().decode(std::vector{engine.answer[i]});
        std::string const now = events.next();
        bool const last = job->done();
        for (json const& event : events_of(last ? now : now + "data: [DONE]\n\n")) {
            sent += event.at("choices").at(0).at("text").get<std::string>();
        }
        if (last) {
            break;
        }
        std::size_t held = 0;  // the longest end that begins the stop string
        for (std::size_t n = 1; n <= made.size() && n < 9; ++n) {
            held = made.ends_with(std::string(" two four").substr(0, n)) ? n : held;
        }
        CHECK(sent == made.substr(0, made.size() - held));
    }
    CHECK(sent == " one two three");
    CHECK(events.next().empty());  // nothing comes twice
}

TEST_CASE("the choices of a stream come side by side", "[serve]") {
    told_engine engine(" one two");
    served const s(calls_of(engine));
    std::string const stream =
        s.post({{"prompt", {"a", "b"}}, {"max_tokens", 9}, {"stream", true}}).text;
    std::vector<std::string> texts(2);
    std::size_t ends = 0;
    for (json const& event : events_of(stream)) {
        json const& choice = event.at("choices").at(0);
        texts.at(choice.at("index")) += choice.at("text").get<std::string>();
        ends += choice.at("finish_reason").is_null() ? 0 : 1;
    }
    CHECK(texts[0] == " one two");
    CHECK(texts[1] == " one two");
    CHECK(ends == 2);
}

TEST_CASE("models and health", "[serve]") {
    fake_engine engine;
    served const s(calls_of(engine));
    json const list = s.get("/v1/models").body();
    CHECK(list.at("object") == "list");
    REQUIRE(size_of(list.at("data")) == 1);
    CHECK(list.at("data")[0].at("id") == "tiny");
    CHECK(list.at("data")[0].at("max_model_len") == 128);
    CHECK(s.get("/v1/models/tiny").body() == list.at("data")[0]);
    CHECK(s.get("/v1/models/other").status == 404);
    json const health = s.get("/health").body();
    CHECK(health.at("status") == "ok");
    CHECK(health.at("sequences") == 0);
}

TEST_CASE("what is refused has a status and the API's error form", "[serve]") {
    fake_engine engine;
    served_options options;
    options.limits.body = 2000;
    served const s(calls_of(engine), options);
    auto const bad = s.post_raw("{\"prompt\": 5}");
    CHECK(bad.status == 400);
    CHECK(bad.error().at("param") == "prompt");
    CHECK(bad.error().at("type") == "invalid_request_error");
    CHECK(s.post_raw("not JSON").status == 400);
    CHECK(s.post({{"prompt", "x"}, {"model", "y"}}).status == 404);
    auto const fits = s.post({{"prompt", std::vector<int>(100, 1)}, {"max_tokens", 29}});
    CHECK(fits.status == 400);
    CHECK(fits.error().at("code") == "context_length_exceeded");
    CHECK(s.post({{"prompt", std::vector<int>(13, 1)}}).status == 400);  // the engine refuses it
    CHECK(s.post_raw(R"({"prompt": "x"})", {}, "text/plain").status == 415);
    CHECK(s.post_raw(R"({"prompt": "x"})", {}, "multipart/form-data; boundary=x").status == 415);
    CHECK(s.post_raw(R"({"prompt": "x"})", {{"Content-Encoding", "x-none"}}).status == 415);
    auto const large = s.post({{"prompt", std::string(2000, 'x')}});
    CHECK(large.status == 413);
    CHECK(large.error().at("message").get<std::string>().find("2000 bytes") != std::string::npos);
    CHECK(s.get("/nowhere").status == 404);
    CHECK(s.get("/nowhere").error().at("type") == "invalid_request_error");
    CHECK(s.get("/v1/completions").status == 405);
    CHECK(httplib::Client(s.url()).Delete("/v1/models")->status == 405);
    CHECK(s.post({{"prompt", "x"}, {"max_tokens", 2}}).status == 200);  // and it goes on
}

TEST_CASE("one connection carries many requests, refused ones between them", "[serve]") {
    fake_engine engine;
    served_options options;
    options.limits.body = 2000;
    served const s(calls_of(engine), options);
    httplib::Client client(s.url());
    client.set_keep_alive(true);
    for (int round = 0; round < 20; ++round) {
        std::string const large = json{{"prompt", std::string(3000, 'x')}}.dump();
        auto const refused = client.Post("/v1/completions", large, "application/json");
        REQUIRE(refused);
        CHECK(refused->status == 413);
        auto const plain = client.Post("/v1/completions", R"({"prompt": "x"})", "text/plain");
        REQUIRE(plain);
        CHECK(plain->status == 415);
        auto const fine = client.Post("/v1/completions", R"({"prompt": "x", "max_tokens": 1})",
                                      "application/json");
        REQUIRE(fine);
        CHECK(fine->status == 200);
    }
}

TEST_CASE("with a key nothing but health is answered without it", "[serve]") {
    fake_engine engine;
    served_options options;
    options.key = "secret";
    served const s(calls_of(engine), options);
    std::string const body = R"({"prompt": "x", "max_tokens": 1})";
    for (char const* const given : {"", "Bearer", "Bearer ", "Bearer secre", "Bearer secret1",
                                    "Bearer Secret", "secret", "Basic secret"}) {
        INFO(given);
        auto const reply = s.post_raw(body, {{"Authorization", given}});
        CHECK(reply.status == 401);
        CHECK(reply.error().at("type") == "authentication_error");
    }
    CHECK(s.post_raw(body).status == 401);
    CHECK(s.get("/v1/models").status == 401);
    CHECK(s.get("/health").status == 200);
    CHECK(s.post_raw(body, {{"Authorization", "Bearer secret"}}).status == 200);
    CHECK(s.post_raw(body, {{"Authorization", "Bearer secret"}, {"Host", "example.org"}}).status ==
          200);
    CHECK(engine.seen.size() == 2);
}

TEST_CASE("keys are compared whole", "[serve]") {
    CHECK(fpq::tools::is_key("abc", "abc"));
    for (char const* const other : {"", "a", "ab", "abd", "bbc", "abcabc", "abcd"}) {
        CHECK_FALSE(fpq::tools::is_key("abc", other));
    }
    CHECK_FALSE(fpq::tools::is_key("", std::string_view("\0", 1)));
}

TEST_CASE("without a key only names of this machine are answered", "[serve]") {
    fake_engine engine;
    served const s(calls_of(engine));
    std::string const body = R"({"prompt": "x", "max_tokens": 1})";
    CHECK(s.post_raw(body, {{"Host", "example.org"}}).status == 403);
    CHECK(s.post_raw(body, {{"Host", "127.0.0.1.example.org:80"}}).status == 403);
    CHECK(s.post_raw(body, {{"Host", "localhost:8000"}}).status == 200);
    CHECK(s.post_raw(body, {{"Host", "[::1]:8000"}}).status == 200);
    CHECK(fpq::tools::is_loopback("127.1.2.3"));
    CHECK_FALSE(fpq::tools::is_loopback("0.0.0.0"));
    CHECK_FALSE(fpq::tools::is_loopback("127.0.0.1.org"));
    CHECK_FALSE(fpq::tools::is_loopback("10.0.0.1"));
}

TEST_CASE("more than the queue holds is answered 429", "[serve]") {
    fake_engine engine;
    engine.held = true;
    served_options options;
    options.room = 3;
    served s(calls_of(engine), options);
    std::atomic<int> status{0};
    std::thread first([&] { status = s.post({{"prompt", {"a", "b"}}, {"max_tokens", 1}}).status; });
    while (s.loop.size() < 2) {
        std::this_thread::yield();
    }
    auto const full = s.post({{"prompt", {"c", "d"}}, {"max_tokens", 1}});
    CHECK(full.status == 429);
    CHECK(full.error().at("type") == "rate_limit_error");
    engine.held = false;
    first.join();
    CHECK(status == 200);
    CHECK(s.post({{"prompt", {"c", "d"}}, {"max_tokens", 1}}).status == 200);
}

TEST_CASE("a request that takes too long is answered 504 and leaves the engine", "[serve]") {
    fake_engine engine;
    engine.held = true;
    served_options options;
    options.limits.request = std::chrono::seconds(0);
    served const s(calls_of(engine), options);
    CHECK(s.post({{"prompt", "x"}}).status == 504);
    auto const stream = s.post({{"prompt", "x"}, {"stream", true}});
    CHECK_THAT(stream.text, Catch::Contains("took too long"));
    while (s.loop.size() != 0) {
        std::this_thread::yield();
    }
}

TEST_CASE("a client that leaves its stream frees the engine", "[serve]") {
    fake_engine engine;
    served_options options;
    options.longest = std::size_t{1} << 30;
    served const s(calls_of(engine), options);
    httplib::Client client(s.url());
    std::size_t got = 0;
    httplib::Request request;
    request.method = "POST";
    request.path = "/v1/completions";
    request.body = R"({"prompt": "x", "max_tokens": 1000000000, "stream": true})";
    request.set_header("Content-Type", "application/json");
    request.content_receiver = [&](char const*, std::size_t size, std::uint64_t, std::uint64_t) {
        got += size;
        return got < 2000;
    };
    (void)client.send(request);
    CHECK(got >= 2000);
    while (s.loop.size() != 0) {
        std::this_thread::yield();
    }
    CHECK(s.server.in_flight() == 0);
}

TEST_CASE("a server that stops refuses what is new and ends what runs", "[serve]") {
    fake_engine engine;
    engine.held = true;
    served s(calls_of(engine));
    std::atomic<int> status{0};
    std::thread waiting([&] { status = s.post({{"prompt", "x"}, {"max_tokens", 3}}).status; });
    while (s.loop.size() == 0) {
        std::this_thread::yield();
    }
    s.server.drain();
    CHECK(s.post({{"prompt", "y"}}).status == 503);
    CHECK(s.get("/health").status == 503);
    CHECK(s.server.in_flight() == 1);
    engine.held = false;
    waiting.join();
    CHECK(status == 200);  // it was given the time
    CHECK(s.server.in_flight() == 0);
}

TEST_CASE("what still runs at the end is told so", "[serve]") {
    fake_engine engine;
    engine.held = true;
    served s(calls_of(engine));
    served::reply reply;
    std::thread waiting([&] { reply = s.post({{"prompt", "x"}, {"max_tokens", 3}}); });
    while (s.loop.size() == 0) {
        std::this_thread::yield();
    }
    s.loop.stop();
    waiting.join();
    CHECK(reply.status == 503);
    CHECK(reply.error().at("type") == "server_error");
}

TEST_CASE("an engine that breaks is a server error", "[serve]") {
    fake_engine engine;
    engine.breaks_after = 1;
    served s(calls_of(engine));
    auto const reply = s.post({{"prompt", "x"}});
    CHECK(reply.status == 500);
    CHECK_THAT(reply.error().at("message").get<std::string>(), Catch::Contains("broke"));
    s.stop();
    CHECK_THAT(s.broken, Catch::Contains("broke"));
}

TEST_CASE("a port that is taken is refused", "[serve]") {
    fake_engine engine;
    served s(calls_of(engine));
    fpq::tools::http_server other(s.model, s.loop, {}, {});
    CHECK_THROWS_WITH(other.bind("127.0.0.1", s.port), Catch::Contains("cannot listen"));
}
