// SPDX-License-Identifier: Apache-2.0
// Floor 5. Calibration text from files: .txt (one document), .jsonl, .json and their .gz forms (one
// JSON object a line, C4's layout: "text", or chat "messages"), or a directory of such files.
// Chat templates are Jinja programs and are not run; two well-known styles and plain lines are.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/io/file/whole_file.hpp"
#include "fpq/io/json/json_file.hpp"
#include "fpq/io/json/json_value.hpp"
#include "fpq/io/text/text_lines.hpp"
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

/// Documents and what they are: plain text is one stream, to be cut anywhere.
struct text_source {
    std::vector<std::string> documents;
    bool is_plain_text = false;  // all files were .txt
};

namespace detail {

/// A message's content: a string, or parts of which those of type "text" count.
inline std::string message_content(json_value const& message) {
    if (auto const content = message.find("content"); content && content->json().is_array()) {
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

/// One line of a .jsonl file.
inline std::string document_of_line(std::string const& line, chat_style style,
                                    std::string const& where) {
    nlohmann::json const json = parse_json(line, where);
    json_value const object(json, where, "document not understood");
    if (object.has("text") || !object.has("messages")) {
        return object.required<std::string>("text");
    }
    std::string out;
    for (json_value const& message : object.at("messages").elements()) {
        out +=
            render_message(style, message.required<std::string>("role"), message_content(message));
    }
    return out;
}

enum class text_kind { none, plain, lines, compressed_lines };

inline text_kind kind_of_file(std::filesystem::path const& path) {
    std::string const name = path.filename().string();
    auto const ends = [&](std::string_view suffix) { return name.ends_with(suffix); };
    if (ends(".txt")) {
        return text_kind::plain;
    }
    if (ends(".jsonl") || ends(".json")) {
        return text_kind::lines;
    }
    return ends(".jsonl.gz") || ends(".json.gz") ? text_kind::compressed_lines : text_kind::none;
}

inline constexpr std::string_view text_suffixes = ".txt, .jsonl, .json, .jsonl.gz or .json.gz";

inline void load_file(std::filesystem::path const& path, chat_style style, text_source& out) {
    text_kind const kind = kind_of_file(path);
    if (kind == text_kind::none) {
        fail_input("text file not understood", path.string(), text_suffixes,
                   path.filename().string());
    }
    if (kind == text_kind::plain) {
        out.documents.push_back(read_whole_file(path));
        return;
    }
    out.is_plain_text = false;
    line_reader lines(path, kind == text_kind::compressed_lines);
    for (std::string line; lines.next(line);) {
        if (line.find_first_not_of(" \t") != std::string::npos) {
            out.documents.push_back(document_of_line(line, style, lines.where()));
        }
    }
}

}  // namespace detail

/// Reads a file, or the files of a directory in the order of their names (other names are left
/// out). Lines that are blank are passed over; a document has "text" or "messages". Errors:
/// fpq::error (input) with file, line and byte or key; a path with no document.
inline text_source load_text(std::filesystem::path const& path,
                             chat_style style = chat_style::plain) {
    std::vector<std::filesystem::path> files;
    if (std::filesystem::is_directory(path)) {
        for (auto const& entry : std::filesystem::directory_iterator(path)) {
            if (entry.is_regular_file() &&
                detail::kind_of_file(entry.path()) != detail::text_kind::none) {
                files.push_back(entry.path());
            }
        }
        std::sort(files.begin(), files.end());
    } else {
        files.push_back(path);
    }
    text_source out;
    out.is_plain_text = true;
    for (auto const& file : files) {
        detail::load_file(file, style, out);
    }
    if (out.documents.empty()) {
        fail_input("no document", path.string(),
                   "a file or a directory of " + std::string(detail::text_suffixes), "none");
    }
    return out;
}

/// load_text's documents alone.
inline std::vector<std::string> load_documents(std::filesystem::path const& path,
                                               chat_style style = chat_style::plain) {
    return load_text(path, style).documents;
}

}  // namespace fpq
