// SPDX-License-Identifier: Apache-2.0
// Floor 5. Reads tokenizer.json (Hugging Face tokenizers): BPE models, byte-level or with byte
// fallback. What it does not know is refused by name, never guessed. "padding" and "truncation" are
// not read: they change batches, not tokens.
#pragma once

#include <algorithm>
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
#include "fpq/io/json/json_value.hpp"
#include "fpq/io/tokenizer/bpe_vocabulary.hpp"
#include "fpq/io/tokenizer/tokenizer_added.hpp"
#include "fpq/io/tokenizer/tokenizer_config.hpp"
#include "fpq/io/tokenizer/tokenizer_json_pre.hpp"
#include "fpq/io/tokenizer/tokenizer_parts.hpp"

namespace fpq {

namespace detail {

inline void read_normalizer(json_value const& at, std::vector<normalizer_step>& out) {
    std::string const type = at.required<std::string>("type");
    if (type == "Sequence") {
        for (json_value const& item : at.at("normalizers").elements()) {
            read_normalizer(item, out);
        }
    } else if (type == "NFC") {
        out.emplace_back(nfc_normalizer{});
    } else if (type == "Prepend") {
        out.emplace_back(prepend_normalizer{at.required<std::string>("prepend")});
    } else if (type == "Replace") {
        auto const from = at.at("pattern").find("String");
        if (!from || from->as<std::string>().empty()) {
            at.at("pattern").refuse("a String that is not empty");
        }
        out.emplace_back(
            replace_normalizer{from->as<std::string>(), at.required<std::string>("content")});
    } else {
        refuse_component("normalizer", at, "NFC, Prepend, Replace, Sequence", type);
    }
}

/// The "single" template: ids before and after the text.
inline void read_template(json_value const& at, tokenizer_parts& out) {
    json_value const list = at.at("single");
    bool seen_text = false;
    for (json_value const& item : list.elements()) {
        if (auto const sequence = item.find("Sequence")) {
            if (seen_text || sequence->required<std::string>("id") != "A") {
                item.refuse("sequence A once");
            }
            seen_text = true;
            continue;
        }
        std::string const& name = item.at("SpecialToken").required<std::string>("id");
        for (json_value const& id : at.at("special_tokens").at(name).at("ids").elements()) {
            (seen_text ? out.suffix : out.prefix).push_back(id.as<std::int32_t>(token_ids));
        }
    }
    if (!seen_text) {
        list.refuse("sequence A once");
    }
}

inline void read_post_processor(json_value const& at, tokenizer_parts& out) {
    std::string const type = at.required<std::string>("type");
    if (type == "Sequence") {
        for (json_value const& item : at.at("processors").elements()) {
            read_post_processor(item, out);
        }
    } else if (type == "TemplateProcessing") {
        if (!out.prefix.empty() || !out.suffix.empty()) {
            refuse_component("post_processor", at, "one TemplateProcessing", "two");
        }
        read_template(at, out);
    } else if (type != "ByteLevel") {  // ByteLevel changes offsets only
        refuse_component("post_processor", at, "ByteLevel, TemplateProcessing, Sequence", type);
    }
}

/// Whether the decoder drops one leading space; refuses what does not belong to a BPE of ours.
inline bool decoder_strips(json_value const& at) {
    std::string const type = at.required<std::string>("type");
    if (type == "Sequence") {
        bool strips = false;
        for (json_value const& item : at.at("decoders").elements()) {
            strips = decoder_strips(item) || strips;
        }
        return strips;
    }
    if (type == "Strip") {
        auto const start = at.find("start");
        return start && start->json() == 1;
    }
    if (type == "Metaspace") {
        return read_metaspace(at) != metaspace_prefix::never;
    }
    if (type != "ByteLevel" && type != "Replace" && type != "ByteFallback" && type != "Fuse") {
        refuse_component("decoder", at, "ByteLevel, Sequence of Replace, ByteFallback, Fuse, Strip",
                         type);
    }
    return false;
}

inline void refuse_bpe_extras(json_value const& model) {
    if (auto const dropout = model.find("dropout"); dropout && dropout->json() != 0) {
        refuse_component("BPE dropout", *dropout, "null", dropout->json().dump());
    }
    for (char const* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
        if (auto const affix = model.find(key); affix && !affix->as<std::string>().empty()) {
            refuse_component("BPE " + std::string(key), *affix, "none", affix->as<std::string>());
        }
    }
}

/// {"token": id, ...}; the paths of some hundred thousand members are made for errors only.
inline void read_vocabulary(json_value const& at, bpe_builder& builder) {
    if (!at.json().is_object()) {
        at.refuse("an object");
    }
    for (auto const& [token, id] : at.json().items()) {
        if (!id.is_number_integer() || id < 0 || id >= max_token_id) {
            at.refuse_member(token, "token id out of range", expected_number(token_ids));
        }
        builder.add_token(token, id.get<std::int32_t>());
    }
}

inline bpe_builder read_bpe(json_value const& model, std::string const& where) {
    if (auto const type = model.find("type"); type && type->as<std::string>() != "BPE") {
        refuse_component("tokenizer model", model, "BPE", type->as<std::string>());
    }
    refuse_bpe_extras(model);
    bpe_builder builder(where);
    read_vocabulary(model.at("vocab"), builder);
    json_value const merges = model.at("merges");
    if (!merges.json().is_array()) {
        merges.refuse("a list");
    }
    for (std::size_t i = 0; i < merges.json().size(); ++i) {
        auto const& rule = merges.json()[i];
        std::string const name = merges.where() + "[" + std::to_string(i) + "]";
        if (rule.is_array() && rule.size() == 2 && rule[0].is_string() && rule[1].is_string()) {
            builder.add_merge(rule[0].get_ref<std::string const&>(),
                              rule[1].get_ref<std::string const&>(), name);
        } else {
            builder.add_merge(std::string_view(json_value(rule, name).as<std::string>()), name);
        }
    }
    return builder;
}

inline std::vector<added_token> read_added_tokens(json_value const& root) {
    std::vector<added_token> out;
    for (json_value const& at : root.optional<std::vector<json_value>>("added_tokens")
                                    .value_or(std::vector<json_value>())) {
        out.push_back(read_added_token(at, at.required<std::int32_t>("id", token_ids)));
    }
    return out;
}

/// An added token is the vocabulary's own entry or a new id.
inline void check_added_tokens(std::vector<added_token> const& tokens, bpe_builder const& builder,
                               bpe_model const& model, std::string const& where) {
    for (added_token const& t : tokens) {
        auto const id = builder.find(t.content);
        if (id && *id != t.id) {
            fail_input("added token " + t.content + " has another id in the vocabulary", where,
                       std::to_string(*id), std::to_string(t.id));
        }
        if (!id && model.has(t.id)) {
            fail_input("added token " + t.content + " has the id of another token", where,
                       "a new id", std::to_string(t.id));
        }
    }
}

inline void require_known(tokenizer_parts const& parts, std::int32_t id, std::string const& where) {
    if (!parts.model.has(id) && parts.added.find(id) == nullptr) {
        fail_input("post_processor: id of no token", where, "a known id", std::to_string(id));
    }
}

}  // namespace detail

/// Sets BOS and EOS to the ids that `config` names. Errors: a name that is no token.
inline void name_special_tokens(tokenizer_parts& parts, tokenizer_config const& config,
                                std::string const& where) {
    auto const id_of = [&](std::string const& content, char const* key) {
        if (added_token const* t = parts.added.find(content)) {
            return t->id;
        }
        std::int32_t const id = parts.model.find(content);
        if (id < 0) {
            fail_input("special token is not in the vocabulary", where,
                       std::string(key) + " to be a token", content);
        }
        return id;
    };
    if (config.bos_token) {
        parts.bos = id_of(*config.bos_token, "bos_token");
    }
    if (config.eos_token) {
        parts.eos = id_of(*config.eos_token, "eos_token");
    }
}

/// Reads a parsed tokenizer.json. `where` names the file in errors. BOS and EOS are those of
/// `config`, else the first id of the template before and after the text.
/// Errors: fpq::error (input) for anything missing, malformed or not supported.
inline tokenizer_parts parse_tokenizer_json(nlohmann::json const& json,
                                            tokenizer_config const& config,
                                            std::string const& where) {
    json_value const root(json, where);
    tokenizer_parts out;
    detail::pre_tokenizer_facts pre;
    json_value const model = root.at("model");
    if (auto const at = root.find("normalizer")) {
        detail::read_normalizer(*at, out.normalizers);
    }
    if (auto const at = root.find("pre_tokenizer")) {
        detail::read_pre_tokenizer(*at, pre);
    }
    if (auto const at = root.find("post_processor")) {
        detail::read_post_processor(*at, out);
    }
    if (auto const at = root.find("decoder")) {
        out.strip_first_space = detail::decoder_strips(*at);
    }
    bool const fallback = model.optional<bool>("byte_fallback").value_or(false);
    if (pre.byte_level == fallback) {
        detail::refuse_component("BPE", root, "either ByteLevel pre_tokenizer or byte_fallback",
                                 fallback ? "both" : "neither");
    }
    bpe_builder const builder = detail::read_bpe(model, where);
    out.model = builder.build(fallback ? bpe_symbols::chars_with_byte_fallback : bpe_symbols::bytes,
                              model.optional<bool>("ignore_merges").value_or(false));
    std::vector<added_token> added = detail::read_added_tokens(root);
    detail::check_added_tokens(added, builder, out.model, where);
    out.added = added_tokens(std::move(added), where, [&out](std::string text) {
        for (normalizer_step const& step : out.normalizers) {
            text = normalize(step, text);
        }
        return text;
    });
    out.pre = pretokenizer(std::move(pre.steps));
    out.metaspace = pre.metaspace;
    if (!out.prefix.empty()) {
        out.bos = out.prefix.front();
    }
    if (!out.suffix.empty()) {
        out.eos = out.suffix.back();
    }
    name_special_tokens(out, config, where);
    for (std::int32_t const id : out.prefix) {
        detail::require_known(out, id, where);
    }
    for (std::int32_t const id : out.suffix) {
        detail::require_known(out, id, where);
    }
    return out;
}

}  // namespace fpq
