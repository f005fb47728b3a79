// SPDX-License-Identifier: Apache-2.0
// Floor 5. Which chat template a checkpoint directory has, as text. Rendering is chat_template.hpp.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>

#include "fpq/core/hosted/error.hpp"
#include "fpq/io/file/look.hpp"
#include "fpq/io/file/whole_file.hpp"
#include "fpq/io/json/json_file.hpp"
#include "fpq/io/json/json_value.hpp"

namespace fpq {

namespace detail {

/// The template that a JSON file holds: a text, or a list of named ones of which "default" counts.
inline std::optional<std::string> template_of(json_value const& root) {
    auto const found = root.find("chat_template");
    if (!found || !found->json().is_array()) {
        return found ? std::optional<std::string>(found->as<std::string>()) : std::nullopt;
    }
    for (json_value const& each : found->elements()) {
        if (each.required<std::string>("name") == "default") {
            return each.required<std::string>("template");
        }
    }
    return std::nullopt;
}

}  // namespace detail

/// The text of a chat template, where it stands, and the special tokens that it may name.
struct chat_template_text {
    std::string source;
    std::string name;
    nlohmann::ordered_json tokens = nlohmann::ordered_json::object();
};

/// The chat template of a checkpoint directory: chat_template.jinja, else that of
/// tokenizer_config.json, else of chat_template.json; nothing when there is none.
/// Errors: fpq::error (input) for files that are not understood.
inline std::optional<chat_template_text> find_chat_template(
    std::filesystem::path const& directory) {
    chat_template_text out;
    std::optional<std::string> source;
    auto const take = [&](char const* file) {
        auto const path = directory / file;
        if (!is_there(path)) {
            return;
        }
        nlohmann::json const json = read_json_file(path);
        json_value const root(json, path.string());
        for (char const* key : {"bos_token", "eos_token", "unk_token", "pad_token"}) {
            if (auto const token = root.find(key); token && !out.tokens.contains(key)) {
                out.tokens[key] = token->json().is_object()
                                      ? token->required<std::string>("content")
                                      : token->as<std::string>();
            }
        }
        if (!source && (source = detail::template_of(root))) {
            out.name = path.string() + ": chat_template";
        }
    };
    auto const plain = directory / "chat_template.jinja";
    if (is_there(plain)) {
        source = detail::read_whole_file(plain);
        out.name = plain.string();
    }
    take("tokenizer_config.json");
    take("chat_template.json");
    if (!source) {
        return std::nullopt;
    }
    out.source = *std::move(source);
    return out;
}

}  // namespace fpq
