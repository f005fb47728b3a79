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
#include "fpq/backend/memory_budget.hpp"
#include "fpq/core/hosted/ranks.hpp"
#include "fpq/io/text/token_windows.hpp"
#include "fpq/linalg/sharded_second_moment.hpp"
#include "fpq/model/evaluate.hpp"
#include "fpq/model/forward.hpp"
#include "fpq/model/layer.hpp"
#include "fpq/pipeline/progress.hpp"
#include "fpq/pipeline/report.hpp"

namespace fpq {

/// Windows of a rank that go through a layer together: `at_once` of them, none of two shards. What
/// is summed over a shard then does not depend on who has the others.
inline std::vector<window_range> window_batches(window_range own, std::size_t windows,
                                                std::size_t at_once) {
    std::vector<window_range> out;
    std::size_t const last = own.first + own.count;
    for (std::size_t w = own.first; w < last;) {
        std::size_t const end = shard_begin(shard_of(w, windows) + 1, windows);
        out.push_back({w, std::min(at_once, end - w)});
        w += out.back().count;
    }
    return out;
}

/// The hooks for windows that go together.
template <class B>
using window_hooks = std::function<layer_hooks<B>(window_range)>;

/// Hidden states (windows * tokens, hidden) of a rank's windows, all of one length.
template <class B>
class hidden_stream {
public:
    /// `windows` are those of all ranks. `network` outlives the stream. `beside`: bytes that the
    /// work on a layer takes beside it.
    hidden_stream(B const& b, rank_group const& ranks, decoder<B> const& network,
                  token_windows const& windows, std::uint64_t beside);

    /// Of all ranks.
    [[nodiscard]] std::size_t windows() const noexcept { return windows_; }
    [[nodiscard]] window_range own() const noexcept { return own_; }

    /// Where the states lie, for a report.
    [[nodiscard]] char const* place() const noexcept { return states_.place(); }

    /// f(a copy of (tokens, hidden) of window w).
    template <class F>
    void with_window(B const& b, std::size_t w, F const& f) {
        typename B::lent const rows = lend(b, states_, row_of(w), tokens_, loan::copy);
        f(use(b, rows));
        take_back(b, states_, row_of(w), rows, loan::copy);
    }

    /// Replaces every window by its output of `layer`.
    void advance(B const& b, decoder_layer<B> const& layer, layer_hooks<B> const& hooks);

    /// Runs `layer` on a copy of all windows, for what their hooks see.
    void observe(B const& b, decoder_layer<B> const& layer, window_hooks<B> const& hooks);

    /// What the head reads of all windows, for what their hooks see.
    void observe_head(B const& b, window_hooks<B> const& hooks);

private:
    /// f(windows, their rows) for all windows, `at_once` together; the next rows come while f
    /// works.
    template <class F>
    void for_each_batch(B const& b, loan what, F const& f);

    [[nodiscard]] std::size_t row_of(std::size_t window) const noexcept {
        return (window - own_.first) * tokens_;
    }

