// SPDX-License-Identifier: Apache-2.0
// Bodies of completion requests: what is understood, and every refusal by its member.
#include <string>
#include <vector>

#include "catch.hpp"
#include "serve/api_error.hpp"
#include "serve/completion_request.hpp"

using namespace fpq::tools;

namespace {

request_limits const limits{"tiny", 64, 100, 8};

completion_request read(std::string const& body) { return read_completion_request(body, limits); }

struct refusal {
    int status;
    std::string param;
    std::string message;
};

refusal refused(std::string const& body) {
    try {
        (void)read(body);
    } catch (api_error const& why) {
        return {why.status(), why.param(), why.what()};
    }
    return {200, {}, {}};
}

}  // namespace

TEST_CASE("members of a request are taken", "[serve]") {
    completion_request const r = read(
        R"({"model": "tiny", "prompt": "Once", "max_tokens": 5, "temperature": 0.5, "top_p": 0.25,
            "top_k": 7, "seed": 9, "stop": ["a", "bc"], "logprobs": 3, "echo": true, "n": 2,
            "stream": true, "stream_options": {"include_usage": true}, "user": "u",
            "add_special_tokens": false, "skip_special_tokens": false, "ignore_eos": true})");
    REQUIRE(r.prompts.size() == 1);
    CHECK(r.prompts[0].text == "Once");
    CHECK(r.max_tokens == 5);
    CHECK(r.temperature == 0.5F);
    CHECK(r.top_p == 0.25F);
    CHECK(r.top_k == 7);
    CHECK(r.seed == 9);
    CHECK(r.stop == std::vector<std::string>{"a", "bc"});
    CHECK(r.logprobs == 3);
    CHECK(r.n == 2);
    CHECK(r.echo);
    CHECK(r.stream);
    CHECK(r.include_usage);
    CHECK_FALSE(r.add_special_tokens);
    CHECK_FALSE(r.skip_special_tokens);
    CHECK(r.ignore_eos);
}

TEST_CASE("what is not given, or null, has the API's default", "[serve]") {
    for (char const* const body :
         {R"({"prompt": "x"})",
          R"({"prompt": "x", "max_tokens": null, "temperature": null, "n": null, "stop": null,
              "logprobs": null, "seed": null, "logit_bias": null, "model": null, "echo": null})"}) {
        completion_request const r = read(body);
        CHECK(r.max_tokens == 16);
        CHECK(r.temperature == 1.0F);
        CHECK(r.top_p == 1.0F);
        CHECK(r.n == 1);
        CHECK(r.stop.empty());
        CHECK_FALSE(r.logprobs);
        CHECK_FALSE(r.seed);
        CHECK_FALSE(r.echo);
        CHECK_FALSE(r.stream);
        CHECK(r.add_special_tokens);
        CHECK(r.skip_special_tokens);
    }
}

TEST_CASE("a prompt is text, token ids, or a list of either", "[serve]") {
    completion_request const texts = read(R"({"prompt": ["a", ""]})");
    REQUIRE(texts.prompts.size() == 2);
    CHECK(texts.prompts[1].text == "");
    completion_request const tokens = read(R"({"prompt": [3, 99, 0]})");
    REQUIRE(tokens.prompts.size() == 1);
    CHECK_FALSE(tokens.prompts[0].text);
    CHECK(tokens.prompts[0].tokens == std::vector<std::int32_t>{3, 99, 0});
    completion_request const lists = read(R"({"prompt": [[3], [4, 5]]})");
    REQUIRE(lists.prompts.size() == 2);
    CHECK(lists.prompts[1].tokens == std::vector<std::int32_t>{4, 5});
    CHECK(read(R"({"prompt": "x", "stop": "end"})").stop == std::vector<std::string>{"end"});
    CHECK(read(R"({"prompt": "x", "seed": -1})").seed == ~std::uint64_t{0});
    CHECK(read(R"({"prompt": "x", "top_k": -1})").top_k == 0);
    CHECK(read(R"({"prompt": "x", "max_tokens": 0, "echo": true})").max_tokens == 0);
}

TEST_CASE("members that ask for nothing are accepted with that value alone", "[serve]") {
    CHECK(refused(R"({"prompt": "x", "presence_penalty": 0, "frequency_penalty": 0.0,
                      "repetition_penalty": 1.0, "logit_bias": {}, "suffix": "", "best_of": 1,
                      "min_p": 0, "min_tokens": 0, "use_beam_search": false})")
              .status == 200);
    for (char const* const asks :
         {R"("presence_penalty": 0.5)", R"("frequency_penalty": -1)", R"("best_of": 2)",
          R"("logit_bias": {"5": 1})", R"("suffix": "z")", R"("repetition_penalty": 1.1)",
          R"("min_p": 0.1)", R"("use_beam_search": true)"}) {
        std::string const member = asks;
        refusal const r = refused("{\"prompt\": \"x\", " + member + "}");
        INFO(member);
        CHECK(r.status == 400);
        CHECK(r.param == member.substr(1, member.find('"', 1) - 1));
        CHECK_THAT(r.message, Catch::Contains("not served"));
    }
}

