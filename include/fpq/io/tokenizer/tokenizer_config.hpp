// SPDX-License-Identifier: Apache-2.0
// Floor 5. What tokenizer_config.json adds to the other tokenizer files: the class, the names of
// BOS and EOS, whether they are put around a text, and added tokens. Other keys are not read.
#pragma once

#include <charconv>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/io/tokenizer/tokenizer_added.hpp"
#include "fpq/io/tokenizer/tokenizer_json_access.hpp"

namespace fpq {

struct tokenizer_config {
    std::string tokenizer_class;                      // empty when not given
    std::optional<std::string> bos_token, eos_token;  // contents
    std::optional<bool> add_bos_token, add_eos_token;
    std::vector<added_token> added;  // added_tokens_decoder
    bool add_prefix_space = false;
};

namespace detail {

inline added_token read_added_token(json_at const& at, std::int32_t id) {
    added_token t;
    t.content = at.at("content").string();
    t.id = id;
    t.special = at.flag("special", false);
    t.normalized = at.flag("normalized", !t.special);
    t.lstrip = at.flag("lstrip", false);
    t.rstrip = at.flag("rstrip", false);
    t.single_word = at.flag("single_word", false);
    return t;
}

/// A token given as its content or as an object with "content".
inline std::optional<std::string> read_token_name(json_at const& config, std::string const& key) {
    auto const member = config.find(key);
    if (!member) {
        return std::nullopt;
    }
    return member->value().is_object() ? member->at("content").string() : member->string();
}

inline std::int32_t parse_id(std::string const& text, std::string const& where) {
    std::int32_t id = 0;
    auto const [end, problem] = std::from_chars(text.data(), text.data() + text.size(), id);
    if (problem != std::errc{} || end != text.data() + text.size() || id < 0 ||
        id >= max_token_id) {
        fail_input("token id not understood", where, "0 to " + std::to_string(max_token_id - 1),
                   text);
    }
    return id;
}

}  // namespace detail

/// Errors: fpq::error (input). `name` stands for the file in them.
inline tokenizer_config parse_tokenizer_config(nlohmann::json const& json,
                                               std::string const& name) {
    detail::json_at const root(json, name);
    tokenizer_config out;
    if (auto const type = root.find("tokenizer_class")) {
        out.tokenizer_class = type->string();
    }
    out.bos_token = detail::read_token_name(root, "bos_token");
    out.eos_token = detail::read_token_name(root, "eos_token");
    for (auto const& [key, flag] : {std::pair{"add_bos_token", &out.add_bos_token},
                                    std::pair{"add_eos_token", &out.add_eos_token}}) {
        if (auto const given = root.find(key)) {
            *flag = given->boolean();
        }
    }
    out.add_prefix_space = root.flag("add_prefix_space", false);
    if (auto const decoder = root.find("added_tokens_decoder")) {
        if (!decoder->value().is_object()) {
            decoder->wrong("an object");
        }
        for (auto const& [key, token] : decoder->value().items()) {
            detail::json_at const at(token, decoder->name() + " " + key);
            out.added.push_back(detail::read_added_token(at, detail::parse_id(key, at.name())));
        }
    }
    return out;
}

/// Reads DIR/tokenizer_config.json; all defaults when there is none.
inline tokenizer_config read_tokenizer_config(std::filesystem::path const& directory) {
    auto const path = directory / "tokenizer_config.json";
    if (!std::filesystem::exists(path)) {
        return {};
    }
    return parse_tokenizer_config(detail::read_json_file(path), path.string());
}

}  // namespace fpq
