// SPDX-License-Identifier: Apache-2.0
// Floor 7. The forward pass of every family, from its table: embedding, one layer over one window,
// head. Prefill: all positions of a window at once, causal; one token with a cache is generate.hpp.
// It knows nothing of quantization: a hook may read and change what linears are about to consume.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "fpq/backend/attention_shape.hpp"
#include "fpq/backend/rope.hpp"
#include "fpq/core/hosted/error.hpp"
#include "fpq/graph/graph.hpp"
#include "fpq/model/layer.hpp"
#include "fpq/model/linears.hpp"

namespace fpq {

/// What a model has beside its layers: embedding, final norm, head, rotary table. Copies share
/// them. Const members may be called from several threads.
template <class B>
class decoder {
public:
    /// `head` is empty exactly when the configuration ties it to the embedding. Sizes are checked.
    decoder(std::shared_ptr<model_graph const> graph, typename B::table embedding,
            typename B::vector final_norm, std::optional<typename B::table> head);

    [[nodiscard]] model_graph const& graph() const noexcept { return *graph_; }
    [[nodiscard]] model_config const& config() const noexcept { return graph_->config(); }

    /// hidden (tokens, hidden) = rows of the embedding. Refuses ids outside the vocabulary.
    void embed_tokens(B const& b, std::span<std::int32_t const> tokens,
                      typename B::view hidden) const;

    /// One layer over windows of `length` tokens, one below the other, in place: hidden (windows *
    /// length, hidden). Refuses a window longer than the model's sliding window. Memory: a few
    /// (tokens, intermediate) buffers.
    void forward_layer(B const& b, decoder_layer<B> const& layer, typename B::view hidden,
                       std::size_t length, layer_hooks<B> const& hooks) const;

    /// What a layer has yet to add to the residual stream, which the next norm takes along.
    struct late_sum {
        std::vector<typename B::tensor> buffers{};  ///< empty: nothing
        typename B::view added{};
    };

    /// The layer with attend(q, k, v, out) in place of a window's attention: q and out (tokens,
    /// query size), k and v (tokens, kv size) before norm and rotation, which are attend's to do.
    template <class Attend>
    void forward_layer_with(B const& b, decoder_layer<B> const& layer, typename B::view hidden,
                            layer_hooks<B> const& hooks, Attend const& attend) const {
        late_sum late;
        forward_layer_with(b, layer, hidden, hooks, late, attend);
        settle(b, hidden, late);
    }

    /// hidden += what is late.
    void settle(B const& b, typename B::view hidden, late_sum& late) const {
        if (!late.buffers.empty()) {
            add(b, hidden, late.added);
            late = {};
        }
    }

    /// The same bits with one pass less over hidden: what the layer before left in `late` is added
    /// first, and what this one's MLP adds is left there.
    template <class Attend>
    void forward_layer_with(B const& b, decoder_layer<B> const& layer, typename B::view hidden,
                            layer_hooks<B> const& hooks, late_sum& late,
                            Attend const& attend) const {
        std::size_t const tokens = hidden.rows;
        auto mixed = make(b, tokens, config().query_size());
        {
            linear_outputs<B> const out = read(b, layer, tap::attention_input,
                                               norm_place::attention_input, hidden, late, hooks);
            attend(out.at(part::q), out.at(part::k), out.at(part::v), mixed.view());
        }
        linear_outputs<B> const out = add_and_read(b, layer, mixed.view(), hidden, hooks);
        silu_mul(b, out.at(part::gate), out.at(part::up));
        if (hooks.inputs_only) {
            hooks.on_input(tap::mlp_middle, out.at(part::gate));
            return;
        }
        late = block(b, layer, tap::mlp_middle, norm_place::mlp_output, out.at(part::gate), hooks);
    }

    /// Norm and rotation of q and k, whose rows stand at these positions.
    void rotate_qk(B const& b, decoder_layer<B> const& layer, typename B::view q,
                   typename B::view k, typename B::rope const& table,
                   row_positions const& at) const {
        rotate(b, q, k, config().head_dim, layer.norm(norm_place::query_head),
               layer.norm(norm_place::key_head), config().rms_norm_eps, table, at);
    }

