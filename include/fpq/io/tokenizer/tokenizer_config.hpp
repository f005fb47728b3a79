// SPDX-License-Identifier: Apache-2.0
// Floor 5. What tokenizer_config.json and added_tokens.json add to the other tokenizer files: the
// class, the names of BOS and EOS, whether they are put around a text, and added tokens. Other keys
// are not read.
#pragma once

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/io/file/look.hpp"
#include "fpq/io/json/json_file.hpp"
#include "fpq/io/json/json_value.hpp"
#include "fpq/io/tokenizer/tokenizer_added.hpp"

namespace fpq {

struct tokenizer_config {
    std::string tokenizer_class;                      // empty when not given
    std::optional<std::string> bos_token, eos_token;  // contents
    std::optional<bool> add_bos_token, add_eos_token;
    std::vector<added_token> added;  // added_tokens_decoder, then added_tokens.json
    bool add_prefix_space = false;
    bool legacy = true;  // SentencePiece: text after an added token gets a space before it
};

namespace detail {

inline constexpr json_range<std::int32_t> token_ids{0, max_token_id - 1};

inline added_token read_added_token(json_value const& at, std::int32_t id) {
    added_token t;
    t.content = at.required<std::string>("content");
    t.id = id;
    t.special = at.optional<bool>("special").value_or(false);
    t.normalized = at.optional<bool>("normalized").value_or(!t.special);
    t.lstrip = at.optional<bool>("lstrip").value_or(false);
    t.rstrip = at.optional<bool>("rstrip").value_or(false);
    t.single_word = at.optional<bool>("single_word").value_or(false);
    return t;
}

/// A token given as its content or as an object with "content".
inline std::optional<std::string> read_token_name(json_value const& config,
                                                  std::string const& key) {
    auto const member = config.find(key);
    if (!member) {
        return std::nullopt;
    }
    return member->json().is_object() ? member->required<std::string>("content")
                                      : member->as<std::string>();
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
    json_value const root(json, name);
    tokenizer_config out;
    out.tokenizer_class = root.optional<std::string>("tokenizer_class").value_or("");
    out.bos_token = detail::read_token_name(root, "bos_token");
    out.eos_token = detail::read_token_name(root, "eos_token");
    out.add_bos_token = root.optional<bool>("add_bos_token");
    out.add_eos_token = root.optional<bool>("add_eos_token");
    out.add_prefix_space = root.optional<bool>("add_prefix_space").value_or(false);
    out.legacy = root.optional<bool>("legacy").value_or(true);
    if (auto const decoder = root.find("added_tokens_decoder")) {
        for (auto const& [key, token] : decoder->members()) {
            out.added.push_back(
                detail::read_added_token(token, detail::parse_id(key, token.where())));
        }
    }
    return out;
}

/// Adds the tokens of an added_tokens.json, {"content": id, ...}, that `config` does not have.
inline void add_tokens_of(nlohmann::json const& json, std::string const& name,
                          tokenizer_config& config) {
    for (auto const& [content, id] : json_value(json, name).members()) {
        bool const known = std::any_of(config.added.begin(), config.added.end(),
                                       [&c = content](auto const& t) { return t.content == c; });
        if (!known) {
            config.added.push_back({content, id.as<std::int32_t>(detail::token_ids)});
        }
    }
}

/// Reads DIR/tokenizer_config.json and DIR/added_tokens.json; what is absent has its default.
inline tokenizer_config read_tokenizer_config(std::filesystem::path const& directory) {
    tokenizer_config out;
    if (auto const path = directory / "tokenizer_config.json"; is_there(path)) {
        out = parse_tokenizer_config(read_json_file(path), path.string());
    }
    if (auto const path = directory / "added_tokens.json"; is_there(path)) {
        add_tokens_of(read_json_file(path), path.string(), out);
    }
    return out;
}

}  // namespace fpq
