// SPDX-License-Identifier: Apache-2.0
// Floor 7. A checkpoint directory as a model that can run layer by layer on a backend, whether its
// linears are dense or quantized in any dialect that fpq reads. Holds no layer.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "fpq/core/half.hpp"
#include "fpq/dialect/quantized_source.hpp"
#include "fpq/format/quant_args.hpp"
#include "fpq/graph/graph.hpp"
#include "fpq/io/safetensors/checkpoint.hpp"
#include "fpq/model/forward.hpp"
#include "fpq/model/layer.hpp"
#include "fpq/model/load.hpp"
#include "fpq/model/settle.hpp"
#include "fpq/model/treatment.hpp"
#include "fpq/quant/quantize.hpp"
#include "fpq/transform/transform.hpp"

namespace fpq {

template <class B>
class opened_model {
public:
    /// Opens and checks a directory that holds a model of one of the `known` families.
    /// Throws fpq::error (input).
    opened_model(B const& b, std::filesystem::path const& directory, architecture_list known);

    [[nodiscard]] checkpoint const& source() const noexcept { return *source_; }
    [[nodiscard]] std::filesystem::path const& directory() const { return source_->directory(); }
    [[nodiscard]] model_graph const& graph() const noexcept { return *graph_; }
    [[nodiscard]] model_config const& config() const noexcept { return graph_->config(); }
    [[nodiscard]] decoder<B> const& network() const noexcept { return network_; }
    [[nodiscard]] bool is_quantized() const noexcept { return quantized_ != nullptr; }

    /// One layer and what must happen to its inputs. Quantized weights are decoded and rounded to
    /// bf16, as a client that multiplies in bf16 sees them. `b` reads it: the backend of the model
    /// or one beside it.
    [[nodiscard]] decoder_layer<B> load(B const& b, std::size_t layer, layer_hooks<B>& hooks) const;

    /// The same for many passes: weights stay packed where the backend multiplies with them so.
    /// `decoded` counts the quantized linears that do not.
    [[nodiscard]] decoder_layer<B> load_packed(std::size_t layer, layer_hooks<B>& hooks,
                                               std::size_t& decoded) const;

    /// What must happen to the head's input.
    [[nodiscard]] layer_hooks<B> head_hooks() const;

    /// Of the linears of the decoder layers: 8 * bytes of codes, scales and global scales over
    /// their values, those of its format for pseudoquant; the storage width where they are dense.
    [[nodiscard]] double bits_per_weight() const { return mean_bits(false); }
    /// The same of what the file holds: of pseudoquant the width of its decoded values.
    [[nodiscard]] double stored_bits_per_weight() const { return mean_bits(true); }

private:
    /// The decoded head when the file holds it quantized.
    [[nodiscard]] std::optional<weight_rows> stored_head() const;

    [[nodiscard]] double mean_bits(bool stored) const;
    [[nodiscard]] double linear_bits(linear_node const& node, bool stored) const;

    static void require_fit(stored_linear const& stored, linear_node const& node) {
        if (stored.weight.rows != node.out || stored.weight.cols != node.in) {
            fail_input(
                "quantized tensor does not fit config.json", node.module,
                std::to_string(node.out) + " x " + std::to_string(node.in),
                std::to_string(stored.weight.rows) + " x " + std::to_string(stored.weight.cols));
        }
    }

    [[nodiscard]] std::vector<float> decoded(stored_linear const& stored) const {
        std::vector<float> values = stored.weight.codes == nullptr
                                        ? stored.dense
                                        : dequantize(stored.weight, host_threads(backend_));
        for (float& value : values) {
            value = round_to_bf16(value);
        }
        return values;
    }

    /// load() with `weights_of`(stored, node) for each quantized linear.
    template <class F>
    [[nodiscard]] decoder_layer<B> load_with(B const& b, std::size_t layer, layer_hooks<B>& hooks,
                                             F const& weights_of) const;

    [[nodiscard]] linear_weights<B> decode(B const& b, stored_linear const& stored,
                                           linear_node const& node) const {
        require_fit(stored, node);
        linear_weights<B> out;
        if (stored.weight.codes != nullptr) {
            out.weight = decode_matrix(b, stored.weight);
        } else {
            std::vector<float> const values = decoded(stored);
            out.weight = upload(b, as_view(values.data(), node.out, node.in));
        }
        if (node.bias) {
            out.bias = vector_of(b, load_floats(source_->at(node.bias_name())));
        }
        return out;
    }

    static input_treatment treatment(stored_linear const& stored) {
        input_treatment t;
        if (!stored.forward_matrix.empty()) {
            t.transform = block_transform::from_matrix(
                stored.transform_block, stored.forward_matrix, transform_kind::orthogonal);
        }
        if (stored.input && stored.input->rule == scale_rule::quest) {
            fail_input("unsupported input quantization", "forward_method", "abs_max", "quest");
        }
        t.quantized = stored.input;
        t.global_scale = stored.act_global_scale;
        return t;
    }

