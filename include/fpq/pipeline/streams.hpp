// SPDX-License-Identifier: Apache-2.0
// Floor 8. Hidden states of windows that advance through a model one layer at a time, and the
// streams of a run: the quantized model's on the calibration text, and for an evaluation that runs
// along, the original's and the quantized one's on its text.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "fpq/backend/backend.hpp"
#include "fpq/io/text/token_windows.hpp"
#include "fpq/linalg/sharded_second_moment.hpp"
#include "fpq/model/evaluate.hpp"
#include "fpq/model/forward.hpp"
#include "fpq/model/layer.hpp"
#include "fpq/pipeline/report.hpp"

namespace fpq {

/// Windows that go through a layer together.
struct window_range {
    std::size_t first;
    std::size_t count;
};

/// All windows, `at_once` together, none of two shards: what is summed over a shard then does not
/// depend on who has the others.
inline std::vector<window_range> window_batches(std::size_t windows, std::size_t at_once) {
    std::vector<window_range> out;
    for (std::size_t shard = 0; shard < moment_shards; ++shard) {
        std::size_t const end = shard_begin(shard + 1, windows);
        for (std::size_t w = shard_begin(shard, windows); w < end; w += at_once) {
            out.push_back({w, std::min(at_once, end - w)});
        }
    }
    return out;
}

/// The hooks for windows that go together.
template <class B>
using window_hooks = std::function<layer_hooks<B>(window_range)>;

/// Hidden states (windows * tokens, hidden), all windows of one length.
template <class B>
class hidden_stream {
public:
    /// `network` outlives the stream.
    hidden_stream(B const& b, decoder<B> const& network, token_windows const& windows);

    [[nodiscard]] std::size_t windows() const noexcept { return windows_; }

    /// (tokens, hidden) of one window.
    [[nodiscard]] typename B::view window(std::size_t w) { return rows({w, 1}); }

    /// Replaces every window by its output of `layer`.
    void advance(B const& b, decoder_layer<B> const& layer, layer_hooks<B> const& hooks);

    /// Runs `layer` on a copy of all windows, for what their hooks see.
    void observe(B const& b, decoder_layer<B> const& layer, window_hooks<B> const& hooks);

    /// What the head reads of all windows, for what their hooks see.
    void observe_head(B const& b, window_hooks<B> const& hooks);

private:
    [[nodiscard]] typename B::view rows(window_range w) {
        return states_.view().rows_at(w.first * tokens_, w.count * tokens_);
    }

    decoder<B> const* network_;
    std::size_t windows_;
    std::size_t tokens_;
    std::vector<window_range> batches_;
    tensor<B> states_;
};

template <class B>
hidden_stream<B>::hidden_stream(B const& b, decoder<B> const& network, token_windows const& windows)
    : network_(&network),
      windows_(windows.size()),
      tokens_(windows.front().size()),
      batches_(window_batches(windows_, windows_at_once(b, tokens_))),
      states_(make(b, windows.size() * tokens_, network.config().hidden_size)) {
    for (std::size_t w = 0; w < windows_; ++w) {
        network.embed_tokens(b, windows[w], window(w));
    }
}

template <class B>
void hidden_stream<B>::advance(B const& b, decoder_layer<B> const& layer,
                               layer_hooks<B> const& hooks) {
    for (window_range const w : batches_) {
        network_->forward_layer(b, layer, rows(w), tokens_, hooks);
    }
}

template <class B>
void hidden_stream<B>::observe(B const& b, decoder_layer<B> const& layer,
                               window_hooks<B> const& hooks) {
    for (window_range const w : batches_) {
        tensor<B> scratch = make(b, w.count * tokens_, states_.cols());
        copy(b, rows(w), scratch.view());
        layer_hooks<B> watching = hooks(w);
        watching.inputs_only = true;
        network_->forward_layer(b, layer, scratch.view(), tokens_, watching);
    }
}

template <class B>
void hidden_stream<B>::observe_head(B const& b, window_hooks<B> const& hooks) {
    for (window_range const w : batches_) {
        tensor<B> scratch = make(b, w.count * tokens_, states_.cols());
        network_->head_input(b, rows(w), hooks(w), scratch.view());
    }
}

/// The windows of an evaluation, and which texts they are of.
struct evaluation_set {
    token_windows windows;
    std::vector<text_windows_count> texts;  ///< that gave any, in order
    std::vector<std::string> notes{};       ///< of what read them, for the user
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
    typename B::score_workspace held;
    for (std::size_t w = 0; w < windows_.size(); ++w) {
        detail::score_window<B>(b, subject, quantized_.window(w), &original, original_.window(w),
                                windows_[w], std::span(scores).subspan(w * targets, targets), held);
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
