// SPDX-License-Identifier: Apache-2.0
// Floor 8. The texts of an evaluation, and the evaluation of opened checkpoints. That of a model
// while it is being quantized is streams.hpp.
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
#include "fpq/io/text/text.hpp"
#include "fpq/io/text/text_windows.hpp"
#include "fpq/io/tokenizer/tokenizer.hpp"
#include "fpq/model/evaluate.hpp"
#include "fpq/model/opened_model.hpp"
#include "fpq/pipeline/recipe.hpp"
#include "fpq/pipeline/report.hpp"
#include "fpq/pipeline/streams.hpp"

namespace fpq {

/// Texts of an evaluation. Each is tokenized once, as a whole, and cut by itself.
struct evaluation_text {
    std::vector<std::filesystem::path> files;
    std::size_t sequence_length = 2048;
    std::size_t max_characters = 0;  // of each text, in code points; 0: all
    std::size_t max_windows = 0;     // of each text; 0: all
    bool add_special = true;         // as the tokenizer does by itself
};

/// Bytes of the first `characters` code points of UTF-8 text.
inline std::string_view first_characters(std::string_view text, std::size_t characters) {
    std::size_t seen = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
        bool const starts = (static_cast<unsigned char>(text[i]) & 0xC0u) != 0x80u;
        if (starts && seen++ == characters) {
            return text.substr(0, i);
        }
    }
    return text;
}

/// Consecutive windows of each text; remainders are dropped. Throws fpq::error (input) when not one
/// window is whole.
template <class B>
evaluation_set evaluation_windows(opened_model<B> const& model, evaluation_text const& text) {
    tokenizer const words = tokenizer::open(model.directory());
    evaluation_set out;
    token_windows& windows = out.windows;
    std::size_t tokens = 0;
    for (std::filesystem::path const& file : text.files) {
        std::size_t const before = windows.size();
        for (std::string const& document : load_documents(file)) {
            std::string_view const part = text.max_characters == 0
                                              ? std::string_view(document)
                                              : first_characters(document, text.max_characters);
            std::vector<std::int32_t> const ids = words.encode(part, text.add_special);
            tokens += ids.size();
            std::vector<std::span<std::int32_t const>> cut = cut_windows(ids, text.sequence_length);
            if (text.max_windows != 0 && cut.size() > text.max_windows) {
                cut.resize(text.max_windows);
            }
            for (std::span<std::int32_t const> const window : cut) {
                windows.emplace_back(window.begin(), window.end());
            }
        }
        if (windows.size() > before) {
            out.texts.push_back({file.string(), windows.size() - before});
        }
    }
    if (windows.empty()) {
        fail_input("text too short", text.files.empty() ? "" : text.files.front().string(),
                   std::to_string(text.sequence_length) + " tokens in one document",
                   std::to_string(tokens) + " in all");
    }
    return out;
}

namespace detail {

inline std::vector<std::span<std::int32_t const>> spans_of(token_windows const& windows) {
    return {windows.begin(), windows.end()};
}

template <class B>
eval_model<B> eval_face(opened_model<B> const& model) {
    return {&model.network(),
            [&model](std::size_t layer, layer_hooks<B>& hooks) { return model.load(layer, hooks); },
            model.head_hooks()};
}

}  // namespace detail

/// Perplexity of `model`, and its distance to `reference` (may be null).
template <class B>
eval_result evaluate_models(B const& b, opened_model<B> const& model,
                            opened_model<B> const* reference, evaluation_set const& set,
                            progress_sink const& progress) {
    eval_model<B> const subject = detail::eval_face(model);
    eval_model<B> const other =
        reference != nullptr ? detail::eval_face(*reference) : eval_model<B>{};
    eval_options options;
    options.texts = set.texts;
    options.progress = [&progress](std::size_t done, std::size_t total) {
        progress({"evaluate", done, total, ""});
    };
    return evaluate<B>(b, subject, reference != nullptr ? &other : nullptr,
                       detail::spans_of(set.windows), options);
}

/// The evaluation text of a plan.
inline evaluation_text evaluation_text_of(evaluation_args const& args,
                                          calibration_args const& calibration) {
    return {args.texts, calibration.sequence_length, args.characters, args.windows,
            args.add_special};
}

}  // namespace fpq
