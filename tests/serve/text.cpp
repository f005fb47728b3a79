// SPDX-License-Identifier: Apache-2.0
// Text that grows by tokens: the whole decode at the end, whatever the tokenizer, and what stop
// strings and streams make of it.
#include <string>
#include <vector>

#include "catch.hpp"
#include "fpq/io/text/text_unicode.hpp"
#include "serve/end_tokens.hpp"
#include "serve/text_stream.hpp"
#include "support/files.hpp"
#include "support/shared_data.hpp"

using namespace fpq;
using namespace fpq::tools;

namespace {

tokenizer const& tiny() {
    static tokenizer const words =
        tokenizer::open(fpq_test::repo_dir() / "examples" / "models" / "tiny-llama");
    return words;
}

constexpr char const* sample =
    "It was the best of times; na\xC3\xAFve \xE2\x82\xAC 5 \xF0\x9F\x98\x80 caf\xC3\xA9s  "
    "two\n\nend";

/// Text of `ids` grown token by token, behind the first `before` of them.
std::string grown(tokenizer const& words, std::vector<std::int32_t> const& ids,
                  std::size_t before) {
    text_stream out(words, true);
    if (before > 0) {
        out.begin_after(ids[before - 1]);
    }
    for (std::size_t i = before; i < ids.size(); ++i) {
        out.append(ids[i], token_part::answer);
        CHECK(out.settled({}) <= out.text().size());
        CHECK(valid_utf8_prefix(std::string_view(out.text()).substr(0, out.settled({}))) ==
              out.settled({}));
    }
    out.finish();
    return out.text();
}

void check_grows_to_decode(tokenizer const& words) {
    std::vector<std::int32_t> const ids = words.encode(sample, false);
    REQUIRE(ids.size() > 8);
    std::string const whole = words.decode(ids);
    CHECK(whole == sample);
    CHECK(grown(words, ids, 0) == whole);
    for (std::size_t before = 1; before < 6; ++before) {
        std::string const head =
            words.decode(std::vector<std::int32_t>(ids.begin(), ids.begin() + before));
        CHECK(head + grown(words, ids, before) == whole);
    }
}

}  // namespace

TEST_CASE("text grown by tokens is what they decode to", "[serve]") {
    check_grows_to_decode(tiny());
}

TEST_CASE("the same with SentencePiece, whose pieces may be single bytes", "[serve]") {
    if (!fpq_test::have_shared("data/tokenizers/llama2")) {
        return;
    }
    tokenizer const words = tokenizer::open(fpq_test::shared_path("data/tokenizers/llama2"));
    check_grows_to_decode(words);
    std::vector<std::int32_t> const smile = words.encode("\xF0\x9F\x98\x80", false);
    text_stream part(words, true);
    part.begin_after(words.encode("a", false).back());
    for (std::size_t i = 0; i + 1 < smile.size(); ++i) {
        part.append(smile[i], token_part::answer);
    }
    CHECK_FALSE(part.text().find("\xF0\x9F") != std::string::npos);
    part.finish();  // the character never came
    CHECK(valid_utf8_prefix(part.text()) == part.text().size());
    CHECK(token_bytes(words, words.encode("of the", false).back()) == " the");
    CHECK(token_name(words, smile.back()).starts_with("bytes:\\x"));
}

TEST_CASE("special tokens are left out of an answer, kept in a prompt and found by stop strings",
          "[serve]") {
    std::int32_t const special = tiny().special("<|eot_id|>").value();
    std::vector<std::int32_t> const word = tiny().encode("word", false);
    auto const text_of = [&](bool skip, token_part part) {
        text_stream out(tiny(), skip);
        out.append(word[0], part);
        out.append(special, part);
        return out.text();
    };
    std::string const first = tiny().decode(std::vector{word[0]});
    CHECK(text_of(true, token_part::answer) == first);
    CHECK(text_of(false, token_part::answer) == first + "<|eot_id|>");
    CHECK(text_of(true, token_part::prompt) == first + "<|eot_id|>");
    CHECK(text_of(true, token_part::none).empty());
    text_stream out(tiny(), true);
    std::vector<std::string> const stops{"<|eot_id|>"};
    out.append(word[0], token_part::answer);
    CHECK_FALSE(out.stop_at(stops));
    out.append(special, token_part::answer);
    CHECK(out.stop_at(stops));
    CHECK(out.text() == first);
}

TEST_CASE("the earliest stop string ends the text, across tokens and not in the prompt",
          "[serve]") {
    std::vector<std::int32_t> const ids = tiny().encode(" one two three four five", false);
    std::vector<std::string> const stops{"e four", "three", "five"};
    text_stream out(tiny(), true);
    for (std::int32_t const id : tiny().encode("three of them", false)) {
        out.append(id, token_part::prompt);
    }
    CHECK_FALSE(out.stop_at(stops));
    bool stopped = false;
    std::size_t used = 0;
    for (std::size_t i = 0; i < ids.size() && !stopped; ++i, ++used) {
        out.append(ids[i], token_part::answer);
        stopped = out.stop_at(stops);
    }
    CHECK(stopped);
    CHECK(used < ids.size());
    CHECK(out.text() == "three of them one two ");
    CHECK(out.end_of(out.tokens() - 1) == out.text().size());
}

TEST_CASE("a stream holds back what may be a stop string or half a character", "[serve]") {
    std::vector<std::string> const stops{"\n\nQ:", "two."};
    std::string const text = "A two\n\nQ";
    text_stream out(tiny(), true);
    std::size_t shown = 0;
    for (std::int32_t const id : tiny().encode(text, false)) {
        out.append(id, token_part::answer);
        REQUIRE_FALSE(out.stop_at(stops));
        CHECK(out.settled(stops) >= shown);  // nothing is taken back
        shown = out.settled(stops);
    }
    CHECK(out.text() == text);
    CHECK(out.text().substr(0, shown) == "A two");
    text_stream smile(tiny(), true);
    std::vector<std::int32_t> const ids = tiny().encode("\xF0\x9F\x98\x80", false);
    REQUIRE(ids.size() > 1);
    smile.append(ids[0], token_part::answer);
    CHECK(smile.settled({}) == 0);
    for (std::size_t i = 1; i < ids.size(); ++i) {
        smile.append(ids[i], token_part::answer);
    }
    CHECK(smile.settled({}) == 4);
}

TEST_CASE("ids that are no token have no text", "[serve]") {
    text_stream out(tiny(), true);
    out.append(static_cast<std::int32_t>(tiny().vocab_size()) + 5, token_part::answer);
    CHECK(out.text().empty());
    CHECK(token_name(tiny(), 1 << 30).empty());
}

TEST_CASE("what ends a text comes from the checkpoint's files", "[serve]") {
    fpq_test::temporary_directory const dir;
    std::int32_t const own = tiny().eos().value();
    CHECK(end_tokens(dir.path(), tiny()) == std::vector<std::int32_t>{own});
    dir.write("config.json", R"({"eos_token_id": 7})");
    CHECK(end_tokens(dir.path(), tiny()) == std::vector<std::int32_t>{7, own});
    dir.write("generation_config.json", R"({"eos_token_id": [8, 9]})");
    CHECK(end_tokens(dir.path(), tiny()) == std::vector<std::int32_t>{8, 9, own});
    dir.write("generation_config.json", R"({"eos_token_id": "x"})");
    CHECK_THROWS_WITH(end_tokens(dir.path(), tiny()), Catch::Contains("eos_token_id"));
}
