// SPDX-License-Identifier: Apache-2.0
// Text sampled from the model itself, token by token with a key/value cache: data-free calibration.
//
// Floor 7. Temperature 1 over the whole vocabulary. Unlike the rest of this floor it keeps
// all layers in memory (float32), since every token needs every layer, and a cache that is bounded
// by choosing how many sequences run side by side. Not an inference engine.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/core/hosted/parallel.hpp"
#include "fpq/core/random.hpp"
#include "fpq/core/view.hpp"
#include "fpq/model/decoder.hpp"
#include "fpq/model/elementwise.hpp"

namespace fpq {

struct sample_options {
    std::size_t sequences = 1;
    std::size_t length = 2048;  ///< tokens of a sequence, the first included
    /// First token of every sequence (BOS); negative: any token of the vocabulary, equally likely.
    std::int32_t first_token = -1;
    std::uint64_t seed = 42;
    int threads = 1;
    /// Bytes that the cache may take; at least one sequence is always held.
    std::size_t cache_bytes = std::size_t{1} << 30;
};

namespace detail {

/// Philox streams of a seed: one for first tokens, then one per sequence.
inline constexpr std::uint64_t first_token_stream = 0x5EED;
inline constexpr std::uint64_t sequence_stream = 0x10000;

/// Keys and values of one layer for `rows` sequences: row (sequence, position), (kv_size) wide.
struct layer_cache {
    std::vector<float> keys;
    std::vector<float> values;
};

/// One new query of every sequence against the cached keys [0, position].
inline void cached_attention(const model_config& config, matrix_view<const float> q,
                             const layer_cache& cache, std::size_t length, std::size_t position,
                             matrix_view<float> out, int threads) {
    const std::size_t group = config.heads / config.kv_heads;
    const std::size_t width = config.kv_size();
    const float scale = 1.0F / std::sqrt(static_cast<float>(config.head_dim));
    parallel_for(q.rows * config.heads, 4, threads, [&](std::size_t first, std::size_t last) {
        std::vector<float> scores(position + 1);
        for (std::size_t item = first; item < last; ++item) {
            const std::size_t row = item / config.heads;
            const std::size_t head = item % config.heads;
            const std::size_t offset = row * length * width + head / group * config.head_dim;
            const float* const query = q.row(row) + head * config.head_dim;
            for (std::size_t t = 0; t <= position; ++t) {
                const float* const key = cache.keys.data() + offset + t * width;
                float sum = 0;
                for (std::size_t i = 0; i < config.head_dim; ++i) {
                    sum += query[i] * key[i];
                }
                scores[t] = sum;
            }
            const float total = exp_and_sum(scores.data(), scores.size(), scale,
                                            largest(scores.data(), scores.size()));
            float* const y = out.row(row) + head * config.head_dim;
            std::fill_n(y, config.head_dim, 0.0F);
            for (std::size_t t = 0; t <= position; ++t) {
                const float* const value = cache.values.data() + offset + t * width;
                const float p = scores[t] / total;
                for (std::size_t i = 0; i < config.head_dim; ++i) {
                    y[i] += p * value[i];
                }
            }
        }
    });
}

/// The token at which the cumulated probability of `logits` passes `u` in [0, 1). Overwrites them.
inline std::int32_t draw_token(float* logits, std::size_t n, float u) {
    const float best = largest(logits, n);
    const float sum = exp_and_sum(logits, n, 1.0F, best);
    if (!std::isfinite(sum)) {
        fail_numeric("sampling from the model", "logits", "finite values", "NaN or infinity");
    }
    double total = 0;
    for (std::size_t j = 0; j < n; ++j) {
        total += static_cast<double>(logits[j]);
    }
    const double goal = static_cast<double>(u) * total;
    double passed = 0;
    std::size_t last_possible = 0;
    for (std::size_t j = 0; j < n; ++j) {
        passed += static_cast<double>(logits[j]);
        last_possible = logits[j] > 0 ? j : last_possible;
        if (passed > goal) {
            return static_cast<std::int32_t>(j);
        }
    }
    return static_cast<std::int32_t>(last_possible);
}

}  // namespace detail

/// Steps a batch of sequences one token at a time. `model` and `layers` must outlive it.
class cached_decoder {
public:
    /// Room for `rows` sequences of `length` tokens: 2 * layers * rows * length * kv_size floats.
    cached_decoder(const decoder& model, std::span<const decoder_layer> layers, std::size_t rows,
                   std::size_t length)
        : model_(&model), layers_(layers), rows_(rows), length_(length), rope_(model.rope(length)) {
        model.config().require_sequence(length);
        if (layers.size() != model.config().layers) {
            fail_usage("sampling needs all layers", model.config().where,
                       std::to_string(model.config().layers), std::to_string(layers.size()));
        }
        caches_.resize(layers.size());
        for (detail::layer_cache& cache : caches_) {
            cache.keys.resize(rows * length * model.config().kv_size());
            cache.values.resize(rows * length * model.config().kv_size());
        }
    }

