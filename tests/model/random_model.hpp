// SPDX-License-Identifier: Apache-2.0
// Test support. Decoders of any shape with random float32 weights, and a forward pass written a
// second time from the formulas, in double and one token at a time. The second one shares no
// arithmetic with include/fpq/model and is the oracle of the first.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "fpq/core/random.hpp"
#include "fpq/model/decoder.hpp"
#include "support/gaussian.hpp"

namespace fpq_test {

inline std::vector<float> random_values(std::size_t count, std::uint64_t stream, float deviation,
                                        float mean = 0.0F) {
    return fpq_test::gaussian(count, 7, stream, deviation, mean);
}

struct random_model {
    fpq::model_config config;
    std::vector<fpq::decoder_layer> layers;
    std::vector<float> embedding, head, final_norm;

    explicit random_model(fpq::model_config c) : config(std::move(c)) {
        std::uint64_t stream = 1;
        const std::size_t h = config.hidden_size;
        embedding = random_values(config.vocab_size * h, stream++, 1.0F);
        head = config.tied_head ? embedding : random_values(config.vocab_size * h, stream++, 0.3F);
        final_norm = random_values(h, stream++, 0.1F, 1.0F);
        for (std::size_t i = 0; i < config.layers; ++i) {
            fpq::decoder_layer layer;
            for (const fpq::linear_role role : fpq::linear_roles) {
                const fpq::linear_shape shape = fpq::expected_shape(config, role);
                fpq::linear_layer& linear = layer.at(role);
                linear.out = shape.out;
                linear.in = shape.in;
                linear.weight = random_values(shape.out * shape.in, stream++,
                                              1.2F / std::sqrt(static_cast<float>(shape.in)));
                if (fpq::has_bias(config, role)) {
                    linear.bias = random_values(shape.out, stream++, 0.3F);
                }
            }
            layer.input_norm = random_values(h, stream++, 0.1F, 1.0F);
            layer.post_norm = random_values(h, stream++, 0.1F, 1.0F);
            if (config.qk_norm) {
                layer.q_norm = random_values(config.head_dim, stream++, 0.1F, 1.0F);
                layer.k_norm = random_values(config.head_dim, stream++, 0.1F, 1.0F);
            }
            layers.push_back(std::move(layer));
        }
    }

    [[nodiscard]] fpq::decoder frame() const {
        const std::size_t h = config.hidden_size;
        std::optional<fpq::weight_rows> own;
        if (!config.tied_head) {
            own = fpq::weight_rows::from_floats(head, config.vocab_size, h);
        }
        return {config, fpq::weight_rows::from_floats(embedding, config.vocab_size, h), final_norm,
                std::move(own)};
    }

    /// Logits (tokens, vocab) through the library.
    [[nodiscard]] std::vector<float> logits(const std::vector<std::int32_t>& tokens, int threads,
                                            const fpq::layer_hooks& hooks = {}) const {
        const fpq::decoder decoder = frame();
        std::vector<float> hidden(tokens.size() * config.hidden_size);
        std::vector<float> out(tokens.size() * config.vocab_size);
        const auto h = fpq::as_view(hidden.data(), tokens.size(), config.hidden_size);
        decoder.embed(tokens, h);
        for (const fpq::decoder_layer& layer : layers) {
            decoder.forward_layer(layer, h, hooks, threads);
        }
        decoder.logits(h, fpq::as_view(out.data(), tokens.size(), config.vocab_size), threads);
        return out;
    }
};

/// The forward pass from the formulas, in double.
class slow_forward {
public:
    using row = std::vector<double>;
    using rows = std::vector<row>;

    explicit slow_forward(const random_model& model) : model_(model), c_(model.config) {}

    [[nodiscard]] std::vector<double> logits(const std::vector<std::int32_t>& tokens) const {
        rows hidden;
        for (const std::int32_t t : tokens) {
            const float* const at =
                model_.embedding.data() + static_cast<std::size_t>(t) * c_.hidden_size;
            hidden.emplace_back(at, at + c_.hidden_size);
        }
        for (const fpq::decoder_layer& layer : model_.layers) {
            attention(layer, hidden);
            mlp(layer, hidden);
        }
        std::vector<double> out;
        for (const row& x : hidden) {
            const row n = norm(x, model_.final_norm);
            for (std::size_t v = 0; v < c_.vocab_size; ++v) {
                double sum = 0;
                for (std::size_t j = 0; j < n.size(); ++j) {
                    sum += n[j] * static_cast<double>(model_.head[v * c_.hidden_size + j]);
                }
                out.push_back(sum);
            }
        }
        return out;
    }

private:
    [[nodiscard]] row norm(const row& x, const std::vector<float>& w) const {
        double mean = 0;
        for (const double v : x) {
            mean += v * v / static_cast<double>(x.size());
        }
        row out(x.size());
        for (std::size_t j = 0; j < x.size(); ++j) {
            out[j] = x[j] / std::sqrt(mean + static_cast<double>(c_.rms_norm_eps)) *
                     static_cast<double>(w[j]);
        }
        return out;
    }

