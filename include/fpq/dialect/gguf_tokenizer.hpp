// SPDX-License-Identifier: Apache-2.0
// Floor 6. The tokenizer of a checkpoint as metadata of a GGUF file: tokens, merges, special tokens
// and the name of the split that clients have built in. Byte-level BPE of a tokenizer.json; any
// other, and a split that clients lack, is refused by name, never guessed.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/io/chat/find_chat_template.hpp"
#include "fpq/io/file/look.hpp"
#include "fpq/io/gguf/gguf_value.hpp"
#include "fpq/io/json/json_file.hpp"
#include "fpq/io/json/json_value.hpp"
#include "fpq/io/tokenizer/tokenizer_config.hpp"
#include "fpq/io/tokenizer/tokenizer_json.hpp"
#include "fpq/io/tokenizer/tokenizer_parts.hpp"

namespace fpq {

namespace detail {

/// Kinds of tokens, as tokenizer.ggml.token_type numbers them.
enum class gguf_token : std::int32_t { normal = 1, control = 3, user_defined = 4, unused = 5 };

/// What clients call a split of text: the regular expression of the tokenizer, and whether a word
/// that is a token is taken whole before any merge.
struct gguf_split {
    std::string_view regex;
    bool whole_words;
    std::string_view name;
};
inline constexpr std::string_view llama3_split =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
inline constexpr std::string_view qwen2_split =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
inline constexpr std::array<gguf_split, 4> gguf_splits{{{llama3_split, true, "llama-bpe"},
                                                        {llama3_split, false, "smaug-bpe"},
                                                        {qwen2_split, false, "qwen2"},
                                                        {"", false, "gpt-2"}}};

/// The steps of a pre_tokenizer: the regular expressions before ByteLevel, and whether ByteLevel
/// splits by its own. Errors: any other step.
struct split_facts {
    std::vector<std::string> regexes;
    bool byte_level = false;
    bool own_regex = false;
};

inline void read_split_facts(json_value const& at, split_facts& out) {
    std::string const type = at.required<std::string>("type");
    if (type == "Sequence") {
        for (json_value const& item : at.at("pretokenizers").elements()) {
            read_split_facts(item, out);
        }
    } else if (type == "Split" && at.at("pattern").has("Regex") && !out.byte_level) {
        out.regexes.push_back(at.at("pattern").required<std::string>("Regex"));
    } else if (type == "ByteLevel" && !out.byte_level &&
               !at.optional<bool>("add_prefix_space").value_or(true)) {
        out.byte_level = true;
        out.own_regex = at.optional<bool>("use_regex").value_or(true);
    } else {
        refuse_component("pre_tokenizer for GGUF", at,
                         "Split by Regex, then ByteLevel without a prefix space", type);
    }
}

/// tokenizer.ggml.pre of a tokenizer.json. Errors: fpq::error (input) for one that has none.
inline std::string gguf_pre_tokenizer(json_value const& root) {
    split_facts facts;
    if (auto const pre = root.find("pre_tokenizer")) {
        read_split_facts(*pre, facts);
    }
    json_value const model = root.at("model");
    if (!facts.byte_level) {
        refuse_component("tokenizer for GGUF", model, "byte-level BPE", "another");
    }
    bool const whole_words = model.optional<bool>("ignore_merges").value_or(false);
    bool const plain = facts.regexes.empty() && facts.own_regex;
    bool const single = facts.regexes.size() == 1 && !facts.own_regex;
    for (gguf_split const& split : gguf_splits) {
        bool const same = split.regex.empty() ? plain : single && facts.regexes[0] == split.regex;
        if (same && split.whole_words == whole_words) {
            return std::string(split.name);
        }
    }
    refuse_component("pre_tokenizer for GGUF", root,
                     "the split of gpt-2, llama-bpe, smaug-bpe or qwen2",
                     whole_words ? "another, with ignore_merges" : "another");
}

struct gguf_vocabulary {
    std::vector<std::string> tokens;
    std::vector<std::int32_t> kinds;
};

/// Tokens by id with their kinds; ids without a token get placeholders. `size` are the rows of the
/// embedding. Errors: an id that has none.
inline gguf_vocabulary gguf_words(json_value const& root, std::vector<added_token> const& added,
                                  std::size_t size) {
    constexpr auto unused = static_cast<std::int32_t>(gguf_token::unused);
    gguf_vocabulary out{std::vector<std::string>(size), std::vector<std::int32_t>(size, unused)};
    auto const put = [&](std::int64_t id, std::string const& token, gguf_token kind) {
        auto const at = static_cast<std::size_t>(id);
        if (at >= size) {
            fail_input("token without a row of the embedding", root.where(),
                       "ids below " + std::to_string(size),
                       std::to_string(id) + " (" + token + ")");
        }
        out.tokens[at] = token;
        out.kinds[at] = static_cast<std::int32_t>(kind);
    };
    for (auto const& [token, id] : root.at("model").at("vocab").json().items()) {
        put(id.get<std::int64_t>(), token, gguf_token::normal);  // parse_tokenizer_json saw it
    }
    for (added_token const& token : added) {
        put(token.id, token.content,
            token.special ? gguf_token::control : gguf_token::user_defined);
    }
    for (std::size_t id = 0; id < size; ++id) {
        if (out.kinds[id] == unused) {
            out.tokens[id] = "[PAD" + std::to_string(id) + "]";
        }
    }
    return out;
}

inline std::vector<std::string> gguf_merges(json_value const& root) {
    std::vector<std::string> out;
    for (nlohmann::json const& rule : root.at("model").at("merges").json()) {
        out.push_back(rule.is_array()
                          ? rule[0].get<std::string>() + " " + rule[1].get<std::string>()
                          : rule.get<std::string>());
    }
    return out;
}

/// An id of config.json: a number, or the first of a list.
inline std::optional<std::int32_t> config_token(nlohmann::json const& config, char const* key) {
    auto const at = config.find(key);
    if (at == config.end()) {
        return std::nullopt;
    }
    nlohmann::json const& value = at->is_array() && !at->empty() ? at->front() : *at;
    return value.is_number_integer() ? std::optional(value.get<std::int32_t>()) : std::nullopt;
}

/// Refuses a template that puts more around a text than clients can be told to.
inline void refuse_template(std::vector<std::int32_t> const& around,
                            std::optional<std::int32_t> only, char const* what,
                            std::string const& where) {
    if (!around.empty() && (around.size() != 1 || around.front() != only)) {
        fail_input("unsupported post_processor for GGUF", where,
                   std::string("nothing or the ") + what + " token " +
                       (std::string_view(what) == "BOS" ? "before" : "behind") + " a text",
                   std::to_string(around.size()) + " tokens");
    }
}

}  // namespace detail

/// tokenizer.* of the checkpoint in `directory`, whose embedding has `vocabulary` rows. Errors:
/// fpq::error (input) for files that are missing or malformed, and a tokenizer that clients lack.
inline gguf_metadata gguf_tokenizer(std::filesystem::path const& directory,
                                    nlohmann::json const& config, std::size_t vocabulary) {
    std::filesystem::path const path = directory / "tokenizer.json";
    if (!is_there(path)) {
        fail_input("no tokenizer for GGUF", directory.string(),
                   "tokenizer.json with a byte-level BPE", "none");
    }
    nlohmann::json const json = read_json_file(path);
    json_value const root(json, path.string());
    std::string const pre = detail::gguf_pre_tokenizer(root);
    tokenizer_parts const parts =
        parse_tokenizer_json(json, read_tokenizer_config(directory), path.string());
    detail::gguf_vocabulary const words = detail::gguf_words(root, parts.added.all(), vocabulary);
    detail::refuse_template(parts.prefix, parts.bos, "BOS", path.string());
    detail::refuse_template(parts.suffix, parts.eos, "EOS", path.string());
    gguf_metadata out{{"tokenizer.ggml.model", std::string("gpt2")},
                      {"tokenizer.ggml.pre", pre},
                      {"tokenizer.ggml.tokens", gguf_array(words.tokens)},
                      {"tokenizer.ggml.token_type", gguf_array(words.kinds)},
                      {"tokenizer.ggml.merges", gguf_array(detail::gguf_merges(root))}};
    std::optional<chat_template_text> const chat = find_chat_template(directory);
    auto const id = [&](char const* key, std::optional<std::int32_t> found) {
        if (found && *found >= 0 && static_cast<std::size_t>(*found) < vocabulary) {
            out.emplace_back(std::string("tokenizer.ggml.") + key,
                             static_cast<std::uint32_t>(*found));
        }
    };
    id("bos_token_id", parts.bos ? parts.bos : detail::config_token(config, "bos_token_id"));
    id("eos_token_id", parts.eos ? parts.eos : detail::config_token(config, "eos_token_id"));
    std::optional<std::int32_t> padding = detail::config_token(config, "pad_token_id");
    if (chat && chat->tokens.contains("pad_token")) {
        added_token const* const t =
            parts.added.find(chat->tokens.at("pad_token").get<std::string>());
        padding = t != nullptr ? std::optional(t->id) : padding;
    }
    id("padding_token_id", padding);
    out.emplace_back("tokenizer.ggml.add_bos_token", !parts.prefix.empty());
    out.emplace_back("tokenizer.ggml.add_eos_token", !parts.suffix.empty());
    out.emplace_back("tokenizer.ggml.add_space_prefix", false);
    if (chat) {
        out.emplace_back("tokenizer.chat_template", chat->source);
    }
    return out;
}

}  // namespace fpq
