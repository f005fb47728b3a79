// SPDX-License-Identifier: Apache-2.0
// Floor 5. One JSON object of a data set as text: the shapes in which people have calibration data.
// Chat templates are Jinja programs and are not run; two well-known styles and plain lines are.
#pragma once

#include <array>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "fpq/io/json/json_file.hpp"
#include "fpq/io/json/json_value.hpp"
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

/// How rows become text.
struct text_options {
    chat_style style = chat_style::plain;
    std::string column;  // the member that holds the text; empty: known shapes
};

namespace detail {

/// A message's content: a string, parts of which those of type "text" count, or nothing where null
/// stands beside a call of a tool.
inline std::string message_content(json_value const& message) {
    auto const content = message.find("content");
    if (!content && message.json().contains("content")) {
        return {};
    }
    if (content && content->json().is_array()) {
        std::string out;
        for (json_value const& part : content->elements()) {
            if (part.required<std::string>("type") == "text") {
                out += part.required<std::string>("text");
            }
        }
        return out;
    }
    return message.required<std::string>("content");
}

/// ShareGPT's names of the speakers.
inline std::string_view role_of_speaker(std::string_view from) {
    constexpr std::array<std::pair<std::string_view, std::string_view>, 4> names{
        {{"human", "user"}, {"gpt", "assistant"}, {"chatgpt", "assistant"}, {"bot", "assistant"}}};
    for (auto const& [name, role] : names) {
        if (from == name) {
            return role;
        }
    }
    return from;
}

inline std::string render_turns(chat_style style, std::string_view user,
                                std::string_view assistant) {
    return render_message(style, "user", user) + render_message(style, "assistant", assistant);
}

}  // namespace detail

/// The text of one row. In this order: the named column; text; content; messages (role, content);
/// conversations (from, value); prompt and completion, joined; instruction, input and output;
/// question and answer. Errors: fpq::error (input) by the row's place and key.
inline std::string document_text(json_value const& row, text_options const& options) {
    if (!options.column.empty()) {
        return row.required<std::string>(options.column);
    }
    if (row.has("content") && !row.has("text")) {
        return row.required<std::string>("content");
    }
    std::string out;
    if (row.has("messages") && !row.has("text")) {
        for (json_value const& message : row.at("messages").elements()) {
            out += render_message(options.style, message.required<std::string>("role"),
                                  detail::message_content(message));
        }
        return out;
    }
    if (row.has("conversations") && !row.has("text")) {
        for (json_value const& turn : row.at("conversations").elements()) {
            out += render_message(options.style,
                                  detail::role_of_speaker(turn.required<std::string>("from")),
                                  turn.required<std::string>("value"));
        }
        return out;
    }
    if (row.has("prompt") && row.has("completion") && !row.has("text")) {
        return row.required<std::string>("prompt") + row.required<std::string>("completion");
    }
    if (row.has("instruction") && row.has("output") && !row.has("text")) {
        std::string user = row.required<std::string>("instruction");
        std::string const input = row.optional<std::string>("input").value_or("");
        user.append(input.empty() ? "" : "\n\n").append(input);
        return detail::render_turns(options.style, user, row.required<std::string>("output"));
    }
    if (row.has("question") && row.has("answer") && !row.has("text")) {
        return detail::render_turns(options.style, row.required<std::string>("question"),
                                    row.required<std::string>("answer"));
    }
    return row.required<std::string>("text");
}

/// The text of one line of a .jsonl file. Errors: as document_text, and malformed JSON.
inline std::string document_of_line(std::string_view line, text_options const& options,
                                    std::string const& where) {
    nlohmann::json const json = parse_json(line, where);
    return document_text(json_value(json, where, "document not understood"), options);
}

}  // namespace fpq
