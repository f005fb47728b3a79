// SPDX-License-Identifier: Apache-2.0
// Floor 8. One forward and one backward pass of a model over calibration windows, for what a
// two-sided objective needs of each linear: the second moment of its inputs with tokens weighted by
// their gradient, and that of the gradients at its outputs. Layers come from the top down, and the
// statistics of one are handed over before the next one's are begun. Statistics are those of the
// model as it is loaded, the original one; nothing is quantized here.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "fpq/backend/backend.hpp"
#include "fpq/backend/labels.hpp"
#include "fpq/backend/memory_budget.hpp"
#include "fpq/core/hosted/error.hpp"
#include "fpq/core/hosted/ranks.hpp"
#include "fpq/graph/graph.hpp"
#include "fpq/io/text/token_windows.hpp"
#include "fpq/linalg/sharded_second_moment.hpp"
#include "fpq/model/backward.hpp"
#include "fpq/model/forward.hpp"
#include "fpq/model/layer.hpp"
#include "fpq/pipeline/gradient_statistics.hpp"
#include "fpq/pipeline/progress.hpp"
#include "fpq/pipeline/streams.hpp"

namespace fpq {

struct gradient_options {
    label_rule labels{};  ///< of the model or the text
    /// The inputs of layers 0, k, 2k ... are kept; those between are made again, k - 1 of k layers
    /// once more. Results do not depend on it.
    std::size_t keep_every = 1;
    /// The last layer that is swept, from the top down; those below it get no statistics.
    std::size_t lowest = 0;
    /// Linears that get no moment of their gradients; empty: all get one.
    std::function<bool(linear_node const&)> inputs_alone{};
};

template <class B>
class gradient_sweep {
public:
    /// Reads a layer of the model, as load_layer does.
    using layer_source = std::function<decoder_layer<B>(std::size_t layer)>;
    /// Takes a layer and its statistics, in the order of the table; what it does with the weights
    /// changes nothing for the layers below.
    using layer_sink = std::function<void(std::size_t layer, decoder_layer<B>& weights,
                                          std::vector<gradient_statistics<B>> found)>;
    /// Sees what the linears of a tap read, some windows at a time, and may change it: their
    /// statistics are of what it writes, gradients are those of the model.
    using input_hook = std::function<void(std::size_t layer, tap input, typename B::view x)>;

    /// `windows` are those of all ranks and of one length, at least one each; all references
    /// outlive the sweep. `beside`: bytes of the card that the work on a layer takes.
    /// Throws fpq::error (usage) for windows or options that cannot be.
    gradient_sweep(B const& b, rank_group& ranks, decoder<B> const& network, layer_source load,
                   token_windows const& windows, gradient_options const& options,
                   std::uint64_t beside, progress_sink const& progress);

    /// All layers, the top one first; every rank gets the same statistics. Returns the mean of
    /// -log p(label) over all positions that have one. Call once.
    /// Memory: ceil(layers / keep_every) + keep_every times the hidden states of the rank's
    /// windows, what one batch of windows needs in trace_layer, and for each linear of one layer up
    /// to 4 (in, in) and 4 (out, out) matrices while they are summed.
    double run(layer_sink const& sink, input_hook const& on_input = {});

private:
    using states = typename B::states;

    [[nodiscard]] states fresh_states() const;

    /// Hidden states into those behind a layer; `to` may be `from`.
    void advance(std::size_t layer, states& from, states& to);

    /// Hidden states behind the last layer become gradients. Returns the mean loss.
    double backward_from_head(states& last);

    /// Gradients behind a layer become those before it.
    void one_layer(std::size_t index, states& input, states& gradients, layer_sink const& sink,
                   input_hook const& on_input);

    template <class F>
    void for_each_batch(F const& f) {
        for (window_range const at : batches_) {
            f(at, (at.first - own_.first) * tokens_, at.count * tokens_);
        }
    }

