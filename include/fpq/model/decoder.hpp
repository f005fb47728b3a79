// SPDX-License-Identifier: Apache-2.0
// The decoder's forward pass in float32: embedding, one layer over one window, logits.
//
// Floor 7. Prefill only: every position of a window at once, causal. Arithmetic follows the
// transformers' Llama, Mistral, Qwen2 and Qwen3. The pass knows nothing of quantization; a hook may
// read and change what each linear is about to consume. Layers come from load.hpp or from a
// quantized source; the one-token pass with a cache is in generate.hpp.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/core/hosted/parallel.hpp"
#include "fpq/core/view.hpp"
#include "fpq/linalg/matmul.hpp"
#include "fpq/model/attention.hpp"
#include "fpq/model/elementwise.hpp"
#include "fpq/model/model_config.hpp"
#include "fpq/model/names.hpp"
#include "fpq/model/rope.hpp"
#include "fpq/model/weight_rows.hpp"

namespace fpq {

/// y = x weight^T + bias.
struct linear_layer {
    std::vector<float> weight;  ///< (out, in)
    std::vector<float> bias;    ///< (out), or empty
    std::size_t out = 0;
    std::size_t in = 0;
};

/// The weights of one decoder layer.
struct decoder_layer {
    std::array<linear_layer, 7> linears;  ///< by role_index
    std::vector<float> input_norm;        ///< (hidden)
    std::vector<float> post_norm;         ///< (hidden)
    std::vector<float> q_norm;            ///< (head_dim), or empty
    std::vector<float> k_norm;            ///< (head_dim), or empty

    [[nodiscard]] linear_layer& at(linear_role role) noexcept { return linears[role_index(role)]; }
    [[nodiscard]] const linear_layer& at(linear_role role) const noexcept {
        return linears[role_index(role)];
    }
};

/// What a caller may do inside a layer.
struct layer_hooks {
    /// Called once per shared input (q for q/k/v, o, gate for gate/up, down) with x (tokens, in),
    /// which belongs to the forward pass and which the linears consume after the call: what the
    /// hook writes is what they see. Called from one thread at a time. May be empty.
    std::function<void(linear_role, matrix_view<float>)> on_input;
};

namespace detail {

/// Rows of an elementwise step that one thread takes at a time.
inline constexpr std::size_t row_chunk = 32;
/// Vocabulary rows that are widened and multiplied at a time.
inline constexpr std::size_t vocab_tile = 512;

inline void apply_linear(const linear_layer& linear, matrix_view<const float> x,
                         matrix_view<float> y, int threads) {
    matmul_nt(x, as_view(linear.weight.data(), linear.out, linear.in), y, threads);
    if (!linear.bias.empty()) {
        parallel_for(y.rows, row_chunk, threads, [&](std::size_t begin, std::size_t end) {
            for (std::size_t i = begin; i < end; ++i) {
                add_in_place(y.row(i), linear.bias.data(), y.cols);
            }
        });
    }
}

inline void call_hook(const layer_hooks& hooks, linear_role role, matrix_view<float> x) {
    if (hooks.on_input) {
        hooks.on_input(role, x);
    }
}

/// q/k of one token: per-head norm (when there is one), then rotation.
inline void norm_and_rotate(float* heads, std::size_t count, std::size_t head_dim,
                            const std::vector<float>& norm, float eps, const rope_table& rope,
                            std::size_t position) noexcept {
    for (std::size_t h = 0; h < count; ++h) {
        float* const head = heads + h * head_dim;
        if (!norm.empty()) {
            rms_norm(head, norm.data(), eps, head_dim, head);
        }
        rope.rotate(head, position);
    }
}

}  // namespace detail

/// The parts of a model that are not layers, and the arithmetic of all of it. Copies share the
/// vocabulary matrices. Const members may be called from several threads.
class decoder {
public:
    /// `head` is empty exactly when the configuration ties it to the embedding. Shapes are checked.
    decoder(model_config config, weight_rows embedding, std::vector<float> final_norm,
            std::optional<weight_rows> head)
        : config_(std::move(config)),
          embedding_(std::move(embedding)),
          head_(head ? *std::move(head) : embedding_),
          final_norm_(std::move(final_norm)),
          rope_(std::make_shared<rope_cache>()) {
        require(
            "rows and columns of " + std::string(embedding_name),
            embedding_.rows() == config_.vocab_size && embedding_.cols() == config_.hidden_size);
        require("rows and columns of " + std::string(head_name),
                head_.rows() == config_.vocab_size && head_.cols() == config_.hidden_size);
        require("length of " + std::string(final_norm_name),
                final_norm_.size() == config_.hidden_size);
    }

