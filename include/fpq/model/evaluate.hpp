// SPDX-License-Identifier: Apache-2.0
// Perplexity of a model over windows of text and its distance to a reference model.
//
// Floor 7. Layers are the outer loop: each is loaded once for a batch of windows, so memory
// is one layer, the hidden states of the batch and a slice of logits, whatever the model's depth.
// Conventions: the GPTQ one for perplexity (equal windows, L - 1 targets each), that of llama.cpp's
// KL mode for the rest, over the same L - 1 positions. Text is cut by the caller
// (io/text/text_windows.hpp).
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

#include "fpq/core/hosted/error.hpp"
#include "fpq/core/hosted/parallel.hpp"
#include "fpq/core/view.hpp"
#include "fpq/model/decoder.hpp"
#include "fpq/model/elementwise.hpp"

namespace fpq {

/// Gives layer `layer`, and may set the hooks that its forward pass shall call (a quantized model
/// transforms and quantizes the inputs there). Called for 0, 1, ... once per batch of windows.
using layer_source = std::function<decoder_layer(std::size_t layer, layer_hooks& hooks)>;

/// A model to evaluate: the frame must outlive the call.
struct eval_model {
    const decoder* frame = nullptr;
    layer_source layers;
};

struct eval_options {
    int threads = 1;
    /// Bytes that hidden states of one model may take; at least one window is always held.
    std::size_t hidden_bytes = std::size_t{1} << 30;
    /// Called after every (batch, model, layer) and window of logits with steps done and in all.
    std::function<void(std::size_t done, std::size_t total)> progress;
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
};

namespace detail {

using window_list = std::span<const std::span<const std::int32_t>>;

/// Positions whose logits are held at once.
inline constexpr std::size_t logit_rows = 256;

/// What one position says.
struct position_score {
    float nll = 0;
    float reference_nll = 0;
    float kl = 0;
    bool same_top = false;
};

/// log(sum(e^logits)): terms in float32, their sum in float64.
inline double log_sum_exp(const float* logits, std::size_t n, float shift) noexcept {
    double sum = 0;
    for (std::size_t begin = 0; begin < n; begin += lanes) {
        lane_block terms{};
        const std::size_t count = std::min(lanes, n - begin);
        std::copy_n(logits + begin, count, terms.begin());
        for (float& t : terms) {
            t = fast_exp(t - shift);
        }
        for (std::size_t i = count; i < lanes; ++i) {
            terms[i] = 0;
        }
        sum += static_cast<double>(lane_sum(terms));
    }
    return std::log(sum) + static_cast<double>(shift);
}

/// KL(reference || model) = sum p_r (log p_r - log p_m); terms in float32 around the means' shift,
/// sums in float64.
inline double kl_divergence(const float* reference, double reference_lse, const float* model,
                            double model_lse, std::size_t n) noexcept {
    const auto shift = static_cast<float>(reference_lse);
    const auto offset = static_cast<float>(model_lse - reference_lse);
    double sum = 0;
    for (std::size_t begin = 0; begin < n; begin += lanes) {
        lane_block r{};
        lane_block m{};
        const std::size_t count = std::min(lanes, n - begin);
        std::copy_n(reference + begin, count, r.begin());
        std::copy_n(model + begin, count, m.begin());
        for (std::size_t i = 0; i < lanes; ++i) {
            r[i] = fast_exp(r[i] - shift) * ((r[i] - m[i]) + offset);
        }
        for (std::size_t i = count; i < lanes; ++i) {
            r[i] = 0;
        }
        sum += static_cast<double>(lane_sum(r));
    }
    return sum;
}

inline std::size_t first_largest(const float* x, std::size_t n) noexcept {
    const float best = largest(x, n);
    return static_cast<std::size_t>(std::find(x, x + n, best) - x);
}

inline position_score score_position(const float* logits, const float* reference, std::size_t n,
                                     std::int32_t target) noexcept {
    const auto at = static_cast<std::size_t>(target);
    position_score score;
    const double lse = log_sum_exp(logits, n, largest(logits, n));
    score.nll = static_cast<float>(lse - static_cast<double>(logits[at]));
    if (reference != nullptr) {
        const double reference_lse = log_sum_exp(reference, n, largest(reference, n));
        score.reference_nll =
            static_cast<float>(reference_lse - static_cast<double>(reference[at]));
        score.kl = static_cast<float>(kl_divergence(reference, reference_lse, logits, lse, n));
        score.same_top = first_largest(logits, n) == first_largest(reference, n);
    }
    return score;
}

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
inline std::vector<float> run_layers(const eval_model& model, window_list windows,
                                     const eval_options& options, progress_counter& progress) {
    const std::size_t length = windows.front().size();
    const std::size_t width = model.frame->config().hidden_size;
    std::vector<float> hidden(windows.size() * length * width);
    const auto window = [&](std::size_t i) {
        return as_view(hidden.data() + i * length * width, length, width);
    };
    for (std::size_t i = 0; i < windows.size(); ++i) {
        model.frame->embed(windows[i], window(i));
    }
    for (std::size_t layer = 0; layer < model.frame->config().layers; ++layer) {
        layer_hooks hooks;
        const decoder_layer weights = model.layers(layer, hooks);
        for (std::size_t i = 0; i < windows.size(); ++i) {
            model.frame->forward_layer(weights, window(i), hooks, options.threads);
        }
        progress.step();
    }
    return hidden;
}

/// Scores of the L - 1 positions of one window. `reference` and its hidden states may be empty.
inline void score_window(const eval_model& model, matrix_view<const float> hidden,
                         const eval_model* reference, matrix_view<const float> reference_hidden,
                         std::span<const std::int32_t> tokens, int threads,
                         std::span<position_score> scores) {
    const std::size_t vocab = model.frame->config().vocab_size;
    const std::size_t held = std::min(logit_rows, scores.size());
    scratch logits(held, vocab);
    scratch reference_logits(reference != nullptr ? held : 0, vocab);
    for (std::size_t begin = 0; begin < scores.size(); begin += logit_rows) {
        const std::size_t count = std::min(logit_rows, scores.size() - begin);
        model.frame->logits(hidden.rows_at(begin, count), logits.view().rows_at(0, count), threads);
        if (reference != nullptr) {
            reference->frame->logits(reference_hidden.rows_at(begin, count),
                                     reference_logits.view().rows_at(0, count), threads);
        }
        parallel_for(count, 8, threads, [&](std::size_t first, std::size_t last) {
            for (std::size_t i = first; i < last; ++i) {
                const float* const other =
                    reference != nullptr ? reference_logits.view().row(i) : nullptr;
                scores[begin + i] =
                    score_position(logits.view().row(i), other, vocab, tokens[begin + i + 1]);
            }
        });
    }
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
                                 bool has_reference) {
    eval_result out;
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

inline void require_evaluable(const eval_model& model, const eval_model* reference,
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
[[nodiscard]] inline eval_result evaluate(const eval_model& model, const eval_model* reference,
                                          detail::window_list windows,
                                          const eval_options& options) {
    detail::require_evaluable(model, reference, windows);
    const std::size_t length = windows.front().size();
    const std::size_t width =
        std::max(model.frame->config().hidden_size,
                 reference != nullptr ? reference->frame->config().hidden_size : 0);
    const std::size_t batch =
        std::max<std::size_t>(1, options.hidden_bytes / (length * width * sizeof(float)));
    const std::size_t batches = (windows.size() + batch - 1) / batch;
    const std::size_t layers = model.frame->config().layers +
                               (reference != nullptr ? reference->frame->config().layers : 0);
    detail::progress_counter progress{options, batches * layers + windows.size()};
    std::vector<detail::position_score> scores(windows.size() * (length - 1));
    for (std::size_t begin = 0; begin < windows.size(); begin += batch) {
        const detail::window_list part =
            windows.subspan(begin, std::min(batch, windows.size() - begin));
        const std::vector<float> hidden = detail::run_layers(model, part, options, progress);
        const std::vector<float> other =
            reference != nullptr ? detail::run_layers(*reference, part, options, progress)
                                 : std::vector<float>();
        const auto view = [&](const std::vector<float>& states, std::size_t i) {
            const std::size_t cols = states.size() / (part.size() * length);
            return as_view(states.data() + i * length * cols, length, cols);
        };
        for (std::size_t i = 0; i < part.size(); ++i) {
            detail::score_window(model, view(hidden, i), reference, view(other, i), part[i],
                                 options.threads,
                                 std::span(scores).subspan((begin + i) * (length - 1), length - 1));
            progress.step();
        }
    }
    const eval_result result = detail::summarize_all(scores, length - 1, reference != nullptr);
    if (!std::isfinite(result.nll_mean) || !std::isfinite(result.kl_mean)) {
        fail_numeric("evaluation is not finite", model.frame->config().where, "finite logits",
                     "NaN or infinity");
    }
    return result;
}

}  // namespace fpq