    [[nodiscard]] attention_shape heads() const noexcept {
        return {config().heads, config().kv_heads, config().head_dim};
    }

    /// y (tokens, hidden) = what the head reads, for rows of the last layer's output, after the
    /// hook has seen and changed it. Returns y.
    typename B::view head_input(B const& b, typename B::const_view hidden,
                                layer_hooks<B> const& hooks, typename B::view y) const {
        rms_norm(b, hidden, *final_norm_, config().rms_norm_eps, y);
        if (hooks.on_input) {
            hooks.on_input(tap::head_input, y);
        }
        return y;
    }

    /// out (tokens, vocab) = head of rows of the last layer's output. The hook sees head_input.
    void head_logits(B const& b, typename B::const_view hidden, layer_hooks<B> const& hooks,
                     typename B::view out) const;

    /// Rotary table of at least `positions` positions; grows on demand and is shared by copies.
    [[nodiscard]] std::shared_ptr<typename B::rope const> rope(B const& b,
                                                               std::size_t positions) const;

    /// The same model with another head, (vocab, hidden): a quantized one.
    void replace_head(typename B::table head) { head_ = std::move(head); }
    [[nodiscard]] typename B::table const& head_table() const noexcept { return head_; }
    [[nodiscard]] typename B::table const& embedding_table() const noexcept { return embedding_; }
    [[nodiscard]] typename B::vector const& final_norm() const noexcept { return *final_norm_; }

private:
    struct rope_cache {
        std::mutex mutex;
        std::shared_ptr<typename B::rope const> table;
    };

    void require(std::string const& module, bool good) const;

    /// Applies every linear that reads `input` to x (tokens, width), which the hook sees first.
    linear_outputs<B> apply(B const& b, decoder_layer<B> const& layer, tap input,
                            typename B::view x, layer_hooks<B> const& hooks) const;

    /// The linears behind norm(hidden + late), or behind the sum itself where the family has no
    /// such norm. hidden becomes the sum.
    linear_outputs<B> read(B const& b, decoder_layer<B> const& layer, tap input, norm_place norm,
                           typename B::view hidden, late_sum& late,
                           layer_hooks<B> const& hooks) const;

    /// What the attention mixed is added to hidden, and the linears of the MLP read that.
    linear_outputs<B> add_and_read(B const& b, decoder_layer<B> const& layer,
                                   typename B::view mixed, typename B::view hidden,
                                   layer_hooks<B> const& hooks) const;

    /// norm(linear(x)), the norm where the family has one.
    [[nodiscard]] late_sum block(B const& b, decoder_layer<B> const& layer, tap input,
                                 norm_place norm, typename B::view x,
                                 layer_hooks<B> const& hooks) const;

