// SPDX-License-Identifier: Apache-2.0
// Tokenizer files that are refused, each with one line that names file, place, expected and found;
// and, for every prefix of small files, an error instead of a crash.
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "catch.hpp"
#include "fpq/io/tokenizer/tokenizer.hpp"
#include "tokenizer_fixture.hpp"

namespace {

using fpq_test::input_error;
using fpq_test::tiny_tokenizer_json;
using nlohmann::json;

/// The refusal of the fixture after `change`.
template <class Change>
std::string refusal(Change change) {
    json tokenizer = tiny_tokenizer_json();
    change(tokenizer);
    return input_error([&] { (void)fpq_test::make_tokenizer(tokenizer); });
}

bool says(std::string const& line, std::string_view what) {
    if (line.find(what) == std::string::npos) {
        UNSCOPED_INFO("said: " << line);
        return false;
    }
    return true;
}

std::string tiktoken_refusal(std::string_view text) {
    return input_error([&] { (void)fpq::parse_tiktoken(text, {}, "tokenizer.model"); });
}

}  // namespace

TEST_CASE("A vocabulary or merge that does not hold together is refused", "[io]") {
    CHECK(says(refusal([](json& t) { t["model"].erase("vocab"); }), "found nothing"));
    CHECK(says(refusal([](json& t) { t["model"]["vocab"] = 3; }), "expected an object, found 3"));
    CHECK(says(refusal([](json& t) { t["model"]["vocab"]["he"] = 0; }), "given twice"));
    CHECK(says(refusal([](json& t) { t["model"]["vocab"]["he"] = -1; }), "out of range"));
    CHECK(says(refusal([](json& t) { t["model"]["vocab"]["he"] = 1 << 30; }), "out of range"));
    CHECK(says(refusal([](json& t) { t["model"]["vocab"]["he"] = 1e300; }), "out of range"));
    CHECK(says(refusal([](json& t) { t["model"]["vocab"]["he"] = ~std::uint64_t{0}; }),
               "out of range"));
    CHECK(says(refusal([](json& t) { t["model"]["vocab"].erase("a"); }), "no token for byte 0x61"));
    CHECK(says(refusal([](json& t) { t["model"]["vocab"].erase("hell"); }),
               "merges[2]: expected a known token, found hell"));
    CHECK(says(refusal([](json& t) { t["model"]["merges"].push_back("q zz"); }), "found zz"));
    CHECK(says(refusal([](json& t) { t["model"]["merges"].push_back("he"); }),
               "two tokens and one space"));
    CHECK(says(refusal([](json& t) { t["model"]["merges"].push_back({"h", 1}); }), "merges[5]"));
    CHECK(says(refusal([](json& t) { t["model"]["merges"] = "h e"; }), "expected a list"));
}

