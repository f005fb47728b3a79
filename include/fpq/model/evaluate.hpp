// SPDX-License-Identifier: Apache-2.0
// Perplexity of a model over windows of text and its distance to a reference model.
//
// Floor 7. Layers are the outer loop: each is loaded once for a batch of windows, so memory
// is one layer, the hidden states of the batch and a slice of logits, whatever the model's depth.
// Conventions: the GPTQ one for perplexity (equal windows, L - 1 targets each), that of llama.cpp's
// KL mode for the rest, over the same L - 1 positions. Text is cut by the caller
// (io/text/token_windows.hpp).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "fpq/backend/backend.hpp"
#include "fpq/backend/score.hpp"
#include "fpq/core/hosted/error.hpp"
#include "fpq/model/forward.hpp"
#include "fpq/model/layer.hpp"

namespace fpq {

/// Gives layer `layer`, and may set the hooks that its forward pass shall call (a quantized model
/// transforms and quantizes the inputs there). Called for 0, 1, ... once per batch of windows.
template <class B>
using layer_source = std::function<decoder_layer<B>(std::size_t layer, layer_hooks<B>& hooks)>;

/// A model to evaluate: the frame must outlive the call.
template <class B>
struct eval_model {
    const decoder<B>* frame = nullptr;
    layer_source<B> layers;
    layer_hooks<B> head;  ///< what happens to the head's input
};

/// A text of an evaluation: so many of the windows, in their order; 0 of one that is too short.
struct text_windows_count {
    std::string name;
    std::size_t windows = 0;
};

struct eval_options {
    /// Bytes that hidden states of one model may take; at least one window is always held.
    std::size_t hidden_bytes = std::size_t{1} << 30;
    /// Called after every (batch, model, layer) and window of logits with steps done and in all.
    std::function<void(std::size_t done, std::size_t total)> progress;
    /// Whole texts of which the windows are, in order; empty: one.
    std::vector<text_windows_count> texts{};
};

/// Natural logarithms. The second part is zero without a reference. Standard errors are those of
/// the mean over windows (positions of one window are not independent); with a single window, over
/// positions.
struct eval_result {
    double perplexity = 0;    ///< exp(nll_mean)
    double nll_mean = 0;      ///< mean of -log p(target)
    double nll_se = 0;        ///< standard error of nll_mean
    std::size_t targets = 0;  ///< windows * (L - 1)
    std::size_t windows = 0;
    bool has_reference = false;
    double reference_perplexity = 0;
    double nll_difference = 0;     ///< ln(perplexity / reference_perplexity)
    double nll_difference_se = 0;  ///< of the paired differences
    double kl_mean = 0;            ///< mean KL(reference || model)
    double kl_se = 0;
    double kl_p99 = 0;          ///< nearest-rank 99th percentile of the per-position KL
    double top1_agreement = 0;  ///< share of positions with the same most likely token
    double top1_se = 0;
    std::string text;                ///< its name, when it is one of several
    std::vector<eval_result> texts;  ///< each by itself, when there are several
};

namespace detail {

using window_list = std::span<const std::span<const std::int32_t>>;

/// Steps done, told to the caller.
struct progress_counter {
    const eval_options& options;
    std::size_t total;
    std::size_t done = 0;

