// SPDX-License-Identifier: Apache-2.0
// Text sampled from the model itself, token by token with a key/value cache: data-free calibration.
//
// Floor 7. Temperature 1 over the whole vocabulary. Unlike the rest of this floor it keeps
// all layers in memory, since every token needs every layer, and a cache that is bounded by
// choosing how many sequences run side by side. Not an inference engine.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "fpq/backend/backend.hpp"
#include "fpq/core/hosted/error.hpp"
#include "fpq/core/random.hpp"
#include "fpq/graph/graph.hpp"
#include "fpq/graph/model_config.hpp"
#include "fpq/model/forward.hpp"
#include "fpq/model/layer.hpp"

namespace fpq {

struct sample_options {
    std::size_t sequences = 1;
    std::size_t length = 2048;  ///< tokens of a sequence, the first included
    /// First token of every sequence (BOS); negative: any token of the vocabulary, equally likely.
    std::int32_t first_token = -1;
    std::uint64_t seed = 42;
    /// Bytes that the cache may take; at least one sequence is always held.
    std::size_t cache_bytes = std::size_t{1} << 30;
};

namespace detail {

/// Philox streams of a seed: one for first tokens, then one per sequence.
inline constexpr std::uint64_t first_token_stream = 0x5EED;
inline constexpr std::uint64_t sequence_stream = 0x10000;

/// Bytes of the keys and values of one sequence.
template <class B>
[[nodiscard]] std::size_t sequence_bytes(model_config const& config, std::size_t length) noexcept {
    return 2 * config.layers * length * config.kv_size() * sizeof(typename B::cache::value);
}

}  // namespace detail

/// sample_options::cache_bytes for sequences of `length` tokens, beside all weights that sampling
/// holds. Throws fpq::error (device) where the backend has no room for them.
template <class B>
[[nodiscard]] std::size_t sample_room(B const& b, model_graph const& graph, std::size_t length) {
    std::uint64_t weights = graph.head().values();
    for (linear_node const& node : graph.linears()) {
        weights += node.values();
    }
    return cache_room(b, weights, detail::sequence_bytes<B>(graph.config(), length));
}

/// Steps a batch of sequences one token at a time, in products of step_rows(b) rows: those beyond
/// the sequences are filled up and mean nothing. `model` and `layers` must outlive it.
template <class B>
class cached_decoder {
public:
    /// Room for `rows` sequences of `length` tokens: 2 * layers * rows * length * kv_size values.
    cached_decoder(B const& b, const decoder<B>& model, std::span<const decoder_layer<B>> layers,
                   std::size_t rows, std::size_t length)
        : model_(&model),
          layers_(layers),
          rows_(rows),
          step_rows_(step_rows(b) == 0 ? rows : step_rows(b)),
          length_(length),
          rope_(model.rope(b, length)) {
        model.config().require_sequence(length);
        if (layers.size() != model.config().layers) {
            fail_usage("sampling needs all layers", model.config().where,
                       std::to_string(model.config().layers), std::to_string(layers.size()));
        }
        if (rows > step_rows_) {
            fail_usage("sequences side by side", model.config().where,
                       "up to " + std::to_string(step_rows_), std::to_string(rows));
        }
        for (std::size_t layer = 0; layer < layers.size(); ++layer) {
            caches_.push_back(make_cache(b, rows, length, model.config().kv_size()));
        }
    }

    /// Tokens seen so far by every sequence.
    [[nodiscard]] std::size_t position() const noexcept { return position_; }

    /// Rows of a step: the sequences, and what fills them up.
    [[nodiscard]] std::size_t rows_of_a_step() const noexcept { return step_rows_; }

    /// Feeds one token to each sequence; logits (rows of a step, vocab) are those of the next
    /// token.
    void step(B const& b, std::span<const std::int32_t> tokens, typename B::view logits) {
        const model_config& config = model_->config();
        if (position_ >= length_ || tokens.size() != rows_) {
            fail_usage(
                "cached decoding", config.where,
                std::to_string(rows_) + " tokens, at most " + std::to_string(length_) + " times",
                std::to_string(tokens.size()) + " after " + std::to_string(position_));
        }
        tensor<B> hidden = make(b, step_rows_, config.hidden_size);
        std::vector<std::int32_t> filled(tokens.begin(), tokens.end());
        filled.resize(step_rows_);
        model_->embed_tokens(b, filled, hidden.view());
        for (std::size_t layer = 0; layer < layers_.size(); ++layer) {
            model_->forward_layer_with(
                b, layers_[layer], hidden.view(), {}, [&](auto q, auto k, auto v, auto out) {
                    model_->rotate_qk(b, layers_[layer], q, k, *rope_, {step_rows_, position_, 0});
                    cached_attention(b, q.rows_at(0, rows_), k.rows_at(0, rows_),
                                     v.rows_at(0, rows_), model_->heads(), position_,
                                     caches_[layer], out.rows_at(0, rows_));
                });
        }
        model_->head_logits(b, hidden.view(), {}, logits);
        ++position_;
    }

private:
    const decoder<B>* model_;
    std::span<const decoder_layer<B>> layers_;
    std::size_t rows_;
    std::size_t step_rows_;
    std::size_t length_;
    std::size_t position_ = 0;
    std::shared_ptr<const typename B::rope> rope_;
    std::vector<typename B::cache> caches_;
};

/// sequences * length tokens, one sequence after the other, each starting with the first token.
/// The random numbers of a sequence depend on seed and its index only. Throws fpq::error for a
/// first token outside the vocabulary or logits that are not finite.
template <class B>
[[nodiscard]] std::vector<std::int32_t> sample_tokens(B const& b, const decoder<B>& model,
                                                      std::span<const decoder_layer<B>> layers,
                                                      const sample_options& options) {
    const model_config& config = model.config();
    std::vector<std::int32_t> out(options.sequences * options.length);
    if (out.empty()) {
        return out;
    }
    const std::size_t each = detail::sequence_bytes<B>(config, options.length);
    const std::size_t most = step_rows(b) == 0 ? options.sequences : step_rows(b);
    const std::size_t batch = std::clamp<std::size_t>(options.cache_bytes / each, 1, most);
    const philox first{options.seed, detail::first_token_stream};
    for (std::size_t begin = 0; begin < options.sequences; begin += batch) {
        const std::size_t rows = std::min(batch, options.sequences - begin);
        cached_decoder<B> cache(b, model, layers, rows, options.length);
        tensor<B> logits = make_logits(b, cache.rows_of_a_step(), config.vocab_size);
        std::vector<std::int32_t> tokens(rows);
        for (std::size_t r = 0; r < rows; ++r) {
            tokens[r] = options.first_token >= 0
                            ? options.first_token
                            : static_cast<std::int32_t>(first.below(
                                  begin + r, static_cast<std::uint32_t>(config.vocab_size)));
            out[(begin + r) * options.length] = tokens[r];
        }
        for (std::size_t t = 1; t < options.length; ++t) {
            cache.step(b, tokens, logits.view());
            draw_tokens(b, logits.view().rows_at(0, rows), options.seed,
                        detail::sequence_stream + begin, t, tokens);
            for (std::size_t r = 0; r < rows; ++r) {
                out[(begin + r) * options.length + t] = tokens[r];
            }
        }
    }
    return out;
}

}  // namespace fpq