    B backend_;
    std::unique_ptr<checkpoint> source_;
    std::shared_ptr<model_graph const> graph_;
    std::unique_ptr<quantized_source> quantized_;
    decoder<B> network_;
};

template <class B>
opened_model<B>::opened_model(B const& b, std::filesystem::path const& directory,
                              architecture_list known)
    : backend_(b),
      source_(std::make_unique<checkpoint>(directory)),
      graph_(std::make_shared<model_graph const>(settle_model(*source_, known))),
      quantized_(source_->config().contains("quantization_config")
                     ? std::make_unique<quantized_source>(*source_)
                     : nullptr),
      network_(load_decoder(b, *source_, graph_, stored_head())) {}

template <class B>
decoder_layer<B> opened_model<B>::load(B const& b, std::size_t layer, layer_hooks<B>& hooks) const {
    return load_with(b, layer, hooks, [&](stored_linear const& stored, linear_node const& node) {
        return decode(b, stored, node);
    });
}

template <class B>
decoder_layer<B> opened_model<B>::load_packed(std::size_t layer, layer_hooks<B>& hooks,
                                              std::size_t& decoded) const {
    return load_with(
        backend_, layer, hooks, [&](stored_linear const& stored, linear_node const& node) {
            if constexpr (B::has_packed_products) {
                if (stays_packed(backend_, stored.weight)) {
                    require_fit(stored, node);
                    linear_weights<B> out;
                    out.packed = pack_weight(backend_, stored.weight);
                    if (node.bias) {
                        out.bias = vector_of(backend_, load_floats(source_->at(node.bias_name())));
                    }
                    return out;
                }
            }
            ++decoded;
            return decode(backend_, stored, node);
        });
}

template <class B>
template <class F>
decoder_layer<B> opened_model<B>::load_with(B const& b, std::size_t layer, layer_hooks<B>& hooks,
                                            F const& weights_of) const {
    hooks = {};
    if (!is_quantized()) {
        return load_layer(b, *source_, *graph_, layer);
    }
    decoder_layer<B> out = load_layer_norms(b, *source_, *graph_, layer);
    auto treatments = std::make_shared<std::array<input_treatment, tap_count>>();
    for (linear_node const& node : graph_->layer(layer)) {
        if (!quantized_->is_quantized(node.module)) {
            out.linears[node.row] = load_linear(b, *source_, node);
            continue;
        }
        stored_linear const stored = quantized_->linear(node.module);
        out.linears[node.row] = weights_of(stored, node);
        quantized_->release(node.module);
        (*treatments)[static_cast<std::size_t>(node.input)] = treatment(stored);
    }
    hooks.on_input = [treatments, own = backend_](tap input, typename B::view x) {
        treat(own, (*treatments)[static_cast<std::size_t>(input)], x);
    };
    return out;
}

template <class B>
layer_hooks<B> opened_model<B>::head_hooks() const {
    layer_hooks<B> hooks;
    if (quantized_ && quantized_->is_quantized(graph_->head().module)) {
        auto const how =
            std::make_shared<input_treatment>(treatment(quantized_->linear(graph_->head().module)));
        hooks.on_input = [how, b = backend_](tap, typename B::view x) { treat(b, *how, x); };
    }
    return hooks;
}

template <class B>
double opened_model<B>::mean_bits(bool stored) const {
    std::uint64_t values = 0;
    double bits = 0.0;
    for (linear_node const& node : graph_->linears()) {
        values += node.values();
        bits += linear_bits(node, stored) * static_cast<double>(node.values());
    }
    return bits / static_cast<double>(values);
}

template <class B>
double opened_model<B>::linear_bits(linear_node const& node, bool stored) const {
    if (is_quantized() && quantized_->is_quantized(node.module)) {
        stored_scheme const& how = *quantized_->scheme_of(node.module);
        return stored && how.pseudo ? static_cast<double>(dtype_bits(how.code_type))
                                    : quantized_->linear(node.module)
                                          .weight.format.bits_per_value(node.out, node.in);
    }
    return static_cast<double>(dtype_bits(source_->at(node.weight()).type));
}

template <class B>
std::optional<weight_rows> opened_model<B>::stored_head() const {
    linear_node const& head = graph_->head();
    if (!quantized_ || !quantized_->is_quantized(head.module)) {
        return std::nullopt;
    }
    stored_linear const stored = quantized_->linear(head.module);
    require_fit(stored, head);
    return weight_rows::from_floats(decoded(stored), head.out, head.in);
}

}  // namespace fpq
