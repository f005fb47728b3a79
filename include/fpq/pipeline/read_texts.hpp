// SPDX-License-Identifier: Apache-2.0
// Floor 8. Reads, tokenizes and cuts the texts of a run (texts.hpp).
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/io/text/document.hpp"
#include "fpq/io/text/text.hpp"
#include "fpq/io/text/text_files.hpp"
#include "fpq/io/text/text_windows.hpp"
#include "fpq/io/text/token_windows.hpp"
#include "fpq/io/tokenizer/tokenizer.hpp"
#include "fpq/model/opened_model.hpp"
#include "fpq/pipeline/progress.hpp"
#include "fpq/pipeline/recipe.hpp"
#include "fpq/pipeline/streams.hpp"
#include "fpq/pipeline/texts.hpp"

namespace fpq {

template <class B>
std::int32_t first_token(opened_model<B> const& model) {
    return tokenizer::open(model.directory()).bos().value_or(-1);
}

namespace detail {

/// For the user: nothing when there are no conversations, or a template that writes them.
inline std::vector<std::string> notes_of_chats(std::size_t conversations, text_options const& how) {
    if (conversations == 0 || how.chat) {
        return {};
    }
    return {std::to_string(conversations) +
            " conversations are joined without a chat template: the checkpoint has none"};
}

/// For the user: files of texts[which] that an earlier text holds, too.
inline std::vector<std::string> notes_of_shared(std::span<std::filesystem::path const> texts,
                                                std::size_t which) {
    std::vector<std::string> notes;
    for (std::filesystem::path const& earlier : texts.first(which)) {
        std::filesystem::path const shared = shared_text_file(texts[which], earlier);
        if (!shared.empty()) {
            notes.push_back(shared.string() + " is given twice" +
                            (shared == earlier ? std::string() : ", also by " + earlier.string()) +
                            ", and counts twice");
        }
    }
    return notes;
}

/// For the user: a column was named where there are none.
inline std::vector<std::string> notes_of_column(text_source const& text, std::string const& column,
                                                std::filesystem::path const& path) {
    if (column.empty() || !text.is_plain_text) {
        return {};
    }
    return {"--text_column: " + path.string() + " is plain text, which has no columns"};
}

}  // namespace detail

template <class B>
calibration_cut load_calibration_windows(B const& b, calibration_args const& args,
                                         opened_model<B> const& model,
                                         progress_sink const& progress) {
    if (args.dataset == "self") {
        return {sample_windows(b, args, model, progress), 0, 0, false, 0, 0};
    }
    tokenizer const words = tokenizer::open(model.directory());
    progress({"tokenize", 0, 1, args.dataset});
    text_options const how{chat_style_of(words), args.text_column, writer_of_chats(model)};
    text_source const text = load_text(args.dataset, how);
    window_options options;
    options.sequence_length = args.sequence_length;
    options.num_sequences = args.num_sequences;
    options.seed = args.seed;
    options.is_plain_text = text.is_plain_text;
    options.where = args.dataset;
    calibration_cut cut = calibration_windows(words, text.documents, options);
    cut.remarks = detail::notes_of_chats(text.conversations, how);
    for (std::string& note : detail::notes_of_column(text, args.text_column, args.dataset)) {
        cut.remarks.push_back(std::move(note));
    }
    progress({"tokenize", 1, 1, args.dataset});
    return cut;
}

/// Bytes of the first `left` code points of UTF-8 text; `left` becomes what is not used up.
inline std::string_view first_characters(std::string_view text, std::size_t& left) {
    for (std::size_t i = 0; i < text.size(); ++i) {
        bool const starts = (static_cast<unsigned char>(text[i]) & 0xC0u) != 0x80u;
        if (starts && left == 0) {
            return text.substr(0, i);
        }
        left -= starts ? 1 : 0;
    }
    return text;
}

template <class B>
evaluation_set evaluation_windows(opened_model<B> const& model, evaluation_text const& text) {
    tokenizer const words = tokenizer::open(model.directory());
    text_options const how{chat_style_of(words), text.text_column, writer_of_chats(model)};
    evaluation_set out;
    token_windows& windows = out.windows;
    constexpr std::size_t all = ~std::size_t{0};
    std::size_t const most = text.max_windows == 0 ? all : text.max_windows;
    std::size_t tokens = 0;
    std::size_t conversations = 0;
    for (std::size_t which = 0; which < text.files.size(); ++which) {
        std::filesystem::path const& file = text.files[which];
        for (std::string& note : detail::notes_of_shared(text.files, which)) {
            out.notes.push_back(std::move(note));
        }
        std::size_t const before = windows.size();
        std::size_t const tokens_before = tokens;
        std::size_t characters = text.max_characters == 0 ? all : text.max_characters;
        text_source const source = load_text(file, how);
        for (std::string& note : detail::notes_of_column(source, text.text_column, file)) {
            out.notes.push_back(std::move(note));
        }
        conversations += source.conversations;
        for (std::size_t i = 0; i < source.documents.size() && characters != 0; ++i) {
            std::string const document = source.documents[i];
            std::string_view const part = text.max_characters == 0
                                              ? std::string_view(document)
                                              : first_characters(document, characters);
            std::vector<std::int32_t> ids = words.encode(part, text.add_special);
            if (text.add_special && source.conversations != 0) {
                detail::leave_one_bos(words, ids);
            }
            tokens += ids.size();
            for (auto const& window : cut_windows(ids, text.sequence_length)) {
                if (windows.size() - before < most) {
                    windows.emplace_back(window.begin(), window.end());
                }
            }
            if (windows.size() - before == most) {
                break;
            }
        }
        out.texts.push_back({file.string(), windows.size() - before});
        if (windows.size() == before) {
            out.notes.push_back(file.string() + " plays no part in the evaluation: no document " +
                                "has " + std::to_string(text.sequence_length) + " tokens, all " +
                                "together have " + std::to_string(tokens - tokens_before));
        }
    }
    if (windows.empty()) {
        std::string const more =
            text.files.size() > 1 ? " and " + std::to_string(text.files.size() - 1) + " more" : "";
        fail_input("text too short", text.files.empty() ? "" : text.files.front().string() + more,
                   std::to_string(text.sequence_length) + " tokens in one document",
                   std::to_string(tokens) + " in all");
    }
    for (std::string& note : detail::notes_of_chats(conversations, how)) {
        out.notes.push_back(std::move(note));
    }
    return out;
}

}  // namespace fpq
