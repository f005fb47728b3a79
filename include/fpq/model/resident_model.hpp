// SPDX-License-Identifier: Apache-2.0
// Floor 7. A model with all its layers in the backend's memory, as an engine runs it: every token
// needs every layer.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "fpq/backend/backend.hpp"
#include "fpq/core/hosted/error.hpp"
#include "fpq/model/forward.hpp"
#include "fpq/model/layer.hpp"
#include "fpq/model/opened_model.hpp"

namespace fpq {

template <class B>
struct resident_model {
    decoder<B> frame;
    std::vector<decoder_layer<B>> layers;
    std::vector<layer_hooks<B>> hooks;  ///< of the layers
    layer_hooks<B> head_hooks;
    std::vector<std::string> notes{};  ///< for the user
};

/// Loads every layer of `model`, which must outlive the result.
template <class B>
[[nodiscard]] resident_model<B> load_resident(B const& b, opened_model<B> const& model) {
    resident_model<B> out{model.network(), {}, {}, model.head_hooks(), {}};
    std::size_t decoded = 0;
    for (std::size_t i = 0; i < model.config().layers; ++i) {
        layer_hooks<B> hooks;
        decoder_layer<B> layer = model.load_packed(i, hooks, decoded);
        for (linear_weights<B>& linear : layer.linears) {
            if (linear.packed.empty()) {
                linear.weight = product_weight(b, std::move(linear.weight));
            }
        }
        out.layers.push_back(std::move(layer));
        out.hooks.push_back(std::move(hooks));
    }
    if (B::has_packed_products && decoded != 0) {
        out.notes.push_back(std::to_string(decoded) +
                            " quantized linears are multiplied as bf16: no product takes their "
                            "format as it is");
    }
    return out;
}

}  // namespace fpq