    [[nodiscard]] static row apply(const fpq::linear_layer& linear, const row& x) {
        row out(linear.out);
        for (std::size_t i = 0; i < linear.out; ++i) {
            double sum = linear.bias.empty() ? 0.0 : static_cast<double>(linear.bias[i]);
            for (std::size_t j = 0; j < linear.in; ++j) {
                sum += x[j] * static_cast<double>(linear.weight[i * linear.in + j]);
            }
            out[i] = sum;
        }
        return out;
    }

    /// Heads of one token, normed and rotated by complex multiplication.
    [[nodiscard]] rows heads(const row& x, std::size_t count, const std::vector<float>& w,
                             std::size_t position, bool rotate) const {
        const std::size_t d = c_.head_dim;
        rows out;
        for (std::size_t h = 0; h < count; ++h) {
            row head(x.begin() + static_cast<std::ptrdiff_t>(h * d),
                     x.begin() + static_cast<std::ptrdiff_t>((h + 1) * d));
            if (!w.empty() && rotate) {
                head = norm(head, w);
            }
            for (std::size_t i = 0; rotate && i < d / 2; ++i) {
                const double angle =
                    static_cast<double>(position) *
                    std::pow(c_.rope.theta, -2.0 * static_cast<double>(i) / static_cast<double>(d));
                const double a = head[i];
                const double b = head[i + d / 2];
                head[i] = a * std::cos(angle) - b * std::sin(angle);
                head[i + d / 2] = a * std::sin(angle) + b * std::cos(angle);
            }
            out.push_back(head);
        }
        return out;
    }

    void attention(const fpq::decoder_layer& layer, rows& hidden) const {
        std::vector<rows> keys, values;
        for (std::size_t t = 0; t < hidden.size(); ++t) {
            const row x = norm(hidden[t], layer.input_norm);
            const rows q =
                heads(apply(layer.at(fpq::linear_role::q), x), c_.heads, layer.q_norm, t, true);
            keys.push_back(
                heads(apply(layer.at(fpq::linear_role::k), x), c_.kv_heads, layer.k_norm, t, true));
            values.push_back(
                heads(apply(layer.at(fpq::linear_role::v), x), c_.kv_heads, {}, t, false));
            row mixed;
            for (std::size_t h = 0; h < c_.heads; ++h) {
                const std::size_t g = h * c_.kv_heads / c_.heads;
                double total = 0;
                row sum(c_.head_dim, 0.0);
                for (std::size_t s = 0; s <= t; ++s) {
                    double dot = 0;
                    for (std::size_t i = 0; i < c_.head_dim; ++i) {
                        dot += q[h][i] * keys[s][g][i];
                    }
                    const double p = std::exp(dot / std::sqrt(static_cast<double>(c_.head_dim)));
                    total += p;
                    for (std::size_t i = 0; i < c_.head_dim; ++i) {
                        sum[i] += p * values[s][g][i];
                    }
                }
                for (const double v : sum) {
                    mixed.push_back(v / total);
                }
            }
            const row y = apply(layer.at(fpq::linear_role::o), mixed);
            for (std::size_t j = 0; j < y.size(); ++j) {
                hidden[t][j] += y[j];
            }
        }
    }

    void mlp(const fpq::decoder_layer& layer, rows& hidden) const {
        for (row& x : hidden) {
            const row n = norm(x, layer.post_norm);
            row gate = apply(layer.at(fpq::linear_role::gate), n);
            const row up = apply(layer.at(fpq::linear_role::up), n);
            for (std::size_t j = 0; j < gate.size(); ++j) {
                gate[j] = gate[j] / (1.0 + std::exp(-gate[j])) * up[j];
            }
            const row y = apply(layer.at(fpq::linear_role::down), gate);
            for (std::size_t j = 0; j < y.size(); ++j) {
                x[j] += y[j];
            }
        }
    }

    const random_model& model_;
    const fpq::model_config& c_;
};

/// A small llama: 2 layers, 4 query and 2 key/value heads of 6, hidden 20.
inline fpq::model_config small_config() {
    fpq::model_config c;
    c.hidden_size = 20;  // not heads * head_dim
    c.intermediate_size = 36;
    c.layers = 2;
    c.heads = 4;
    c.kv_heads = 2;
    c.head_dim = 6;
    c.vocab_size = 50;
    c.rms_norm_eps = 1e-5F;
    c.tied_head = true;
    c.where = "small config";
    return c;
}

inline std::vector<std::int32_t> some_tokens(std::size_t count, std::size_t vocab) {
    const fpq::philox source{3, 99};
    std::vector<std::int32_t> out(count);
    for (std::size_t i = 0; i < count; ++i) {
        out[i] = static_cast<std::int32_t>(source.below(i, static_cast<std::uint32_t>(vocab)));
    }
    return out;
}

}  // namespace fpq_test
