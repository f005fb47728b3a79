// SPDX-License-Identifier: Apache-2.0
// Steps around the BPE model: Digits and Punctuation, added tokens that are sought in normalized
// text, and added tokens beside a SentencePiece model. Expected ids and pieces are those of the
// Python package `tokenizers` and of the LlamaTokenizer of transformers, written down here.
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "catch.hpp"
#include "fpq/io/tokenizer/tokenizer.hpp"
#include "support/shared_data.hpp"
#include "tokenizer_fixture.hpp"

namespace {

using fpq_test::input_error;
using fpq_test::make_tokenizer;
using fpq_test::tiny_tokenizer_json;
using ids = std::vector<std::int32_t>;
using nlohmann::json;
using pieces = std::vector<std::string>;

/// The pieces of `text` under the fixture with these steps before or after ByteLevel.
pieces split_by(std::vector<json> steps, std::string_view text,
                std::vector<json> const& after = {}) {
    json t = tiny_tokenizer_json();
    steps.push_back({{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}});
    steps.insert(steps.end(), after.begin(), after.end());
    t["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", steps}};
    pieces out;
    make_tokenizer(t).parts().pre(text, [&](std::string_view p) { out.emplace_back(p); });
    return out;
}

json digits(bool individual) { return {{"type", "Digits"}, {"individual_digits", individual}}; }
json punctuation(char const* behavior) { return {{"type", "Punctuation"}, {"behavior", behavior}}; }

}  // namespace

TEST_CASE("Digits are pieces, one by one or in runs", "[io]") {
    CHECK(split_by({digits(true)}, "in 2024, x1") == pieces{"in ", "2", "0", "2", "4", ", x", "1"});
    CHECK(split_by({digits(false)}, "in 2024, x1") == pieces{"in ", "2024", ", x", "1"});
    // Every number of Unicode counts: Arabic digits, superscripts, fractions, Roman numerals.
    CHECK(split_by({digits(true)}, "a\xD9\xA3\xC2\xB2\xC2\xBD\xE2\x85\xA3z") ==
          pieces{"a", "\xD9\xA3", "\xC2\xB2", "\xC2\xBD", "\xE2\x85\xA3", "z"});
    json t = tiny_tokenizer_json();
    t["pre_tokenizer"]["pretokenizers"].insert(t["pre_tokenizer"]["pretokenizers"].begin(),
                                               json{{"type", "Digits"}});
    CHECK(make_tokenizer(t).encode("12hell", false) == ids{'1', '2', 258});  // runs by default
}

TEST_CASE("Digits after ByteLevel see letters of bytes", "[io]") {
    // U+00B2 is the bytes C2 B2, and B2's letter is again a superscript two: a number.
    CHECK(split_by({}, "a12\xC2\xB2", {digits(true)}) == pieces{"a", "1", "2", "\xC2", "\xB2"});
    CHECK(split_by({}, "a12 \xC4\xBC", {digits(false)}) == pieces{"a", "12", " \xC4", "\xBC"});
    json t = tiny_tokenizer_json();
    t["pre_tokenizer"]["pretokenizers"].push_back({{"type", "Punctuation"}});
    CHECK(input_error([&] { (void)make_tokenizer(t); }).find("Punctuation") != std::string::npos);
}

TEST_CASE("Punctuation marks are pieces, one by one or in runs", "[io]") {
    CHECK(split_by({punctuation("Isolated")}, "Hey, \"you\"!!") ==
          pieces{"Hey", ",", " ", "\"", "you", "\"", "!", "!"});
    CHECK(split_by({punctuation("Contiguous")}, "a -- b...") == pieces{"a ", "--", " b", "..."});
    // ASCII's symbols count, other symbols do not; Unicode's punctuation does.
    CHECK(split_by({punctuation("Isolated")}, "1+1$\xE2\x82\xAC\xE2\x80\x94z") ==
          pieces{"1", "+", "1", "$", "\xE2\x82\xAC", "\xE2\x80\x94", "z"});
    json t = tiny_tokenizer_json();
    t["pre_tokenizer"]["pretokenizers"].insert(t["pre_tokenizer"]["pretokenizers"].begin(),
                                               punctuation("Removed"));
    CHECK(input_error([&] { (void)make_tokenizer(t); }).find("Removed") != std::string::npos);
}

TEST_CASE("a Split that inverts its pattern is refused", "[io]") {
    json t = tiny_tokenizer_json();
    t["pre_tokenizer"]["pretokenizers"][0]["invert"] = true;
    CHECK(input_error([&] { (void)make_tokenizer(t); }).find("invert") != std::string::npos);
}

TEST_CASE("a normalized added token is sought as its normalized content", "[io]") {
    json t = tiny_tokenizer_json();
    t["normalizer"] = {{"type", "Sequence"},
                       {"normalizers",
                        {{{"type", "Prepend"}, {"prepend", "_"}},
                         {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "_"}}}}};
    t["added_tokens"].push_back(
        {{"id", 270}, {"content", "of it"}, {"special", false}, {"normalized", true}});
    t["added_tokens"].push_back(
        {{"id", 271}, {"content", "raw it"}, {"special", false}, {"normalized", false}});
    auto const read = make_tokenizer(t);
    // "_of_it" is the token: at the beginning, or after a space.
    CHECK(read.encode("of it", false) == ids{270});
    CHECK(read.encode("a of it", false) == ids{'_', 'a', 270});
    CHECK(read.encode("aof it", false) == ids{'_', 'a', 'o', 'f', '_', 'i', 't'});
    CHECK(read.encode("raw it", false) == ids{271});
}

TEST_CASE("added tokens beside a SentencePiece model", "[io]") {
    if (!fpq_test::have_shared("data/tokenizers/llama2")) {
        return;
    }
    fpq_test::temporary_directory const dir;
    std::filesystem::copy_file(fpq_test::shared_path("data/tokenizers/llama2/tokenizer.model"),
                               dir.path() / "tokenizer.model");
    auto const open = [&] { return fpq::tokenizer::open(dir.path()); };
    CHECK(open().encode("<|x|>", false).size() > 3);
    dir.write("added_tokens.json", R"({"<|x|>": 32000, "<|y|>": 32001})");
    dir.write("tokenizer_config.json",
              R"({"eos_token": "<|y|>", "added_tokens_decoder": {"1": {"content": "<s>"}}})");
    auto const legacy = open();
    CHECK(legacy.vocab_size() == 32002);
    CHECK(legacy.eos() == 32001);
    CHECK(legacy.bos() == 1);
    CHECK(legacy.special("<|x|>") == 32000);
    // Every part begins with the space that the model puts before a text.
    CHECK(legacy.encode("the<|x|>the", false) == ids{278, 32000, 278});
    CHECK(legacy.encode("<|x|><s><|y|>", false) == ids{32000, 1, 32001});
    CHECK(legacy.decode(ids{278, 32000, 278}) == "the<|x|>the");
    dir.write("tokenizer_config.json", R"({"legacy": false})");
    auto const newer = open();
    CHECK(newer.encode("the<|x|>the", false) == ids{278, 32000, 1552});
    CHECK(newer.encode("<|x|> the", false) == ids{32000, 278});
    CHECK(newer.decode(ids{278, 32000, 1552}) == "the<|x|>the");
    CHECK(newer.decode(ids{32000, 278}) == "<|x|> the");
    dir.write("added_tokens.json", R"({"<|x|>": -1})");
    CHECK(input_error(open).find("added_tokens.json: <|x|>: expected an integer from 0") !=
          std::string::npos);
}