    void step() {
        ++done;
        if (options.progress) {
            options.progress(done, total);
        }
    }
};

/// Hidden states after the last layer, windows one below the other.
template <class B>
tensor<B> run_layers(B const& b, const eval_model<B>& model, window_list windows,
                     progress_counter& progress) {
    const std::size_t length = windows.front().size();
    tensor<B> hidden = make(b, windows.size() * length, model.frame->config().hidden_size);
    const auto window = [&](std::size_t i) { return hidden.view().rows_at(i * length, length); };
    for (std::size_t i = 0; i < windows.size(); ++i) {
        model.frame->embed_tokens(b, windows[i], window(i));
    }
    for (std::size_t layer = 0; layer < model.frame->config().layers; ++layer) {
        layer_hooks<B> hooks;
        const decoder_layer<B> weights = model.layers(layer, hooks);
        const std::size_t at_once = windows_at_once(b, length);
        for (std::size_t i = 0; i < windows.size(); i += at_once) {
            const std::size_t count = std::min(at_once, windows.size() - i);
            model.frame->forward_layer(
                b, weights, hidden.view().rows_at(i * length, count * length), length, hooks);
        }
        wait(b);  // one layer's memory at a time
        progress.step();
    }
    return hidden;
}

/// Scores of the L - 1 positions of one window. `reference` may be null, its hidden states empty.
template <class B>
void score_window(B const& b, const eval_model<B>& model, typename B::const_view hidden,
                  const eval_model<B>* reference, typename B::const_view reference_hidden,
                  std::span<const std::int32_t> tokens, std::span<position_score> scores,
                  typename B::score_workspace& held) {
    const std::size_t count = scores.size();
    tensor<B> input = make(b, count, hidden.cols);
    scored_head<B> own{
        model.frame->head_input(b, hidden.rows_at(0, count), model.head, input.view()),
        &model.frame->head_table()};
    scored_head<B> other;
    tensor<B> reference_input;
    if (reference != nullptr) {
        reference_input = make(b, count, reference_hidden.cols);
        other = {reference->frame->head_input(b, reference_hidden.rows_at(0, count),
                                              reference->head, reference_input.view()),
                 &reference->frame->head_table()};
    }
    score_rows(b, own, other, tokens.subspan(1, count), scores, held);
}

struct mean_and_error {
    double mean = 0;
    double error = 0;
};

/// Mean over all scores of `value`, and its standard error over windows of `per_window` scores.
template <class Value>
mean_and_error summarize(std::span<const position_score> scores, std::size_t per_window,
                         const Value& value) {
    const std::size_t block = scores.size() > per_window ? per_window : 1;
    const std::size_t blocks = scores.size() / block;
    std::vector<double> means(blocks, 0.0);
    double sum = 0;
    for (std::size_t b = 0; b < blocks; ++b) {
        for (std::size_t i = 0; i < block; ++i) {
            means[b] += static_cast<double>(value(scores[b * block + i]));
        }
        sum += means[b];
        means[b] /= static_cast<double>(block);
    }
    mean_and_error out;
    out.mean = sum / static_cast<double>(scores.size());
    double squares = 0;
    for (const double m : means) {
        squares += (m - out.mean) * (m - out.mean);
    }
    if (blocks > 1) {
        out.error =
            std::sqrt(squares / static_cast<double>(blocks - 1) / static_cast<double>(blocks));
    }
    return out;
}

inline double nearest_rank(std::vector<float> values, double share) {
    const auto rank =
        static_cast<std::size_t>(std::ceil(share * static_cast<double>(values.size())));
    const std::size_t index = std::max<std::size_t>(rank, 1) - 1;
    std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(index),
                     values.end());
    return static_cast<double>(values[index]);
}

inline eval_result summarize_all(std::span<const position_score> scores, std::size_t per_window,
                                 bool has_reference, std::span<const text_windows_count> texts) {
    eval_result out;
    std::size_t begin = 0;
    for (const text_windows_count& text : texts.size() > 1 ? texts : texts.first(0)) {
        const std::size_t count = text.windows * per_window;
        out.texts.push_back(count == 0 ? eval_result{}
                                       : summarize_all(scores.subspan(begin, count), per_window,
                                                       has_reference, {}));
        out.texts.back().text = text.name;
        begin += count;
    }
    out.targets = scores.size();
    out.windows = scores.size() / per_window;
    out.has_reference = has_reference;
    const mean_and_error nll =
        summarize(scores, per_window, [](const position_score& s) { return s.nll; });
    out.nll_mean = nll.mean;
    out.nll_se = nll.error;
    out.perplexity = std::exp(nll.mean);
    if (!has_reference) {
        return out;
    }
    out.reference_perplexity = std::exp(summarize(scores, per_window, [](const position_score& s) {
                                            return s.reference_nll;
                                        }).mean);
    const mean_and_error difference = summarize(scores, per_window, [](const position_score& s) {
        return static_cast<double>(s.nll) - static_cast<double>(s.reference_nll);
    });
    out.nll_difference = difference.mean;
    out.nll_difference_se = difference.error;
    const mean_and_error kl =
        summarize(scores, per_window, [](const position_score& s) { return s.kl; });
    out.kl_mean = kl.mean;
    out.kl_se = kl.error;
    std::vector<float> divergences;
    divergences.reserve(scores.size());
    for (const position_score& s : scores) {
        divergences.push_back(s.kl);
    }
    out.kl_p99 = nearest_rank(std::move(divergences), 0.99);
    const mean_and_error top =
        summarize(scores, per_window, [](const position_score& s) { return s.same_top ? 1 : 0; });
    out.top1_agreement = top.mean;
    out.top1_se = top.error;
    return out;
}

template <class B>
void require_evaluable(const eval_model<B>& model, const eval_model<B>* reference,
                       window_list windows) {
    if (windows.empty()) {
        fail_input("no text to evaluate", "evaluation", "at least one whole window", "none");
    }
    for (const std::span<const std::int32_t> window : windows) {
        if (window.size() != windows.front().size() || window.size() < 2) {
            fail_usage("bad evaluation window", "evaluation",
                       "windows of one length, at least 2 tokens", std::to_string(window.size()));
        }
    }
    model.frame->config().require_sequence(windows.front().size());
    if (reference != nullptr) {
        reference->frame->config().require_sequence(windows.front().size());
        if (reference->frame->config().vocab_size != model.frame->config().vocab_size) {
            fail_input("the reference model has another vocabulary",
                       reference->frame->config().where,
                       std::to_string(model.frame->config().vocab_size) + " tokens",
                       std::to_string(reference->frame->config().vocab_size));
        }
    }
}

}  // namespace detail