    B backend_;
    rank_group& ranks_;
    decoder<B> const& network_;
    layer_source load_;
    token_windows const& windows_;
    gradient_options options_;
    std::uint64_t beside_;
    progress_sink const& progress_;
    window_range own_{};
    std::size_t tokens_ = 0;  // of a window
    std::vector<window_range> batches_;
};

template <class B>
gradient_sweep<B>::gradient_sweep(B const& b, rank_group& ranks, decoder<B> const& network,
                                  layer_source load, token_windows const& windows,
                                  gradient_options const& options, std::uint64_t beside,
                                  progress_sink const& progress)
    : backend_(b),
      ranks_(ranks),
      network_(network),
      load_(std::move(load)),
      windows_(windows),
      options_(options),
      beside_(beside),
      progress_(progress) {
    if (windows.size() < ranks.size()) {
        fail_usage("gradient sweep", "windows", "one for each rank at least",
                   std::to_string(windows.size()));
    }
    for (auto const& window : windows) {
        if (window.size() != windows.front().size() || window.size() < 2) {
            fail_usage("gradient sweep", "windows", "one length, at least 2 tokens",
                       std::to_string(window.size()));
        }
    }
    if (options.keep_every == 0) {
        fail_usage("gradient sweep", "keep_every", "1 or more", "0");
    }
    if (options.labels.from == label_source::caller) {
        fail_usage("gradient sweep", "labels", "of the model or the text", "the caller's");
    }
    if (options.lowest >= network.graph().layers() && network.graph().layers() > 0) {
        fail_usage("gradient sweep", "lowest", "a layer", std::to_string(options.lowest));
    }
    tokens_ = windows.front().size();
    network.config().require_sequence(tokens_);
    // A budget is for all hidden states that are kept, each of which looks at it alone.
    if (backend_.budget.host != 0) {
        std::size_t const held = states_of_sweep(network.graph().layers(), options.keep_every);
        backend_.budget.host = std::max<std::uint64_t>(1, backend_.budget.host / held);
    }
    own_ = windows_of_rank(ranks.rank(), ranks.size(), windows.size());
    batches_ = window_batches(own_, windows.size(), windows_at_once(b, tokens_));
}

template <class B>
typename B::states gradient_sweep<B>::fresh_states() const {
    return make_states(backend_, own_.count * tokens_, network_.config().hidden_size, beside_);
}

template <class B>
void gradient_sweep<B>::advance(std::size_t layer, states& from, states& to) {
    decoder_layer<B> const weights = load_(layer);
    bool const apart = &from != &to;
    for_each_batch([&](window_range, std::size_t row, std::size_t count) {
        typename B::lent const rows =
            lend(backend_, to, row, count, apart ? loan::fresh : loan::change);
        if (apart) {
            typename B::lent const source = lend(backend_, from, row, count, loan::copy);
            copy(backend_, use(backend_, source), use(backend_, rows));
            take_back(backend_, from, row, source, loan::copy);
        }
        network_.forward_layer(backend_, weights, use(backend_, rows), tokens_, {});
        take_back(backend_, to, row, rows, apart ? loan::fresh : loan::change);
    });
    wait(backend_);  // one layer's memory at a time
}

template <class B>
double gradient_sweep<B>::backward_from_head(states& last) {
    std::vector<double> losses(windows_.size(), 0.0);
    std::vector<std::int32_t> labels(tokens_);
    std::vector<label_score> scores(tokens_);
    typename B::score_workspace held;
    tensor<B> gradient = make(backend_, tokens_, network_.config().hidden_size);
    for (std::size_t w = own_.first; w < own_.first + own_.count; ++w) {
        std::size_t const row = (w - own_.first) * tokens_;
        typename B::lent const rows = lend(backend_, last, row, tokens_, loan::change);
        backward_head<B>(backend_, network_, use(backend_, rows), w, windows_[w], options_.labels,
                         labels, scores, held, gradient.view());
        copy(backend_, gradient.view(), use(backend_, rows));
        take_back(backend_, last, row, rows, loan::change);
        for (label_score const& s : scores) {
            losses[w] += static_cast<double>(s.nll);
        }
    }
    double sum = 0;
    for (std::size_t r = 0; r < ranks_.size(); ++r) {
        window_range const of = windows_of_rank(r, ranks_.size(), windows_.size());
        ranks_.broadcast(r, std::as_writable_bytes(std::span(losses).subspan(of.first, of.count)));
    }
    for (double const loss : losses) {
        sum += loss;
    }
    std::size_t const positions =
        options_.labels.from == label_source::text ? tokens_ - 1 : tokens_;
    return sum / static_cast<double>(windows_.size() * positions);
}

template <class B>
void gradient_sweep<B>::one_layer(std::size_t index, states& input, states& gradients,
                                  layer_sink const& sink, input_hook const& on_input) {
    struct sums {
        std::unique_ptr<typename B::moment> inputs, outputs;
    };
    std::span<linear_node const> const nodes = network_.graph().layer(index);
    decoder_layer<B> weights = load_(index);
    std::vector<sums> moments(nodes.size());
    for (linear_node const& node : nodes) {
        sums& of = moments[node.row];
        of.inputs = make_moment(backend_, ranks_, node.in, windows_.size());
        if (!options_.inputs_alone || !options_.inputs_alone(node)) {
            of.outputs = make_moment(backend_, ranks_, node.out, windows_.size());
        }
    }
    for_each_batch([&](window_range at, std::size_t row, std::size_t count) {
        gradient_hooks<B> hooks;
        if (on_input) {
            hooks.on_input = [&](tap at_tap, typename B::view x) { on_input(index, at_tap, x); };
        }
        hooks.on_linear = [&](std::size_t r, typename B::const_view x, typename B::const_view dy) {
            tensor<B> weighed = make(backend_, x.rows, x.cols);
            weigh_rows(backend_, x, mean_squares(backend_, dy), weighed.view());
            accumulate(backend_, *moments[r].inputs, at.first, at.count, weighed.view());
            if (moments[r].outputs) {
                accumulate(backend_, *moments[r].outputs, at.first, at.count, dy);
            }
        };
        typename B::lent const in = lend(backend_, input, row, count, loan::copy);
        typename B::lent const g = lend(backend_, gradients, row, count, loan::change);
        typename B::const_view const x = use(backend_, in);
        backward_layer<B>(backend_, network_, weights, x, tokens_,
                          trace_layer<B>(backend_, network_, weights, x, tokens_), hooks,
                          use(backend_, g));
        take_back(backend_, gradients, row, g, loan::change);
        take_back(backend_, input, row, in, loan::copy);
    });
    std::vector<gradient_statistics<B>> found;
    for (linear_node const& node : nodes) {
        sums& of = moments[node.row];
        found.push_back({&node, finish(backend_, ranks_, std::move(*of.inputs)), {}});
        of.inputs.reset();
        if (of.outputs) {
            found.back().outputs.emplace(finish(backend_, ranks_, std::move(*of.outputs)));
            of.outputs.reset();
        }
    }
    sink(index, weights, std::move(found));
}

template <class B>
double gradient_sweep<B>::run(layer_sink const& sink, input_hook const& on_input) {
    std::size_t const layers = network_.graph().layers();
    std::size_t const every = options_.keep_every;
    std::vector<states> kept;  // inputs of layers 0, k, 2k ..., then the model's output
    kept.push_back(fresh_states());
    for_each_batch([&](window_range at, std::size_t row, std::size_t count) {
        typename B::lent const rows = lend(backend_, kept.back(), row, count, loan::fresh);
        for (std::size_t w = 0; w < at.count; ++w) {
            network_.embed_tokens(backend_, windows_[at.first + w],
                                  use(backend_, rows).rows_at(w * tokens_, tokens_));
        }
        take_back(backend_, kept.back(), row, rows, loan::fresh);
    });
    for (std::size_t layer = 0; layer < layers; ++layer) {
        if (layer % every == 0) {
            kept.push_back(fresh_states());
            advance(layer, kept[kept.size() - 2], kept.back());
        } else {
            advance(layer, kept.back(), kept.back());
        }
        progress_({"forward", layer + 1, layers, ""});
    }
    states gradients = std::move(kept.back());
    kept.pop_back();
    double const loss = backward_from_head(gradients);
    for (std::size_t top = layers; top > options_.lowest;) {
        std::size_t const first = (kept.size() - 1) * every;
        std::vector<states> between;  // inputs of layers first + 1 .. top - 1
        for (std::size_t layer = first; layer + 1 < top; ++layer) {
            states fresh = fresh_states();
            advance(layer, between.empty() ? kept.back() : between.back(), fresh);
            between.push_back(std::move(fresh));
        }
        for (; top > std::max(first, options_.lowest); --top) {
            one_layer(top - 1, between.empty() ? kept.back() : between.back(), gradients, sink,
                      on_input);
            if (!between.empty()) {
                between.pop_back();
            }
            progress_({"backward", layers - top + 1, layers - options_.lowest, ""});
        }
        kept.pop_back();
    }
    return loss;
}

}  // namespace fpq