    decoder<B> const* network_;
    std::size_t windows_;
    window_range own_;
    std::size_t tokens_;
    std::vector<window_range> batches_;
    typename B::states states_;
};

template <class B>
hidden_stream<B>::hidden_stream(B const& b, rank_group const& ranks, decoder<B> const& network,
                                token_windows const& windows, std::uint64_t beside)
    : network_(&network),
      windows_(windows.size()),
      own_(windows_of_rank(ranks.rank(), ranks.size(), windows_)),
      tokens_(windows.front().size()),
      batches_(window_batches(own_, windows_, windows_at_once(b, tokens_))),
      states_(make_states(b, own_.count * tokens_, network.config().hidden_size, beside)) {
    for_each_batch(b, loan::fresh, [&](window_range at, typename B::view rows) {
        for (std::size_t w = 0; w < at.count; ++w) {
            network.embed_tokens(b, windows[at.first + w], rows.rows_at(w * tokens_, tokens_));
        }
    });
}

template <class B>
template <class F>
void hidden_stream<B>::for_each_batch(B const& b, loan what, F const& f) {
    auto const lent = [&](window_range w) {
        return lend(b, states_, row_of(w.first), w.count * tokens_, what);
    };
    if (batches_.empty()) {
        return;
    }
    typename B::lent next = lent(batches_.front());
    for (std::size_t i = 0; i < batches_.size(); ++i) {
        typename B::lent now = std::move(next);
        if (i + 1 < batches_.size()) {
            next = lent(batches_[i + 1]);
        }
        f(batches_[i], use(b, now));
        take_back(b, states_, row_of(batches_[i].first), now, what);
    }
}

template <class B>
void hidden_stream<B>::advance(B const& b, decoder_layer<B> const& layer,
                               layer_hooks<B> const& hooks) {
    for_each_batch(b, loan::change, [&](window_range, typename B::view rows) {
        network_->forward_layer(b, layer, rows, tokens_, hooks);
    });
}

template <class B>
void hidden_stream<B>::observe(B const& b, decoder_layer<B> const& layer,
                               window_hooks<B> const& hooks) {
    for_each_batch(b, loan::copy, [&](window_range w, typename B::view rows) {
        layer_hooks<B> watching = hooks(w);
        watching.inputs_only = true;
        network_->forward_layer(b, layer, rows, tokens_, watching);
    });
}

template <class B>
void hidden_stream<B>::observe_head(B const& b, window_hooks<B> const& hooks) {
    for_each_batch(b, loan::copy, [&](window_range w, typename B::view rows) {
        tensor<B> normed = make(b, rows.rows, rows.cols);
        network_->head_input(b, rows, hooks(w), normed.view());
    });
}

/// The windows of an evaluation, and which texts they are of.
struct evaluation_set {
    token_windows windows;
    std::vector<text_windows_count> texts;  ///< in order, those without a window too
    std::vector<std::string> notes{};       ///< of what read them, for the user
};

/// An evaluation that runs along with a quantization.
template <class B>
class running_evaluation {
public:
    running_evaluation(B const& b, rank_group& ranks, decoder<B> const& network, evaluation_set set,
                       std::uint64_t beside);

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
    rank_group& ranks_;
    decoder<B> const& network_;
    token_windows windows_;
    std::vector<text_windows_count> texts_;
    hidden_stream<B> original_;
    hidden_stream<B> quantized_;
};

template <class B>
running_evaluation<B>::running_evaluation(B const& b, rank_group& ranks, decoder<B> const& network,
                                          evaluation_set set, std::uint64_t beside)
    : ranks_(ranks),
      network_(network),
      windows_(std::move(set.windows)),
      texts_(std::move(set.texts)),
      original_(b, ranks, network, windows_, beside),
      quantized_(b, ranks, network, windows_, beside) {
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
    window_range const own = quantized_.own();
    for (std::size_t w = own.first; w < own.first + own.count; ++w) {
        auto const found = std::span(scores).subspan(w * targets, targets);
        quantized_.with_window(b, w, [&](typename B::view now) {
            original_.with_window(b, w, [&](typename B::view before) {
                detail::score_window<B>(b, subject, now, &original, before, windows_[w], found,
                                        held);
            });
        });
        progress({"evaluate", w - own.first + 1, own.count, ""});
    }
    for (std::size_t r = 0; r < ranks_.size(); ++r) {
        window_range const of = windows_of_rank(r, ranks_.size(), windows_.size());
        ranks_.broadcast(r, std::as_writable_bytes(
                                std::span(scores).subspan(of.first * targets, of.count * targets)));
    }
    return detail::summarize_all(scores, targets, true, texts_);
}

/// What flows through the layers of a run. Members that nothing needs are empty.
template <class B>
struct streams {
    std::optional<hidden_stream<B>> calibration;
    std::optional<running_evaluation<B>> evaluation;
    std::optional<token_windows> gradients;  ///< what a backward pass goes over

    [[nodiscard]] bool empty() const noexcept { return !calibration && !evaluation; }
};

}  // namespace fpq
