// SPDX-License-Identifier: Apache-2.0
// Test support. Decoders of any shape with random float32 weights, and a forward pass written a
// second time from the formulas, in double and one token at a time. The second one shares no
// arithmetic with the library and is the oracle of the first.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

#include "fpq/backend/cpu/forward.hpp"
#include "fpq/backend/cpu/load.hpp"
#include "fpq/core/random.hpp"
#include "fpq/graph/families.hpp"
#include "fpq/graph/graph.hpp"
#include "fpq/model/forward.hpp"
#include "fpq/model/layer.hpp"
#include "fpq/model/load.hpp"
#include "support/gaussian.hpp"

namespace fpq_test {

inline std::vector<float> random_values(std::size_t count, std::uint64_t stream, float deviation,
                                        float mean = 0.0F) {
    return fpq_test::gaussian(count, 7, stream, deviation, mean);
}

struct random_model {
    std::shared_ptr<const fpq::model_graph> graph;
    fpq::model_config config;
    std::vector<fpq::decoder_layer<fpq::cpu>> layers;
    std::vector<float> embedding, head, final_norm;

    explicit random_model(fpq::model_config c)
        : graph(std::make_shared<fpq::model_graph>(std::move(c))), config(graph->config()) {
        std::uint64_t stream = 1;
        const std::size_t h = config.hidden_size;
        embedding = random_values(config.vocab_size * h, stream++, 1.0F);
        head = config.tied_head ? embedding : random_values(config.vocab_size * h, stream++, 0.3F);
        final_norm = random_values(h, stream++, 0.1F, 1.0F);
        for (std::size_t i = 0; i < config.layers; ++i) {
            fpq::decoder_layer<fpq::cpu> layer;
            for (const fpq::linear_node& node : graph->layer(i)) {
                fpq::linear_weights<fpq::cpu> linear;
                const std::vector<float> w = random_values(
                    node.out * node.in, stream++, 1.2F / std::sqrt(static_cast<float>(node.in)));
                linear.weight = fpq::upload(fpq::cpu{1}, fpq::as_view(w.data(), node.out, node.in));
                if (node.bias) {
                    linear.bias = random_values(node.out, stream++, 0.3F);
                }
                layer.linears.push_back(std::move(linear));
            }
            for (const fpq::norm_node& norm : graph->norms(i)) {
                layer.norm(norm.place) = random_values(norm.width, stream++, 0.1F, 1.0F);
            }
            layers.push_back(std::move(layer));
        }
    }

    [[nodiscard]] fpq::decoder<fpq::cpu> frame() const {
        const std::size_t h = config.hidden_size;
        std::optional<fpq::weight_rows> own;
        if (!config.tied_head) {
            own = fpq::weight_rows::from_floats(head, config.vocab_size, h);
        }
        return {graph, fpq::weight_rows::from_floats(embedding, config.vocab_size, h), final_norm,
                std::move(own)};
    }

    /// Logits (tokens, vocab) through the library. The head calls the hooks as the layers do.
    [[nodiscard]] std::vector<float> logits(const std::vector<std::int32_t>& tokens, int threads,
                                            const fpq::layer_hooks<fpq::cpu>& hooks = {}) const {
        const fpq::cpu b{threads};
        const fpq::decoder<fpq::cpu> decoder = frame();
        std::vector<float> hidden(tokens.size() * config.hidden_size);
        std::vector<float> out(tokens.size() * config.vocab_size);
        const auto h = fpq::as_view(hidden.data(), tokens.size(), config.hidden_size);
        decoder.embed_tokens(b, tokens, h);
        for (const fpq::decoder_layer<fpq::cpu>& layer : layers) {
            decoder.forward_layer(b, layer, h, tokens.size(), hooks);
        }
        decoder.head_logits(b, h, hooks,
                            fpq::as_view(out.data(), tokens.size(), config.vocab_size));
        return out;
    }
};

/// The forward pass from the formulas, in double.
class slow_forward {
public:
    using row = std::vector<double>;
    using rows = std::vector<row>;

    /// What may be changed on the way: called with the number of the call, the part, and the value.
    /// Part `logits` stands for a row of the embedding; the others are outputs of linears. For each
    /// layer all tokens' q, k, v, o in the order of tokens, then their gate, up, down.
    using change = std::function<void(std::size_t call, fpq::part which, row& value)>;

    explicit slow_forward(const random_model& model, change on_value = {})
        : model_(model), c_(model.config), change_(std::move(on_value)) {}

