// SPDX-License-Identifier: Apache-2.0
// A byte-level tokenizer.json small enough to write in a test: 256 byte tokens and a few merges.
// Shared by the tokenizer and text tests. Its fixed parts are text: the compiler is slow with long
// initializer lists of JSON.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/io/tokenizer/tokenizer.hpp"
#include "support/byte_tokens.hpp"
#include "support/files.hpp"

namespace fpq_test {

/// Byte b is id b. Merges, in order: he, ll, hell (he+ll), " h", hello (hell+o), " hello" has no
/// rule. Ids 256... follow that order, then " hello" as a token that only ignore_merges reaches.
inline nlohmann::json tiny_tokenizer_json() {
    nlohmann::json vocabulary;
    for (int b = 0; b < 256; ++b) {
        vocabulary[fpq_test::token_of_bytes(std::string(1, static_cast<char>(b)))] = b;
    }
    std::string const space = fpq_test::token_of_bytes(" ");
    int id = 256;
    for (std::string const& token : {std::string("he"), std::string("ll"), std::string("hell"),
                                     space + "h", std::string("hello"), space + "hello"}) {
        vocabulary[token] = id++;
    }
    nlohmann::json out = nlohmann::json::parse(R"({
      "version": "1.0",
      "added_tokens": [
        {"id": 262, "content": "<s>", "special": true, "normalized": false},
        {"id": 263, "content": "</s>", "special": true, "normalized": false}],
      "normalizer": null,
      "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {}, "behavior": "Isolated", "invert": false},
        {"type": "ByteLevel", "add_prefix_space": false, "use_regex": false}]},
      "post_processor": {"type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}},
                   {"Sequence": {"id": "A", "type_id": 0}}],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [262], "tokens": ["<s>"]}}},
      "decoder": {"type": "ByteLevel"},
      "model": {"type": "BPE", "byte_fallback": false, "ignore_merges": false}})");
    out["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = std::string(fpq::llama3_regex);
    out["model"]["vocab"] = std::move(vocabulary);
    out["model"]["merges"] =
        std::vector<std::string>{"h e", "l l", "he ll", space + " h", "hell o"};
    return out;
}

inline fpq::tokenizer make_tokenizer(nlohmann::json const& json) {
    return fpq::tokenizer(fpq::parse_tokenizer_json(json, {}, "tokenizer.json"));
}

/// The message of the fpq::error (input) that f throws; another outcome is told in words.
template <class F>
std::string input_error(F f) {
    try {
        f();
    } catch (fpq::error const& e) {
        std::string const line = e.what();
        if (e.category() != fpq::error_category::input || line.find('\n') != std::string::npos) {
            return "wrong category or more than one line: " + line;
        }
        return line;
    }
    return "no error";
}

}  // namespace fpq_test
