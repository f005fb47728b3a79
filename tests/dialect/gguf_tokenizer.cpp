// SPDX-License-Identifier: Apache-2.0
// Tests of dialect/gguf_tokenizer.hpp: tokens, kinds and merges of a small tokenizer.json, and the
// tokenizers that no client of GGUF has, refused by name.
#include "fpq/dialect/gguf_tokenizer.hpp"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "catch.hpp"
#include "support/byte_tokens.hpp"
#include "support/files.hpp"

using fpq::find_gguf;
using fpq::find_gguf_array;
using fpq_test::temporary_directory;
using nlohmann::json;

namespace {

/// Bytes, one merge, a control token and one of the user's.
json small_tokenizer() {
    json vocab = json::object();
    for (int byte = 0; byte < 256; ++byte) {
        vocab[fpq_test::token_of_bytes(std::string(1, static_cast<char>(byte)))] = byte;
    }
    vocab["ab"] = 256;
    auto const added = [](int id, char const* content, bool special) {
        return json{{"id", id},           {"content", content}, {"special", special},
                    {"lstrip", false},    {"rstrip", false},    {"single_word", false},
                    {"normalized", false}};
    };
    json const bytes = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}};
    json const split = {{"type", "Split"},
                        {"pattern", {{"Regex", fpq::detail::llama3_split}}},
                        {"behavior", "Isolated"},
                        {"invert", false}};
    return {{"added_tokens", {added(257, "<s>", true), added(259, "<tool>", false)}},
            {"normalizer", nullptr},
            {"pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", {split, bytes}}}},
            {"post_processor",
             {{"type", "TemplateProcessing"},
              {"single",
               {{{"SpecialToken", {{"id", "<s>"}, {"type_id", 0}}}},
                {{"Sequence", {{"id", "A"}, {"type_id", 0}}}}}},
              {"special_tokens", {{"<s>", {{"id", "<s>"}, {"ids", {257}}}}}}}},
            {"decoder", {{"type", "ByteLevel"}}},
            {"model",
             {{"type", "BPE"}, {"ignore_merges", true}, {"vocab", vocab}, {"merges", {"a b"}}}}};
}

struct directory {
    temporary_directory dir;
    json tokenizer = small_tokenizer();
    json config = {{"eos_token_id", {7, 8}}};
    std::size_t rows = 262;

    fpq::gguf_metadata read() const {
        fpq_test::write_text(dir.path() / "tokenizer.json", tokenizer.dump());
        return fpq::gguf_tokenizer(dir.path(), config, rows);
    }
    std::string refusal() const {
        try {
            (void)read();
        } catch (fpq::error const& why) {
            CHECK(why.category() == fpq::error_category::input);
            return why.what();
        }
        return "";
    }
};

bool has(std::string const& line, std::string const& part) {
    INFO(line);
    bool const found = line.find(part) != std::string::npos;
    CHECK(found);
    return found;
}

std::string text_of(fpq::gguf_metadata const& m, char const* key) {
    std::string const* const value = find_gguf<std::string>(m, key);
    return value == nullptr ? "none" : *value;
}

}  // namespace

TEST_CASE("a tokenizer is tokens, kinds, merges and the name of its split", "[io]") {
    directory d;
    fpq_test::write_text(d.dir.path() / "chat_template.jinja", "{{ x }}");
    fpq_test::write_text(d.dir.path() / "tokenizer_config.json", R"({"pad_token": "<tool>"})");
    fpq::gguf_metadata const m = d.read();
    CHECK(text_of(m, "tokenizer.ggml.model") == "gpt2");
    CHECK(text_of(m, "tokenizer.ggml.pre") == "llama-bpe");
    CHECK(text_of(m, "tokenizer.chat_template") == "{{ x }}");
    auto const& tokens = *find_gguf_array<std::string>(m, "tokenizer.ggml.tokens");
    auto const& kinds = *find_gguf_array<std::int32_t>(m, "tokenizer.ggml.token_type");
    REQUIRE(tokens.size() == 262);
    REQUIRE(kinds.size() == 262);
    CHECK(tokens[32] == "\xC4\xA0");  // a space, as byte-level BPE spells it
    CHECK(tokens[256] == "ab");
    CHECK(kinds[256] == 1);
    CHECK(tokens[257] == "<s>");
    CHECK(kinds[257] == 3);
    CHECK(tokens[258] == "[PAD258]");
    CHECK(kinds[258] == 5);
    CHECK(tokens[259] == "<tool>");
    CHECK(kinds[259] == 4);
    CHECK(kinds[261] == 5);
    CHECK(*find_gguf_array<std::string>(m, "tokenizer.ggml.merges") ==
          std::vector<std::string>{"a b"});
    CHECK(*find_gguf<std::uint32_t>(m, "tokenizer.ggml.bos_token_id") == 257);
    CHECK(*find_gguf<std::uint32_t>(m, "tokenizer.ggml.eos_token_id") == 7);
    CHECK(*find_gguf<std::uint32_t>(m, "tokenizer.ggml.padding_token_id") == 259);
    CHECK(*find_gguf<bool>(m, "tokenizer.ggml.add_bos_token"));
    CHECK_FALSE(*find_gguf<bool>(m, "tokenizer.ggml.add_eos_token"));

    d.tokenizer["model"]["merges"] =
        json::array({json::array({"a", "b"})});  // pairs, as newer files have them
    d.tokenizer["model"]["ignore_merges"] = false;
    d.tokenizer.erase("post_processor");
    fpq::gguf_metadata const again = d.read();
    CHECK(text_of(again, "tokenizer.ggml.pre") == "smaug-bpe");
    CHECK(*find_gguf_array<std::string>(again, "tokenizer.ggml.merges") ==
          std::vector<std::string>{"a b"});
    CHECK_FALSE(*find_gguf<bool>(again, "tokenizer.ggml.add_bos_token"));
    CHECK(find_gguf<std::uint32_t>(again, "tokenizer.ggml.bos_token_id") == nullptr);
}

TEST_CASE("splits are told by their regular expression", "[io]") {
    directory d;
    json& steps = d.tokenizer["pre_tokenizer"]["pretokenizers"];
    d.tokenizer["model"]["ignore_merges"] = false;
    steps[0]["pattern"]["Regex"] = fpq::detail::qwen2_split;
    CHECK(text_of(d.read(), "tokenizer.ggml.pre") == "qwen2");
    d.tokenizer["model"]["ignore_merges"] = true;
    has(d.refusal(), "with ignore_merges");
    d.tokenizer["model"]["ignore_merges"] = false;
    steps[1]["use_regex"] = true;
    has(d.refusal(), "the split of gpt-2, llama-bpe, smaug-bpe or qwen2");
    steps.erase(0);
    CHECK(text_of(d.read(), "tokenizer.ggml.pre") == "gpt-2");
    steps[0]["add_prefix_space"] = true;
    has(d.refusal(), "without a prefix space");
    steps[0] = json{{"type", "Digits"}, {"individual_digits", true}};
    has(d.refusal(), "found Digits");
}

TEST_CASE("tokenizers that clients of GGUF lack are refused by name", "[io]") {
    directory d;
    d.rows = 259;
    has(d.refusal(), "token without a row of the embedding");
    d.rows = 262;
    json& around = d.tokenizer["post_processor"]["single"];
    around.insert(around.begin(), around[0]);
    has(d.refusal(), "the BOS token before a text, found 2 tokens");
    temporary_directory const none;
    CHECK_THROWS_WITH(fpq::gguf_tokenizer(none.path(), json::object(), 8),
                      Catch::Contains("no tokenizer for GGUF"));
}