    [[nodiscard]] std::vector<double> logits(const std::vector<std::int32_t>& tokens) const {
        calls_ = 0;
        rows hidden;
        for (const std::int32_t t : tokens) {
            const float* const at =
                model_.embedding.data() + static_cast<std::size_t>(t) * c_.hidden_size;
            hidden.emplace_back(at, at + c_.hidden_size);
            changed(fpq::part::logits, hidden.back());
        }
        for (const fpq::decoder_layer<fpq::cpu>& layer : model_.layers) {
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
    void changed(fpq::part which, row& value) const {
        if (change_) {
            change_(calls_++, which, value);
        }
    }

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

    /// Rows of the linear that holds `which`, however the family fuses them.
    [[nodiscard]] row apply(const fpq::decoder_layer<fpq::cpu>& layer, fpq::part which,
                            const row& x) const {
        const auto table = c_.family->linears;
        for (std::size_t r = 0; r < table.size(); ++r) {
            std::size_t begin = 0;
            for (std::size_t p = 0; p < table[r].part_count; ++p) {
                const std::size_t width = width_of(table[r].parts[p]);
                if (table[r].parts[p] == which) {
                    row y = rows_of(layer.linears[r], begin, width, x);
                    changed(which, y);
                    return y;
                }
                begin += width;
            }
        }
        throw std::logic_error("no linear holds this part");
    }

    [[nodiscard]] std::size_t width_of(fpq::part which) const {
        switch (which) {
            case fpq::part::q:
                return c_.heads * c_.head_dim;
            case fpq::part::k:
            case fpq::part::v:
                return c_.kv_heads * c_.head_dim;
            case fpq::part::gate:
            case fpq::part::up:
                return c_.intermediate_size;
            default:
                return c_.hidden_size;
        }
    }

    [[nodiscard]] static row rows_of(const fpq::linear_weights<fpq::cpu>& linear, std::size_t begin,
                                     std::size_t count, const row& x) {
        const fpq::matrix_view<const float> w = linear.weight.view();
        row out(count);
        for (std::size_t i = 0; i < count; ++i) {
            double sum = linear.bias.empty() ? 0.0 : static_cast<double>(linear.bias[begin + i]);
            for (std::size_t j = 0; j < w.cols; ++j) {
                sum += x[j] * static_cast<double>(w(begin + i, j));
            }
            out[i] = sum;
        }
        return out;
    }

    /// norm(x) where the family's table has a norm in this place, else x.
    [[nodiscard]] row norm_at(const fpq::decoder_layer<fpq::cpu>& layer, fpq::norm_place place,
                              const row& x) const {
        for (const fpq::norm_row& entry : c_.family->norms) {
            if (entry.place == place) {
                return norm(x, layer.norms[static_cast<std::size_t>(place)]);
            }
        }
        return x;
    }

    /// x cut into heads.
    [[nodiscard]] rows cut(const row& x, std::size_t count) const {
        const auto d = static_cast<std::ptrdiff_t>(c_.head_dim);
        rows out;
        for (auto at = x.begin(); out.size() < count; at += d) {
            out.emplace_back(at, at + d);
        }
        return out;
    }

    /// Heads of one token, normed and rotated by complex multiplication.
    [[nodiscard]] rows heads(const fpq::decoder_layer<fpq::cpu>& layer, fpq::norm_place place,
                             const row& x, std::size_t count, std::size_t position) const {
        const std::size_t d = c_.head_dim;
        rows out = cut(x, count);
        for (row& head : out) {
            head = norm_at(layer, place, head);
            for (std::size_t i = 0; i < d / 2; ++i) {
                const double angle =
                    static_cast<double>(position) *
                    std::pow(c_.rope.theta, -2.0 * static_cast<double>(i) / static_cast<double>(d));
                const double a = head[i];
                const double b = head[i + d / 2];
                head[i] = a * std::cos(angle) - b * std::sin(angle);
                head[i + d / 2] = a * std::sin(angle) + b * std::cos(angle);
            }
        }
        return out;
    }

    void attention(const fpq::decoder_layer<fpq::cpu>& layer, rows& hidden) const {
        std::vector<rows> keys, values;
        for (std::size_t t = 0; t < hidden.size(); ++t) {
            const row x = norm_at(layer, fpq::norm_place::attention_input, hidden[t]);
            const rows q = heads(layer, fpq::norm_place::query_head, apply(layer, fpq::part::q, x),
                                 c_.heads, t);
            keys.push_back(heads(layer, fpq::norm_place::key_head, apply(layer, fpq::part::k, x),
                                 c_.kv_heads, t));
            values.push_back(cut(apply(layer, fpq::part::v, x), c_.kv_heads));
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
            const row y = norm_at(layer, fpq::norm_place::attention_output,
                                  apply(layer, fpq::part::o, mixed));
            for (std::size_t j = 0; j < y.size(); ++j) {
                hidden[t][j] += y[j];
            }
        }
    }

    void mlp(const fpq::decoder_layer<fpq::cpu>& layer, rows& hidden) const {
        for (row& x : hidden) {
            const row n = norm_at(layer, fpq::norm_place::mlp_input, x);
            row gate = apply(layer, fpq::part::gate, n);
            const row up = apply(layer, fpq::part::up, n);
            for (std::size_t j = 0; j < gate.size(); ++j) {
                gate[j] = gate[j] / (1.0 + std::exp(-gate[j])) * up[j];
            }
            const row y =
                norm_at(layer, fpq::norm_place::mlp_output, apply(layer, fpq::part::down, gate));
            for (std::size_t j = 0; j < y.size(); ++j) {
                x[j] += y[j];
            }
        }
    }

    const random_model& model_;
    const fpq::model_config& c_;
    change change_;
    mutable std::size_t calls_ = 0;
};

/// A small llama: 2 layers, 4 query and 2 key/value heads of 6, hidden 20.
inline fpq::model_config small_config() {
    fpq::model_config c;
    c.family = &fpq::families::llama;
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