    std::shared_ptr<model_graph const> graph_;
    typename B::table embedding_;
    typename B::table head_;
    std::shared_ptr<typename B::vector const> final_norm_;
    std::shared_ptr<rope_cache> rope_;
};

template <class B>
decoder<B>::decoder(std::shared_ptr<model_graph const> graph, typename B::table embedding,
                    typename B::vector final_norm, std::optional<typename B::table> head)
    : graph_(std::move(graph)),
      embedding_(std::move(embedding)),
      head_(head ? *std::move(head) : embedding_),
      final_norm_(std::make_shared<typename B::vector const>(std::move(final_norm))),
      rope_(std::make_shared<rope_cache>()) {
    model_config const& c = config();
    require(graph_->embedding(),
            embedding_.rows() == c.vocab_size && embedding_.cols() == c.hidden_size);
    require(graph_->head().module, head_.rows() == c.vocab_size && head_.cols() == c.hidden_size);
    require(graph_->final_norm(), final_norm_->size() == c.hidden_size);
}

template <class B>
void decoder<B>::embed_tokens(B const& b, std::span<std::int32_t const> tokens,
                              typename B::view hidden) const {
    for (std::size_t i = 0; i < tokens.size(); ++i) {
        if (tokens[i] < 0 || static_cast<std::size_t>(tokens[i]) >= config().vocab_size) {
            fail_input("token outside the model's vocabulary",
                       config().where + ": token " + std::to_string(i),
                       "0 to " + std::to_string(config().vocab_size - 1),
                       std::to_string(tokens[i]));
        }
    }
    embed(b, embedding_, tokens, hidden);
}

template <class B>
void decoder<B>::forward_layer(B const& b, decoder_layer<B> const& layer, typename B::view hidden,
                               std::size_t length, layer_hooks<B> const& hooks) const {
    config().require_sequence(length);
    auto const table = rope(b, length);
    forward_layer_with(b, layer, hidden, hooks, [&](auto q, auto k, auto v, auto out) {
        rotate_qk(b, layer, q, k, *table, {length, 0, 1});
        attention(b, q, k, v, heads(), length, out);
    });
}

template <class B>
void decoder<B>::head_logits(B const& b, typename B::const_view hidden, layer_hooks<B> const& hooks,
                             typename B::view out) const {
    auto normed = make(b, hidden.rows, hidden.cols);
    logits(b, head_input(b, hidden, hooks, normed.view()), head_, out);
}

template <class B>
std::shared_ptr<typename B::rope const> decoder<B>::rope(B const& b, std::size_t positions) const {
    std::lock_guard<std::mutex> const lock(rope_->mutex);
    if (!rope_->table || rope_->table->positions() < positions) {
        rope_->table = std::make_shared<typename B::rope const>(
            rope_of(b, config().rope, config().head_dim, positions));
    }
    return rope_->table;
}

template <class B>
void decoder<B>::require(std::string const& module, bool good) const {
    if (!good) {
        fail_input("tensor does not fit the model configuration", config().where,
                   "rows and columns of " + module, "other sizes");
    }
}

template <class B>
linear_outputs<B> decoder<B>::apply(B const& b, decoder_layer<B> const& layer, tap input,
                                    typename B::view x, layer_hooks<B> const& hooks) const {
    if (hooks.on_input) {
        hooks.on_input(input, x);
    }
    return apply_linears<B>(b, *graph_, layer, input, x);
}

template <class B>
linear_outputs<B> decoder<B>::read(B const& b, decoder_layer<B> const& layer, tap input,
                                   norm_place norm, typename B::view hidden, late_sum& late,
                                   layer_hooks<B> const& hooks) const {
    auto x = make(b, hidden.rows, hidden.cols);
    if (layer.norm(norm).empty()) {
        settle(b, hidden, late);
        copy(b, hidden, x.view());  // the hook may change it
    } else if (late.buffers.empty()) {
        rms_norm(b, hidden, layer.norm(norm), config().rms_norm_eps, x.view());
    } else {
        add_rms_norm(b, hidden, late.added, layer.norm(norm), config().rms_norm_eps, x.view());
        late = {};
    }
    return apply(b, layer, input, x.view(), hooks);
}

template <class B>
linear_outputs<B> decoder<B>::add_and_read(B const& b, decoder_layer<B> const& layer,
                                           typename B::view mixed, typename B::view hidden,
                                           layer_hooks<B> const& hooks) const {
    late_sum late =
        block(b, layer, tap::attention_output, norm_place::attention_output, mixed, hooks);
    return read(b, layer, tap::mlp_input, norm_place::mlp_input, hidden, late, hooks);
}

template <class B>
typename decoder<B>::late_sum decoder<B>::block(B const& b, decoder_layer<B> const& layer,
                                                tap input, norm_place norm, typename B::view x,
                                                layer_hooks<B> const& hooks) const {
    linear_outputs<B> out = apply(b, layer, input, x, hooks);
    typename B::view const y = out.at(input == tap::mlp_middle ? part::down : part::o);
    if (!layer.norm(norm).empty()) {
        rms_norm(b, y, layer.norm(norm), config().rms_norm_eps, y);
    }
    return {std::move(out.buffers), y};
}

}  // namespace fpq