    /// Tokens seen so far by every sequence.
    [[nodiscard]] std::size_t position() const noexcept { return position_; }

    /// Feeds one token to each sequence; logits (rows, vocab) are those of the next token.
    void step(std::span<const std::int32_t> tokens, matrix_view<float> logits, int threads) {
        const model_config& config = model_->config();
        if (position_ >= length_ || tokens.size() != rows_) {
            fail_usage(
                "cached decoding", config.where,
                std::to_string(rows_) + " tokens, at most " + std::to_string(length_) + " times",
                std::to_string(tokens.size()) + " after " + std::to_string(position_));
        }
        detail::scratch hidden(rows_, config.hidden_size);
        model_->embed(tokens, hidden.view());
        for (std::size_t layer = 0; layer < layers_.size(); ++layer) {
            model_->forward_layer_with(layers_[layer], hidden.view(), {}, threads,
                                       [&](matrix_view<float> q, matrix_view<float> k,
                                           matrix_view<float> v, matrix_view<float> out) {
                                           attend(layers_[layer], caches_[layer], q, k, v, out,
                                                  threads);
                                       });
        }
        model_->logits(hidden.view(), logits, threads);
        ++position_;
    }

private:
    void attend(const decoder_layer& layer, detail::layer_cache& cache, matrix_view<float> q,
                matrix_view<float> k, matrix_view<float> v, matrix_view<float> out, int threads) {
        const model_config& config = model_->config();
        for (std::size_t r = 0; r < rows_; ++r) {
            detail::norm_and_rotate(q.row(r), config.heads, config.head_dim, layer.q_norm,
                                    config.rms_norm_eps, *rope_, position_);
            detail::norm_and_rotate(k.row(r), config.kv_heads, config.head_dim, layer.k_norm,
                                    config.rms_norm_eps, *rope_, position_);
            const std::size_t at = (r * length_ + position_) * config.kv_size();
            std::copy_n(k.row(r), config.kv_size(), cache.keys.data() + at);
            std::copy_n(v.row(r), config.kv_size(), cache.values.data() + at);
        }
        detail::cached_attention(config, q, cache, length_, position_, out, threads);
    }

    const decoder* model_;
    std::span<const decoder_layer> layers_;
    std::size_t rows_;
    std::size_t length_;
    std::size_t position_ = 0;
    std::shared_ptr<const rope_table> rope_;
    std::vector<detail::layer_cache> caches_;
};

/// sequences * length tokens, one sequence after the other, each starting with the first token.
/// The random numbers of a sequence depend on seed and its index only; the text does not depend on
/// `threads`. Throws fpq::error for a first token outside the vocabulary or logits that are not
/// finite.
[[nodiscard]] inline std::vector<std::int32_t> sample_tokens(const decoder& model,
                                                             std::span<const decoder_layer> layers,
                                                             const sample_options& options) {
    const model_config& config = model.config();
    std::vector<std::int32_t> out(options.sequences * options.length);
    if (out.empty()) {
        return out;
    }
    const std::size_t each = 2 * config.layers * options.length * config.kv_size() * sizeof(float);
    const std::size_t batch = std::max<std::size_t>(1, options.cache_bytes / each);
    const philox first{options.seed, detail::first_token_stream};
    for (std::size_t begin = 0; begin < options.sequences; begin += batch) {
        const std::size_t rows = std::min(batch, options.sequences - begin);
        cached_decoder cache(model, layers, rows, options.length);
        detail::scratch logits(rows, config.vocab_size);
        std::vector<std::int32_t> tokens(rows);
        for (std::size_t r = 0; r < rows; ++r) {
            tokens[r] = options.first_token >= 0
                            ? options.first_token
                            : static_cast<std::int32_t>(first.below(
                                  begin + r, static_cast<std::uint32_t>(config.vocab_size)));
            out[(begin + r) * options.length] = tokens[r];
        }
        for (std::size_t t = 1; t < options.length; ++t) {
            cache.step(tokens, logits.view(), options.threads);
            parallel_for(rows, 1, options.threads, [&](std::size_t a, std::size_t b) {
                for (std::size_t r = a; r < b; ++r) {
                    const philox source{options.seed, detail::sequence_stream + begin + r};
                    tokens[r] = detail::draw_token(logits.view().row(r), config.vocab_size,
                                                   uniform(source.at(t)));
                    out[(begin + r) * options.length + t] = tokens[r];
                }
            });
        }
    }
    return out;
}

}  // namespace fpq
