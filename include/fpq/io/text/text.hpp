// SPDX-License-Identifier: Apache-2.0
// Floor 5. Calibration text from files: .txt and .raw (one document), .jsonl and .json (one JSON
// object a line, C4's layout, or one array of them), their .gz forms, a directory of such files, or
// standard input. What a row is as text: document.hpp.
#pragma once

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
#include "fpq/io/text/document.hpp"
#include "fpq/io/text/document_store.hpp"
#include "fpq/io/text/text_files.hpp"
#include "fpq/io/text/text_lines.hpp"
#include "fpq/io/tokenizer/tokenizer.hpp"

namespace fpq {

/// Documents and what they are: plain text is one stream, to be cut anywhere.
struct text_source {
    document_store documents;
    bool is_plain_text = false;     // all files were .txt
    std::size_t conversations = 0;  // documents that were conversations

    void append(row_text const& row) {
        documents.append(row.text);
        conversations += row.is_conversation ? 1 : 0;
    }
};

namespace detail {

inline constexpr std::string_view utf8_mark = "\xEF\xBB\xBF";

/// Errors: fpq::error (input) for UTF-16, which would be read as a text of other words.
inline void refuse_utf16(std::string_view text, std::string const& where) {
    if (text.starts_with("\xFF\xFE") || text.starts_with("\xFE\xFF")) {
        fail_input("text has another encoding", where,
                   "UTF-8 (iconv -f UTF-16 -t UTF-8 converts it)", "the mark of UTF-16");
    }
}

/// The elements of a JSON array of rows, or of texts.
inline void load_array(std::string_view text, std::string const& where, text_options const& options,
                       text_source& out) {
    nlohmann::json const json = parse_json(text, where);
    nlohmann::ordered_json const ordered = nlohmann::ordered_json::parse(text);
    std::size_t i = 0;
    for (json_value const& row : json_value(json, where, "document not understood").elements()) {
        out.append(row.json().is_string() ? row_text{row.as<std::string>(), false}
                                          : read_row(row, ordered.at(i), options));
        ++i;
    }
}

/// Rows from `next(line)`, until it says false; where() names the line.
template <class Lines>
void load_lines(Lines& lines, text_options const& options, text_source& out) {
    bool first = true;
    for (std::string line; lines.next(line); first = false) {
        std::string_view row = line;
        if (first && row.starts_with(utf8_mark)) {
            row.remove_prefix(utf8_mark.size());
        }
        if (first) {
            refuse_utf16(row, lines.where());
        }
        if (row.find_first_not_of(" \t") != std::string_view::npos) {
            out.append(read_line(row, options, lines.where()));
        }
    }
}

/// Whether a text is one JSON array of rows; a file of that shape is read whole.
inline bool is_json_array(std::string_view text) {
    if (text.starts_with(utf8_mark)) {
        text.remove_prefix(utf8_mark.size());
    }
    std::size_t const at = text.find_first_not_of(" \t\r\n");
    return at != std::string_view::npos && text[at] == '[';
}

inline constexpr std::size_t plain_piece = std::size_t{1} << 20;  // bytes read at a time

/// One document from `pieces`, which calls what it is given with one piece of text after another.
template <class Pieces>
void append_plain(Pieces const& pieces, std::string const& where, text_source& out) {
    bool first = true;
    out.documents.append({});
    pieces([&](std::string_view piece) {
        if (std::exchange(first, false)) {
            refuse_utf16(piece, where);
        }
        out.documents.extend(piece);
    });
}

/// Standard input is what its first character says: rows of JSON, an array of them, or plain text;
/// gzip or not.
inline void load_standard_input(text_options const& options, text_source& out) {
    line_reader lines;
    std::string_view const head = lines.peek();
    std::size_t const at = head.find_first_not_of(" \t\r\n\xEF\xBB\xBF");
    refuse_utf16(head, lines.name());
    if (at != std::string_view::npos && head[at] == '{') {
        out.is_plain_text = false;
        load_lines(lines, options, out);
    } else if (is_json_array(head)) {
        out.is_plain_text = false;
        load_array(lines.rest(), lines.name(), options, out);
    } else if (!head.empty()) {
        append_plain([&](auto const& piece) { lines.rest_in_pieces(piece); }, lines.name(), out);
    }
}

inline void load_file(std::filesystem::path const& path, text_options const& options,
                      text_source& out) {
    text_kind const kind = kind_of_file(path);
    if (kind == text_kind::none) {
        fail_input("text file not understood", path.string(),
                   std::string(text_suffixes) + conversion_hint(path), path.filename().string());
    }
    if (kind == text_kind::plain || kind == text_kind::compressed_plain) {
        auto const pieces = [&](auto const& piece) {
            if (kind == text_kind::plain) {
                read_in_pieces(path, plain_piece, piece);
            } else {
                line_reader(path, true).rest_in_pieces(piece);
            }
        };
        append_plain(pieces, path.string(), out);
        return;
    }
    out.is_plain_text = false;
    line_reader lines(path, kind == text_kind::compressed_lines);
    if (is_json_array(lines.peek())) {
        load_array(lines.rest(json_size_limit), path.string(), options, out);
    } else {
        load_lines(lines, options, out);
    }
}

}  // namespace detail

/// Reads a file, or the files of a directory in the order of their names (other names are left
/// out), or standard input for "-". Lines that are blank are passed over. Errors: fpq::error
/// (input) with file, line and byte or key; a path with no document, and a name that is no path,
/// with the command that downloads it.
inline text_source load_text(std::filesystem::path const& path, text_options const& options) {
    text_source out;
    out.is_plain_text = true;
    if (path == "-") {
        detail::load_standard_input(options, out);
    } else {
        for (std::filesystem::path const& file : text_files(path)) {
            detail::load_file(file, options, out);
        }
    }
    if (out.documents.empty()) {
        fail_input("no document", path.string(),
                   "a file or a directory of " + std::string(detail::text_suffixes), "none");
    }
    return out;
}

/// With the shapes that are known and one chat style.
inline text_source load_text(std::filesystem::path const& path,
                             chat_style style = chat_style::plain) {
    return load_text(path, text_options{style, {}, {}});
}

}  // namespace fpq