TEST_CASE("malformed requests are refused by their member", "[serve]") {
    struct row {
        char const* body;
        int status;
        char const* param;
        char const* message;
    };
    row const rows[] = {
        {"", 400, "", "malformed JSON"},
        {"{", 400, "", "malformed JSON"},
        {"[]", 400, "", "expected an object"},
        {"\"x\"", 400, "", "expected an object"},
        {"{\"prompt\": \"\xff\"}", 400, "", "malformed JSON"},
        {R"({"prompt": "a", "prompt": "b"})", 400, "", "key 'prompt' twice"},
        {"{}", 400, "prompt", "found nothing"},
        {R"({"prompt": null})", 400, "prompt", "found nothing"},
        {R"({"prompt": 5})", 400, "prompt", "expected a string"},
        {R"({"prompt": {}})", 400, "prompt", "expected a string"},
        {R"({"prompt": []})", 400, "prompt", "expected a string"},
        {R"({"prompt": [[]]})", 400, "prompt", "at least one token"},
        {R"({"prompt": [100]})", 400, "prompt", "from 0 to 99"},
        {R"({"prompt": [-1]})", 400, "prompt", "from 0 to 99"},
        {R"({"prompt": [1.5]})", 400, "prompt", "from 0 to 99"},
        {R"({"prompt": [1, "a"]})", 400, "prompt", "from 0 to 99"},
        {R"({"prompt": ["a", 1]})", 400, "prompt", "a string"},
        {R"({"prompt": [[1], "a"]})", 400, "prompt", "a list of token ids"},
        {R"({"prompt": [true]})", 400, "prompt", "a list of token ids"},
        {R"({"prompt": ["1","2","3","4","5","6","7","8","9"]})", 400, "prompt", "at most 8"},
        {R"({"prompt": ["1","2","3"], "n": 3})", 400, "n", "at most 8, found 9"},
        {R"({"prompt": "x", "n": 0})", 400, "n", "from 1"},
        {R"({"prompt": "x", "max_tokens": -1})", 400, "max_tokens", "from 0 to 64"},
        {R"({"prompt": "x", "max_tokens": 65})", 400, "max_tokens", "from 0 to 64"},
        {R"({"prompt": "x", "max_tokens": "5"})", 400, "max_tokens", "an integer"},
        {R"({"prompt": "x", "max_tokens": 0})", 400, "max_tokens", "echo"},
        {R"({"prompt": "x", "temperature": -0.1})", 400, "temperature", "a number from"},
        {R"({"prompt": "x", "temperature": 2.5})", 400, "temperature", "to 2"},
        {R"({"prompt": "x", "temperature": 1e999})", 400, "", "malformed JSON"},
        {R"({"prompt": "x", "top_p": 0})", 400, "top_p", "above 0"},
        {R"({"prompt": "x", "top_p": 1.5})", 400, "top_p", "to 1"},
        {R"({"prompt": "x", "top_k": -2})", 400, "top_k", "from -1"},
        {R"({"prompt": "x", "seed": 1.5})", 400, "seed", "an integer"},
        {R"({"prompt": "x", "stop": [""]})", 400, "stop", "of 1 to"},
        {R"({"prompt": "x", "stop": [1]})", 400, "stop", "a string"},
        {R"({"prompt": "x", "stop": 1})", 400, "stop", "a list"},
        {R"({"prompt": "x", "logprobs": 21})", 400, "logprobs", "to 20"},
        {R"({"prompt": "x", "logprobs": true})", 400, "logprobs", "an integer"},
        {R"({"prompt": "x", "echo": 1})", 400, "echo", "true or false"},
        {R"({"prompt": "x", "stream": "yes"})", 400, "stream", "true or false"},
        {R"({"prompt": "x", "stream_options": {"include_usage": true}})", 400, "stream_options",
         "\"stream\": true"},
        {R"({"prompt": "x", "stream": true, "stream_options": {"x": 1}})", 400, "stream_options.x",
         "unknown member"},
        {R"({"prompt": "x", "user": 1})", 400, "user", "a string"},
        {R"({"prompt": "x", "max_length": 5})", 400, "max_length", "unknown member: max_length"},
        {R"({"prompt": "x", "max_length": null})", 400, "max_length", "unknown member"},
        {R"({"prompt": "x", "model": 1})", 400, "model", "a string"},
        {R"({"prompt": "x", "model": "other"})", 404, "model", "expected tiny, found other"},
    };
    for (row const& r : rows) {
        INFO(r.body);
        refusal const found = refused(r.body);
        CHECK(found.status == r.status);
        CHECK(found.param == r.param);
        CHECK_THAT(found.message, Catch::Contains(r.message));
    }
    std::string deep = R"({"prompt": )" + std::string(100, '[') + std::string(100, ']') + "}";
    CHECK_THAT(refused(deep).message, Catch::Contains("nesting"));
    std::string stops = R"({"prompt": "x", "stop": ["a")";
    for (int i = 0; i < 64; ++i) {
        stops += ", \"a\"";
    }
    CHECK(refused(stops + "]}").param == "stop");
}

TEST_CASE("a prompt and its answer must fit", "[serve]") {
    completion_request r;
    r.max_tokens = 14;
    CHECK_NOTHROW(require_length(50, r, limits));
    auto const at_fault = [&](std::size_t tokens) {
        try {
            require_length(tokens, r, limits);
        } catch (api_error const& why) {
            CHECK(why.status() == 400);
            return why.param();
        }
        return std::string("none");
    };
    CHECK(at_fault(51) == "max_tokens");
    CHECK(at_fault(64) == "prompt");
    CHECK(at_fault(0) == "prompt");
}

TEST_CASE("an error has the API's form", "[serve]") {
    nlohmann::ordered_json const body = api_error(400, "m: wrong", "m", "c").body();
    CHECK(
        body.dump() ==
        R"({"error":{"message":"m: wrong","type":"invalid_request_error","param":"m","code":"c"}})");
    CHECK(api_error(503, "x").body()["error"]["type"] == "server_error");
    CHECK(api_error(503, "x").body()["error"]["param"].is_null());
    CHECK(api_error(429, "x").body()["error"]["type"] == "rate_limit_error");
}
