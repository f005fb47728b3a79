// SPDX-License-Identifier: Apache-2.0
// From a checkpoint's tensors to the decoder and its layers, with every shape checked by name.
//
// Floor 7. Reads unquantized tensors (bf16, fp16, fp32); names and shapes are the graph's. One
// layer is loaded at a time and belongs to the caller; the vocabulary matrices stay in the
// checkpoint's memory map.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "fpq/backend/weight_rows.hpp"
#include "fpq/graph/graph.hpp"
#include "fpq/io/safetensors/checkpoint.hpp"
#include "fpq/model/config.hpp"
#include "fpq/model/forward.hpp"
#include "fpq/model/layer.hpp"

namespace fpq {
namespace detail {

inline const tensor_ref& tensor_of_shape(const checkpoint& source, const std::string& name,
                                         std::initializer_list<std::uint64_t> shape) {
    const tensor_ref& tensor = source.at(name);
    require_shape(tensor, std::span<const std::uint64_t>(shape.begin(), shape.size()));
    return tensor;
}

/// A mapped vocabulary matrix, searched once for values that are not finite.
inline weight_rows load_rows(const checkpoint& source, const std::string& name, std::size_t rows,
                             std::size_t cols) {
    const tensor_ref& tensor = tensor_of_shape(source, name, {rows, cols});
    weight_rows out(tensor.type, rows, cols, tensor.bytes, nullptr);
    for_each_piece(tensor.bytes, [&](std::span<const std::byte> piece) {
        require_finite(tensor, piece);
        source.release(name, piece);
    });
    return out;
}

inline std::vector<float> load_vector(const checkpoint& source, const std::string& name,
                                      std::size_t size) {
    return load_floats(tensor_of_shape(source, name, {size}));
}

}  // namespace detail

/// The linear with its bias if it has one.
template <class B>
[[nodiscard]] linear_weights<B> load_linear(B const& b, const checkpoint& source,
                                            const linear_node& node) {
    linear_weights<B> out;
    out.weight = load_matrix(b, detail::tensor_of_shape(source, node.weight(), {node.out, node.in}),
                             node.out, node.in);
    source.release(node.weight());
    if (node.bias) {
        out.bias = vector_of(b, detail::load_vector(source, node.bias_name(), node.out));
    }
    return out;
}

/// The norms of a layer, its linears left empty: for sources whose linears are quantized.
template <class B>
[[nodiscard]] decoder_layer<B> load_layer_norms(B const& b, const checkpoint& source,
                                                const model_graph& graph, std::size_t layer) {
    decoder_layer<B> out;
    out.linears.resize(graph.layer(layer).size());
    for (const norm_node& norm : graph.norms(layer)) {
        out.norm(norm.place) = vector_of(b, detail::load_vector(source, norm.tensor, norm.width));
    }
    return out;
}

/// All weights of one layer.
template <class B>
[[nodiscard]] decoder_layer<B> load_layer(B const& b, const checkpoint& source,
                                          const model_graph& graph, std::size_t layer) {
    decoder_layer<B> out = load_layer_norms(b, source, graph, layer);
    for (const linear_node& node : graph.layer(layer)) {
        out.linears[node.row] = load_linear(b, source, node);
    }
    return out;
}

/// The configuration of a checkpoint directory.
[[nodiscard]] inline model_config load_model_config(const checkpoint& source,
                                                    architecture_list known) {
    return read_model_config(source.config(), (source.directory() / "config.json").string(), known);
}

/// Embedding, final norm and head; the checkpoint must outlive the decoder. `head`, when it is
/// given, stands for the head of the file (a quantized one).
template <class B>
[[nodiscard]] decoder<B> load_decoder(B const& b, const checkpoint& source,
                                      std::shared_ptr<const model_graph> graph,
                                      std::optional<weight_rows> head) {
    const model_config& c = graph->config();
    weight_rows embedding =
        detail::load_rows(source, graph->embedding() + ".weight", c.vocab_size, c.hidden_size);
    if (!c.tied_head && !head) {
        head = detail::load_rows(source, graph->head().weight(), c.vocab_size, c.hidden_size);
    }
    std::vector<float> norm = detail::load_vector(source, graph->final_norm(), c.hidden_size);
    std::optional<typename B::table> own_head;
    if (head) {
        own_head = table_of(b, *std::move(head));
    }
    return {std::move(graph), table_of(b, std::move(embedding)), vector_of(b, std::move(norm)),
            std::move(own_head)};
}

}  // namespace fpq
