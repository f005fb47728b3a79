// SPDX-License-Identifier: Apache-2.0
// Floor 5. One JSON object of a data set as text: the shapes in which people have calibration data.
// Conversations are written by the checkpoint's chat template, else in one of three styles.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "fpq/io/json/json_file.hpp"
#include "fpq/io/json/json_value.hpp"
#include "fpq/io/text/conversation.hpp"
#include "fpq/io/tokenizer/tokenizer.hpp"

namespace fpq {

/// How chat messages become text.
enum class chat_style {
    plain,   // "role: content\n"
    chatml,  // "<|im_start|>role\ncontent<|im_end|>\n" (Qwen)
    llama3   // "<|start_header_id|>role<|end_header_id|>\n\ncontent<|eot_id|>"
};

/// The style whose special tokens the tokenizer has.
inline chat_style chat_style_of(tokenizer const& t) {
    if (t.special("<|im_start|>") && t.special("<|im_end|>")) {
        return chat_style::chatml;
    }
    if (t.special("<|start_header_id|>") && t.special("<|end_header_id|>") &&
        t.special("<|eot_id|>")) {
        return chat_style::llama3;
    }
    return chat_style::plain;
}

/// One message as text.
inline std::string render_message(chat_style style, std::string_view role,
                                  std::string_view content) {
    std::string out;
    switch (style) {
        case chat_style::chatml:
            out.append("<|im_start|>").append(role).append("\n").append(content);
            return out.append("<|im_end|>\n");
        case chat_style::llama3:
            out.append("<|start_header_id|>").append(role).append("<|end_header_id|>\n\n");
            return out.append(content).append("<|eot_id|>");
        case chat_style::plain:
            break;
    }
    return out.append(role).append(": ").append(content).append("\n");
}

/// Writes a conversation by a chat template. `variables`: messages, and tools where the row has
/// them; `where`: the row's place, for errors.
using conversation_writer =
    std::function<std::string(nlohmann::ordered_json const& variables, std::string const& where)>;

/// How rows become text.
struct text_options {
    chat_style style = chat_style::plain;  // of conversations without a template
    std::string column;                    // the member that holds the text; empty: known shapes
    conversation_writer chat{};            // of conversations; empty: the style
};

/// The text of one row and whether it was a conversation.
struct row_text {
    std::string text;
    bool is_conversation = false;
};

/// The text of one row. In this order: the named column; text; content; prompt and completion,
/// joined; the conversations of conversation_of, by the writer or in the style. `ordered`: the
/// row again, with its members in the order of the file, which templates print.
/// Errors: fpq::error (input) by the row's place and key.
inline row_text read_row(json_value const& row, nlohmann::ordered_json const& ordered,
                         text_options const& options) {
    if (!options.column.empty()) {
        return {row.required<std::string>(options.column), false};
    }
    if (row.has("text")) {
        return {row.required<std::string>("text"), false};
    }
    if (row.has("content")) {
        return {row.required<std::string>("content"), false};
    }
    bool const has_messages = row.has("messages") || row.has("conversations");
    if (!has_messages && row.has("prompt") && row.has("completion")) {
        return {row.required<std::string>("prompt") + row.required<std::string>("completion"),
                false};
    }
    std::optional<nlohmann::ordered_json> messages = conversation_of(row, ordered);
    if (!messages) {
        return {row.required<std::string>("text"), false};
    }
    if (options.chat) {
        nlohmann::ordered_json variables = nlohmann::ordered_json::object();
        variables["messages"] = *std::move(messages);
        if (auto const tools = row.find("tools"); tools && tools->json().is_array()) {
            variables["tools"] = ordered.at("tools");
        }
        return {options.chat(variables, row.where()), true};
    }
    std::string out;
    for (auto const& message : *messages) {
        out += render_message(options.style, message.at("role").get<std::string>(),
                              message.at("content").get<std::string>());
    }
    return {std::move(out), true};
}

/// The text of one line of a .jsonl file. Errors: as read_row, and malformed JSON.
inline row_text read_line(std::string_view line, text_options const& options,
                          std::string const& where) {
    nlohmann::json const json = parse_json(line, where);
    return read_row(json_value(json, where, "document not understood"),
                    nlohmann::ordered_json::parse(line), options);
}

}  // namespace fpq
