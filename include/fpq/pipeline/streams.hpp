// SPDX-License-Identifier: Apache-2.0
// Floor 8. Hidden states of windows that advance through a model one layer at a time, and the
// streams of a run: the quantized model's on the calibration text, and for an evaluation that runs
// along, the original's and the quantized one's on its text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "fpq/backend/cpu/cpu.hpp"
#include "fpq/io/text/token_windows.hpp"
#include "fpq/model/evaluate.hpp"
#include "fpq/model/forward.hpp"
#include "fpq/model/layer.hpp"
#include "fpq/pipeline/report.hpp"

namespace fpq {

/// The hooks for one window.
template <class B>
using window_hooks = std::function<layer_hooks<B>(std::size_t window)>;

/// Hidden states (windows * tokens, hidden), all windows of one length.
template <class B>
class hidden_stream {
public:
    /// `network` outlives the stream.
    hidden_stream(B const& b, decoder<B> const& network, token_windows const& windows);

    [[nodiscard]] std::size_t windows() const noexcept { return windows_; }

    /// (tokens, hidden) of one window.
    [[nodiscard]] typename B::view window(std::size_t w) {
        return states_.view().rows_at(w * tokens_, tokens_);
    }

    /// Replaces every window by its output of `layer`.
    void advance(B const& b, decoder_layer<B> const& layer, layer_hooks<B> const& hooks);

    /// Runs `layer` on a copy of every window w, for what hooks(w) see.
    void observe(B const& b, decoder_layer<B> const& layer, window_hooks<B> const& hooks);

    /// What the head reads of every window w, for what hooks(w) see.
    void observe_head(B const& b, window_hooks<B> const& hooks);

private:
    decoder<B> const* network_;
    std::size_t windows_;
    std::size_t tokens_;
    tensor<B> states_;
};

template <class B>
hidden_stream<B>::hidden_stream(B const& b, decoder<B> const& network, token_windows const& windows)
    : network_(&network),
      windows_(windows.size()),
      tokens_(windows.front().size()),
      states_(make(b, windows.size() * tokens_, network.config().hidden_size)) {
    for (std::size_t w = 0; w < windows_; ++w) {
        network.embed_tokens(b, windows[w], window(w));
    }
}

template <class B>
void hidden_stream<B>::advance(B const& b, decoder_layer<B> const& layer,
                               layer_hooks<B> const& hooks) {
    for (std::size_t w = 0; w < windows_; ++w) {
        network_->forward_layer(b, layer, window(w), hooks);
    }
}

template <class B>
void hidden_stream<B>::observe(B const& b, decoder_layer<B> const& layer,
                               window_hooks<B> const& hooks) {
    tensor<B> scratch = make(b, tokens_, states_.cols());
    for (std::size_t w = 0; w < windows_; ++w) {
        copy(b, window(w), scratch.view());
        network_->forward_layer(b, layer, scratch.view(), hooks(w));
    }
}

template <class B>
void hidden_stream<B>::observe_head(B const& b, window_hooks<B> const& hooks) {
    tensor<B> scratch = make(b, tokens_, states_.cols());
    for (std::size_t w = 0; w < windows_; ++w) {
        network_->head_input(b, window(w), scratch.view());
        hooks(w).on_input(tap::head_input, scratch.view());
    }
}

/// The windows of an evaluation, and which texts they are of.
struct evaluation_set {
    token_windows windows;
    std::vector<text_windows_count> texts;  ///< that gave any, in order
};

/// An evaluation that runs along with a quantization.
template <class B>
class running_evaluation {
public:
    running_evaluation(B const& b, decoder<B> const& network, evaluation_set set);

    /// The original layer.
    void advance_original(B const& b, decoder_layer<B> const& layer) {
        original_.advance(b, layer, {});
    }
    /// The same layer, quantized.
    void advance(B const& b, decoder_layer<B> const& layer, layer_hooks<B> const& hooks) {
        quantized_.advance(b, layer, hooks);
    }

    /// After the last layer; `quantized` is the network with what became of its head.
    [[nodiscard]] eval_result finish(B const& b, decoder<B> const& quantized,
                                     layer_hooks<B> const& head, progress_sink const& progress);

private:
    decoder<B> const& network_;
    token_windows windows_;
    std::vector<text_windows_count> texts_;
    hidden_stream<B> original_;
    hidden_stream<B> quantized_;
};

template <class B>
running_evaluation<B>::running_evaluation(B const& b, decoder<B> const& network, evaluation_set set)
    : network_(network),
      windows_(std::move(set.windows)),
      texts_(std::move(set.texts)),
      original_(b, network, windows_),
      quantized_(b, network, windows_) {
    eval_model<B> const face{&network_, {}, {}};
    std::vector<std::span<std::int32_t const>> const spans(windows_.begin(), windows_.end());
    detail::require_evaluable<B>(face, nullptr, spans);
}

template <class B>
eval_result running_evaluation<B>::finish(B const& b, decoder<B> const& quantized,
                                          layer_hooks<B> const& head,
                                          progress_sink const& progress) {
    eval_model<B> const original{&network_, {}, {}};
    eval_model<B> const subject{&quantized, {}, head};
    std::size_t const targets = windows_.front().size() - 1;
    std::vector<position_score> scores(windows_.size() * targets);
    for (std::size_t w = 0; w < windows_.size(); ++w) {
        detail::score_window<B>(b, subject, quantized_.window(w), &original, original_.window(w),
                                windows_[w], std::span(scores).subspan(w * targets, targets));
        progress({"evaluate", w + 1, windows_.size(), ""});
    }
    return detail::summarize_all(scores, targets, true, texts_);
}

/// What flows through the layers of a run. Members that nothing needs are empty.
template <class B>
struct streams {
    std::optional<hidden_stream<B>> calibration;
    std::optional<running_evaluation<B>> evaluation;

    [[nodiscard]] bool empty() const noexcept { return !calibration && !evaluation; }
};

}  // namespace fpq