    [[nodiscard]] const model_config& config() const noexcept { return config_; }

    /// hidden (tokens, hidden) = rows of the embedding. Refuses ids outside the vocabulary.
    void embed(std::span<const std::int32_t> tokens, matrix_view<float> hidden) const {
        for (std::size_t i = 0; i < tokens.size(); ++i) {
            if (tokens[i] < 0 || static_cast<std::size_t>(tokens[i]) >= config_.vocab_size) {
                fail_input("token outside the model's vocabulary",
                           config_.where + ": token " + std::to_string(i),
                           "0 to " + std::to_string(config_.vocab_size - 1),
                           std::to_string(tokens[i]));
            }
            embedding_.copy_row(static_cast<std::size_t>(tokens[i]), hidden.row(i));
        }
    }

    /// One layer over one window, in place: hidden (tokens, hidden). Refuses a window longer than
    /// the model's sliding window. Memory: a few (tokens, intermediate) buffers. The result does
    /// not depend on `threads`.
    void forward_layer(const decoder_layer& layer, matrix_view<float> hidden,
                       const layer_hooks& hooks, int threads) const {
        config_.require_sequence(hidden.rows);
        const std::shared_ptr<const rope_table> table = rope(hidden.rows);
        forward_layer_with(
            layer, hidden, hooks, threads,
            [&](matrix_view<float> q, matrix_view<float> k, matrix_view<float> v,
                matrix_view<float> out) { attend_window(layer, *table, q, k, v, out, threads); });
    }

    /// The layer with attention(q, k, v, out) in place of a window's: q and out (tokens, query
    /// size), k and v (tokens, kv size) before norm and rotation, which are attention's to do.
    template <class Attention>
    void forward_layer_with(const decoder_layer& layer, matrix_view<float> hidden,
                            const layer_hooks& hooks, int threads,
                            const Attention& attention) const {
        attention_block(layer, hidden, hooks, threads, attention);
        mlp_block(layer, hidden, hooks, threads);
    }

    /// out (tokens, vocab) = norm(hidden) head^T for rows of the last layer's output.
    void logits(matrix_view<const float> hidden, matrix_view<float> out, int threads) const {
        detail::scratch normed(hidden.rows, hidden.cols);
        normalize(hidden, final_norm_, normed.view(), threads);
        const matrix_view<const float> x = normed.view();
        const std::size_t tiles =
            (config_.vocab_size + detail::vocab_tile - 1) / detail::vocab_tile;
        parallel_for(tiles, 1, threads, [&](std::size_t first, std::size_t last) {
            detail::scratch rows(detail::vocab_tile, config_.hidden_size);
            for (std::size_t tile = first; tile < last; ++tile) {
                const std::size_t begin = tile * detail::vocab_tile;
                const std::size_t count = std::min(detail::vocab_tile, config_.vocab_size - begin);
                for (std::size_t i = 0; i < count; ++i) {
                    head_.copy_row(begin + i, rows.view().row(i));
                }
                matmul_nt(x, rows.view().rows_at(0, count), out.cols_at(begin, count), 1);
            }
        });
    }

    /// Rotary table of at least `positions` positions; grows on demand and is shared by copies.
    [[nodiscard]] std::shared_ptr<const rope_table> rope(std::size_t positions) const {
        const std::lock_guard<std::mutex> lock(rope_->mutex);
        if (!rope_->table || rope_->table->positions() < positions) {
            rope_->table =
                std::make_shared<const rope_table>(config_.rope, config_.head_dim, positions);
        }
        return rope_->table;
    }

private:
    struct rope_cache {
        std::mutex mutex;
        std::shared_ptr<const rope_table> table;
    };

    void require(const std::string& what, bool good) const {
        if (!good) {
            fail_input("tensor does not fit the model configuration", config_.where, what,
                       "other sizes");
        }
    }

