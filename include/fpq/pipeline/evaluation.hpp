// SPDX-License-Identifier: Apache-2.0
// Floor 8. Evaluation of opened checkpoints, and of a model while it is being quantized: the hidden
// states of the original and of the quantized model advance together, a layer at a time.
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
#include "fpq/pipeline/calibration.hpp"
#include "fpq/pipeline/opened_model.hpp"
#include "fpq/pipeline/report.hpp"

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
inline std::vector<std::vector<std::int32_t>> load_evaluation_windows(
    std::filesystem::path const& tokenizer_directory, evaluation_text const& text) {
    tokenizer const words = tokenizer::open(tokenizer_directory);
    std::vector<std::vector<std::int32_t>> windows;
    std::size_t tokens = 0;
    for (std::filesystem::path const& file : text.files) {
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
    }
    if (windows.empty()) {
        fail_input("text too short", text.files.empty() ? "" : text.files.front().string(),
                   std::to_string(text.sequence_length) + " tokens in one document",
                   std::to_string(tokens) + " in all");
    }
    return windows;
}

namespace detail {

inline std::vector<std::span<std::int32_t const>> spans_of(
    std::vector<std::vector<std::int32_t>> const& windows) {
    return {windows.begin(), windows.end()};
}

inline eval_model eval_face(opened_model const& model, int threads) {
    return {&model.network(), [&model, threads](std::size_t layer, layer_hooks& hooks) {
                return model.load(layer, hooks, threads);
            }};
}

}  // namespace detail

/// Perplexity of `model`, and its distance to `reference` (may be null).
inline eval_result evaluate_models(opened_model const& model, opened_model const* reference,
                                   std::vector<std::vector<std::int32_t>> const& windows,
                                   int threads, progress_sink const& progress) {
    eval_model const subject = detail::eval_face(model, threads);
    eval_model const other =
        reference != nullptr ? detail::eval_face(*reference, threads) : eval_model{};
    eval_options options;
    options.threads = threads;
    options.progress = [&progress](std::size_t done, std::size_t total) {
        progress({"evaluate", done, total, ""});
    };
    return evaluate(subject, reference != nullptr ? &other : nullptr, detail::spans_of(windows),
                    options);
}

/// An evaluation that runs along with a quantization.
class evaluation {
public:
    evaluation(decoder const& network, std::vector<std::vector<std::int32_t>> windows, int threads)
        : network_(network),
          windows_(std::move(windows)),
          threads_(threads),
          original_(network, windows_),
          quantized_(original_) {
        eval_model const face{&network_, {}};
        detail::require_evaluable(face, nullptr, detail::spans_of(windows_));
    }

    /// The original layer.
    void advance_reference(decoder_layer const& layer) {
        original_.advance(layer, layer_hooks{}, threads_);
    }
    /// The same layer, quantized.
    void advance(decoder_layer const& layer, layer_hooks const& hooks) {
        quantized_.advance(layer, hooks, threads_);
    }

    /// After the last layer.
    [[nodiscard]] eval_result finish(progress_sink const& progress) {
        eval_model const face{&network_, {}};
        std::size_t const targets = windows_.front().size() - 1;
        std::vector<detail::position_score> scores(windows_.size() * targets);
        for (std::size_t w = 0; w < windows_.size(); ++w) {
            detail::score_window(face, quantized_.window(w), &face, original_.window(w),
                                 windows_[w], threads_,
                                 std::span(scores).subspan(w * targets, targets));
            progress({"evaluate", w + 1, windows_.size(), ""});
        }
        return detail::summarize_all(scores, targets, true);
    }

private:
    decoder const& network_;
    std::vector<std::vector<std::int32_t>> windows_;
    int threads_;
    hidden_states original_;
    hidden_states quantized_;
};

/// The evaluation text of a recipe; without `eval_data`, the calibration text, which is said.
inline evaluation_text evaluation_text_of(recipe const& r, run_report& report) {
    evaluation_text text{r.eval_data, r.sequence_length, r.eval_characters, r.eval_windows,
                         r.eval_bos};
    if (text.files.empty()) {
        if (r.dataset.empty() || r.dataset == "self") {
            fail_usage("eval_perplexity", {}, "--eval_data FILE", "none");
        }
        text.files.emplace_back(r.dataset);
        report.notes.push_back("no --eval_data: evaluated on the calibration text " + r.dataset);
    }
    return text;
}

}  // namespace fpq