TEST_CASE("Components that are not supported are refused by name", "[io]") {
    CHECK(says(refusal([](json& t) { t["model"]["type"] = "Unigram"; }), "Unigram"));
    CHECK(says(refusal([](json& t) { t["model"]["dropout"] = 0.1; }), "dropout"));
    CHECK(says(refusal([](json& t) { t["model"]["end_of_word_suffix"] = "</w>"; }),
               "end_of_word_suffix"));
    CHECK(says(refusal([](json& t) { t["normalizer"] = {{"type", "Lowercase"}}; }), "Lowercase"));
    CHECK(says(refusal([](json& t) { t["pre_tokenizer"] = {{"type", "Bert"}}; }), "found Bert"));
    CHECK(says(refusal([](json& t) { t["pre_tokenizer"] = nullptr; }), "neither"));
    CHECK(says(
        refusal([](json& t) { t["pre_tokenizer"]["pretokenizers"][0]["behavior"] = "Removed"; }),
        "Removed"));
    CHECK(says(
        refusal([](json& t) { t["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = "("; }),
        "regular expression not understood"));
    CHECK(says(refusal([](json& t) { t["post_processor"] = {{"type", "Roberta"}}; }), "Roberta"));
    CHECK(says(refusal([](json& t) { t["decoder"] = {{"type", "WordPiece"}}; }), "WordPiece"));
    CHECK(says(refusal([](json& t) { t["post_processor"]["special_tokens"] = json::object(); }),
               "found nothing"));
    CHECK(
        says(refusal([](json& t) { t["post_processor"]["special_tokens"]["<s>"]["ids"] = {999}; }),
             "id of no token"));
}

TEST_CASE("Added tokens that contradict each other or the vocabulary are refused", "[io]") {
    CHECK(says(refusal([](json& t) { t["added_tokens"][0]["id"] = 263; }), "given twice"));
    CHECK(says(refusal([](json& t) { t["added_tokens"][0]["content"] = "he"; }), "another id"));
    CHECK(says(refusal([](json& t) { t["added_tokens"][0]["id"] = "x"; }), "an integer from 0"));
    CHECK(says(refusal([](json& t) { t["added_tokens"][0]["id"] = 5; }), "another token"));
    CHECK(says(refusal([](json& t) { t["added_tokens"][0].erase("content"); }), "content"));
    CHECK(says(refusal([](json& t) { t["added_tokens"][0]["lstrip"] = 1; }), "true or false"));
}

TEST_CASE("Ranks that are no base64, no number, or no sequence are refused by line", "[io]") {
    CHECK(says(tiktoken_refusal("IQ== 0\nI!== 1\n"), "line 2"));
    CHECK(says(tiktoken_refusal("IQ== 0\nIg= 1\n"), "line 2"));
    CHECK(says(tiktoken_refusal("IQ== 0\nIg==\n"), "line 2"));
    CHECK(says(tiktoken_refusal("IQ== 0\nIg== x\n"), "line 2"));
    CHECK(says(tiktoken_refusal("IQ== 0\nIg== 0\n"), "gap or a duplicate"));
    CHECK(says(tiktoken_refusal("IQ== 0\nIg== 2\n"), "gap or a duplicate"));
    CHECK(says(tiktoken_refusal("IQ== 0\nIQ== 1\n"), "same bytes"));
    CHECK(says(tiktoken_refusal("IQ== 0\n"), "no token for byte"));
    CHECK(says(tiktoken_refusal("IQ== 99999999999999999999\n"), "line 1"));
}

TEST_CASE("A directory without a tokenizer, or with one that is something else, is refused",
          "[io]") {
    fpq_test::temporary_directory const dir;
    auto const open = [&] { return input_error([&] { (void)fpq::tokenizer::open(dir.path()); }); };
    CHECK(says(open(), "no tokenizer"));
    dir.write("tokenizer.model", "PK\x03\x04");
    CHECK(says(open(), "tokenizer.model not understood"));
    dir.write("tokenizer.model", "");
    CHECK(says(open(), "tokenizer.model not understood"));
    dir.write("tokenizer.model", std::string("\n\x0E\n\x05<unk>\x15", 10));
    CHECK(says(open(), "not a SentencePiece model"));
    dir.write("vocab.json", "{}");
    dir.write("merges.txt", "#version: 0.2\n");
    CHECK(says(open(), "tokenizer_class"));
    dir.write("tokenizer_config.json", R"({"tokenizer_class": "Qwen2Tokenizer"})");
    CHECK(says(open(), "no token for byte"));
    dir.write("merges.txt", "#version: 0.2\na b\n");
    CHECK(says(open(), "line 2"));
    dir.write("tokenizer_config.json", R"({"added_tokens_decoder": {"1x": {"content": "a"}}})");
    CHECK(says(open(), "1x"));
    dir.write("tokenizer_config.json", "[");
    CHECK(says(open(), "malformed JSON"));
}

TEST_CASE("Every prefix of a tokenizer.json is refused in one line", "[io]") {
    std::string const whole = tiny_tokenizer_json().dump();
    fpq_test::temporary_directory const dir;
    std::size_t wrong = 0;
    for (std::size_t size = 0; size < whole.size(); size += 13) {
        dir.write("tokenizer.json", whole.substr(0, size));
        wrong +=
            !says(input_error([&] { (void)fpq::tokenizer::open(dir.path()); }), "malformed JSON");
    }
    CHECK(wrong == 0);
}