/// Perplexity over all windows (of one length), and with `reference` (may be null) the distance to
/// it. Throws fpq::error: usage for windows that do not fit, numeric when logits are not finite.
/// The result does not depend on threads or hidden_bytes.
template <class B>
[[nodiscard]] eval_result evaluate(B const& b, const eval_model<B>& model,
                                   const eval_model<B>* reference, detail::window_list windows,
                                   const eval_options& options) {
    detail::require_evaluable(model, reference, windows);
    const std::size_t length = windows.front().size();
    const std::size_t width =
        std::max<std::size_t>(model.frame->config().hidden_size,
                              reference != nullptr ? reference->frame->config().hidden_size : 0);
    const std::size_t batch =
        std::max<std::size_t>(1, options.hidden_bytes / (length * width * sizeof(float)));
    const std::size_t batches = (windows.size() + batch - 1) / batch;
    const std::size_t layers = model.frame->config().layers +
                               (reference != nullptr ? reference->frame->config().layers : 0);
    detail::progress_counter progress{options, batches * layers + windows.size()};
    std::vector<position_score> scores(windows.size() * (length - 1));
    typename B::score_workspace held;
    for (std::size_t begin = 0; begin < windows.size(); begin += batch) {
        const detail::window_list part =
            windows.subspan(begin, std::min(batch, windows.size() - begin));
        const tensor<B> hidden = detail::run_layers(b, model, part, progress);
        const tensor<B> other =
            reference != nullptr ? detail::run_layers(b, *reference, part, progress) : tensor<B>();
        for (std::size_t i = 0; i < part.size(); ++i) {
            const auto of = [&](const tensor<B>& states) {
                return states.rows() == 0 ? typename B::const_view{}
                                          : states.view().rows_at(i * length, length);
            };
            detail::score_window(b, model, of(hidden), reference, of(other), part[i],
                                 std::span(scores).subspan((begin + i) * (length - 1), length - 1),
                                 held);
            progress.step();
        }
    }
    eval_result result =
        detail::summarize_all(scores, length - 1, reference != nullptr, options.texts);
    if (!std::isfinite(result.nll_mean) || !std::isfinite(result.kl_mean)) {
        fail_numeric("evaluation is not finite", model.frame->config().where, "finite logits",
                     "NaN or infinity");
    }
    return result;
}

}  // namespace fpq
