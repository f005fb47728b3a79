// SPDX-License-Identifier: Apache-2.0
// Floor 5. The chat template of a checkpoint: conversations as the text that the model was trained
// on. An interpreter of the part of Jinja that checkpoints use; everything else is refused by its
// name (docs/decisions/0011-chat-templates.md).
// Source: Jinja 3.1 with trim_blocks and lstrip_blocks, as the package transformers sets it up.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/io/chat/chat_interpreter.hpp"
#include "fpq/io/chat/chat_lexer.hpp"
#include "fpq/io/chat/chat_parser.hpp"
#include "fpq/io/chat/chat_value.hpp"
#include "fpq/io/chat/find_chat_template.hpp"
#include "fpq/io/text/text_unicode.hpp"

namespace fpq {

/// Immutable; copies share what was parsed. Safe to use from several threads at once.
class chat_template {
public:
    /// Largest template that is read, in bytes.
    static constexpr std::size_t size_limit = std::size_t{1} << 20;

    /// `name` stands for the template in errors; `tokens`: the variables that a tokenizer gives
    /// (bos_token ...), an object. Errors: fpq::error (input) by line, for syntax and for what is
    /// not supported as far as it shows without running.
    chat_template(std::string_view source, std::string name, nlohmann::ordered_json tokens = {})
        : name_(std::move(name)), tokens_(std::move(tokens)) {
        if (source.size() > size_limit) {
            fail_input("chat template is too large", name_,
                       "at most " + std::to_string(size_limit) + " bytes",
                       std::to_string(source.size()));
        }
        body_ = std::make_shared<std::vector<chat::statement> const>(
            chat::parser(chat::lexer(repair_utf8(source), name_).run(), name_).run());
    }

    /// The text of `variables`, an object: messages (a list of {role, content, ...}), and
    /// what else the template asks for; tools, documents (none) and add_generation_prompt (false)
    /// are always there. `where` names the conversation in errors. Errors: fpq::error (input) for
    /// what is not supported, what Python refuses, and what the template itself refuses.
    [[nodiscard]] std::string render(nlohmann::ordered_json const& variables,
                                     std::string const& where = {}) const {
        chat::value_members all;
        nlohmann::ordered_json const defaults = {
            {"tools", nullptr}, {"documents", nullptr}, {"add_generation_prompt", false}};
        for (nlohmann::ordered_json const* part : {&variables, &defaults, &tokens_}) {
            for (auto const& [key, v] : part->items()) {
                if (chat::member(all, key) == nullptr) {
                    all.emplace_back(key, chat::value_of(v));
                }
            }
        }
        constexpr std::size_t few = std::size_t{1} << 20;
        constexpr std::size_t steps_a_byte = 64;
        std::size_t const size = variables.dump(-1, ' ', false, replace).size();
        std::string const place = where.empty() ? name_ : where + ": " + name_;
        return chat::interpreter({place, 1}, few + steps_a_byte * size).run(*body_, all);
    }

    [[nodiscard]] std::string const& name() const noexcept { return name_; }

private:
    static constexpr auto replace = nlohmann::ordered_json::error_handler_t::replace;

    std::string name_;
    nlohmann::ordered_json tokens_;
    std::shared_ptr<std::vector<chat::statement> const> body_;
};

/// find_chat_template, ready to render. Errors: also for a template that is not understood.
inline std::optional<chat_template> open_chat_template(std::filesystem::path const& directory) {
    std::optional<chat_template_text> found = find_chat_template(directory);
    if (!found) {
        return std::nullopt;
    }
    return chat_template(found->source, found->name, std::move(found->tokens));
}

}  // namespace fpq