    void normalize(matrix_view<const float> x, const std::vector<float>& weight,
                   matrix_view<float> y, int threads) const {
        parallel_for(x.rows, detail::row_chunk, threads, [&](std::size_t begin, std::size_t end) {
            for (std::size_t i = begin; i < end; ++i) {
                detail::rms_norm(x.row(i), weight.data(), config_.rms_norm_eps, x.cols, y.row(i));
            }
        });
    }

    /// hidden += linear(x)
    void add_linear(const linear_layer& linear, matrix_view<const float> x,
                    matrix_view<float> hidden, int threads) const {
        detail::scratch y(hidden.rows, hidden.cols);
        detail::apply_linear(linear, x, y.view(), threads);
        const matrix_view<const float> added = y.view();
        parallel_for(hidden.rows, detail::row_chunk, threads,
                     [&](std::size_t begin, std::size_t end) {
                         for (std::size_t i = begin; i < end; ++i) {
                             detail::add_in_place(hidden.row(i), added.row(i), hidden.cols);
                         }
                     });
    }

    void attend_window(const decoder_layer& layer, const rope_table& table, matrix_view<float> q,
                       matrix_view<float> k, matrix_view<float> v, matrix_view<float> out,
                       int threads) const {
        parallel_for(q.rows, detail::row_chunk, threads, [&](std::size_t begin, std::size_t end) {
            for (std::size_t t = begin; t < end; ++t) {
                detail::norm_and_rotate(q.row(t), config_.heads, config_.head_dim, layer.q_norm,
                                        config_.rms_norm_eps, table, t);
                detail::norm_and_rotate(k.row(t), config_.kv_heads, config_.head_dim, layer.k_norm,
                                        config_.rms_norm_eps, table, t);
            }
        });
        causal_attention(q, k, v, out, {config_.heads, config_.kv_heads, config_.head_dim},
                         threads);
    }

    template <class Attention>
    void attention_block(const decoder_layer& layer, matrix_view<float> hidden,
                         const layer_hooks& hooks, int threads, const Attention& attention) const {
        const std::size_t tokens = hidden.rows;
        detail::scratch q(tokens, config_.query_size());
        detail::scratch k(tokens, config_.kv_size());
        detail::scratch v(tokens, config_.kv_size());
        {
            detail::scratch x(tokens, config_.hidden_size);
            normalize(hidden, layer.input_norm, x.view(), threads);
            detail::call_hook(hooks, linear_role::q, x.view());
            detail::apply_linear(layer.at(linear_role::q), x.view(), q.view(), threads);
            detail::apply_linear(layer.at(linear_role::k), x.view(), k.view(), threads);
            detail::apply_linear(layer.at(linear_role::v), x.view(), v.view(), threads);
        }
        detail::scratch mixed(tokens, config_.query_size());
        attention(q.view(), k.view(), v.view(), mixed.view());
        detail::call_hook(hooks, linear_role::o, mixed.view());
        add_linear(layer.at(linear_role::o), mixed.view(), hidden, threads);
    }

    void mlp_block(const decoder_layer& layer, matrix_view<float> hidden, const layer_hooks& hooks,
                   int threads) const {
        const std::size_t tokens = hidden.rows;
        detail::scratch gate(tokens, config_.intermediate_size);
        {
            detail::scratch up(tokens, config_.intermediate_size);
            detail::scratch x(tokens, config_.hidden_size);
            normalize(hidden, layer.post_norm, x.view(), threads);
            detail::call_hook(hooks, linear_role::gate, x.view());
            detail::apply_linear(layer.at(linear_role::gate), x.view(), gate.view(), threads);
            detail::apply_linear(layer.at(linear_role::up), x.view(), up.view(), threads);
            parallel_for(tokens, detail::row_chunk, threads,
                         [&](std::size_t begin, std::size_t end) {
                             for (std::size_t t = begin; t < end; ++t) {
                                 detail::silu_multiply(gate.view().row(t), up.view().row(t),
                                                       config_.intermediate_size);
                             }
                         });
        }
        detail::call_hook(hooks, linear_role::down, gate.view());
        add_linear(layer.at(linear_role::down), gate.view(), hidden, threads);
    }

    model_config config_;
    weight_rows embedding_;
    weight_rows head_;
    std::vector<float> final_norm_;
    std::shared_ptr<rope_cache> rope_;
};

}  // namespace fpq
