// SPDX-License-Identifier: Apache-2.0
// From a checkpoint's tensors to the decoder and its layers, with every shape checked by name.
//
// Floor 7. Reads unquantized tensors (bf16, fp16, fp32). One layer is loaded at a time and
// belongs to the caller; the vocabulary matrices stay in the checkpoint's memory map.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/io/safetensors/checkpoint.hpp"
#include "fpq/model/config.hpp"
#include "fpq/model/decoder.hpp"
#include "fpq/model/names.hpp"

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

/// The linear with its bias if the configuration has one.
[[nodiscard]] inline linear_layer load_linear(const checkpoint& source, const model_config& config,
                                              std::size_t layer, linear_role role) {
    const linear_shape shape = expected_shape(config, role);
    linear_layer out;
    out.out = shape.out;
    out.in = shape.in;
    out.weight = load_floats(
        detail::tensor_of_shape(source, weight_name(layer, role), {shape.out, shape.in}));
    source.release(weight_name(layer, role));
    if (has_bias(config, role)) {
        out.bias = detail::load_vector(source, bias_name(layer, role), shape.out);
    }
    return out;
}

/// The norms of a layer, its linears left empty: for sources whose linears are quantized.
[[nodiscard]] inline decoder_layer load_layer_norms(const checkpoint& source,
                                                    const model_config& config, std::size_t layer) {
    decoder_layer out;
    out.input_norm = detail::load_vector(source, input_norm_name(layer), config.hidden_size);
    out.post_norm = detail::load_vector(source, post_norm_name(layer), config.hidden_size);
    if (config.qk_norm) {
        out.q_norm = detail::load_vector(source, q_norm_name(layer), config.head_dim);
        out.k_norm = detail::load_vector(source, k_norm_name(layer), config.head_dim);
    }
    return out;
}

/// All weights of one layer as float32.
[[nodiscard]] inline decoder_layer load_layer(const checkpoint& source, const model_config& config,
                                              std::size_t layer) {
    decoder_layer out = load_layer_norms(source, config, layer);
    for (const linear_role role : linear_roles) {
        out.at(role) = load_linear(source, config, layer, role);
    }
    return out;
}

/// Embedding, final norm and head; the checkpoint must outlive the decoder.
[[nodiscard]] inline decoder load_decoder(const checkpoint& source, const model_config& config) {
    weight_rows embedding = detail::load_rows(source, std::string(embedding_name),
                                              config.vocab_size, config.hidden_size);
    std::optional<weight_rows> head;
    if (!config.tied_head) {
        head = detail::load_rows(source, std::string(head_name), config.vocab_size,
                                 config.hidden_size);
    }
    return {config, std::move(embedding),
            detail::load_vector(source, std::string(final_norm_name), config.hidden_size),
            std::move(head)};
}

/// The configuration of a checkpoint directory.
[[nodiscard]] inline model_config load_model_config(const checkpoint& source) {
    return read_model_config(source.config(), (source.directory() / "config.json").string());
}

}  // namespace fpq
