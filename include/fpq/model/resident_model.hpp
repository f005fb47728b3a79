// SPDX-License-Identifier: Apache-2.0
// Floor 7. A model with all its layers in the backend's memory, as an engine runs it: every token
// needs every layer.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "fpq/backend/backend.hpp"
#include "fpq/core/hosted/error.hpp"
#include "fpq/graph/architecture.hpp"
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

namespace detail {

/// Linears of a layer whose weights could be rows of one: neighbours that read the same input and
/// are packed alike.
template <class B>
[[nodiscard]] bool can_join(linear_weights<B> const& x, linear_weights<B> const& y) {
    return x.packed.empty() == y.packed.empty() && x.bias.empty() == y.bias.empty() &&
           (x.packed.empty() ? can_stack(x.weight, y.weight) : can_stack(x.packed, y.packed));
}

/// Linears that read the same input become one, so that a step has fewer products.
template <class B>
void join_linears(B const& b, std::span<linear_row const> rows,
                  std::vector<linear_weights<B>>& linears) {
    for (std::size_t r = 0; r < linears.size();) {
        std::size_t end = r + 1;
        while (end < linears.size() && rows[end].input == rows[r].input &&
               can_join<B>(linears[r], linears[end])) {
            ++end;
        }
        if (end > r + 1) {
            std::vector<typename B::packed_weight const*> packed;
            std::vector<typename B::tensor const*> dense;
            std::vector<typename B::vector const*> biases;
            for (std::size_t i = r; i < end; ++i) {
                packed.push_back(&linears[i].packed);
                dense.push_back(&linears[i].weight);
                biases.push_back(&linears[i].bias);
            }
            linear_weights<B> all;
            if (linears[r].packed.empty()) {
                all.weight = stack(b, dense);
            } else {
                all.packed = stack(b, packed);
            }
            if (!linears[r].bias.empty()) {
                all.bias = stack(b, biases);
            }
            all.joined = end - r - 1;
            for (std::size_t i = r; i < end; ++i) {
                linears[i] = {};
            }
            linears[r] = std::move(all);
        }
        r = end;
    }
}

/// Tells every packed weight which one is multiplied after it, around to the first again.
template <class B>
void tell_what_follows(B const& b, std::vector<decoder_layer<B>>& layers) {
    std::vector<typename B::packed_weight*> all;
    for (decoder_layer<B>& layer : layers) {
        for (linear_weights<B>& linear : layer.linears) {
            if (!linear.packed.empty()) {
                all.push_back(&linear.packed);
            }
        }
    }
    for (std::size_t i = 0; i < all.size(); ++i) {
        expect_next(b, *all[i], *all[(i + 1) % all.size()]);
    }
}

}  // namespace detail

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
        if constexpr (B::has_packed_products) {
            detail::join_linears<B>(b, model.graph().family().linears, layer.linears);
        }
        out.layers.push_back(std::move(layer));
        out.hooks.push_back(std::move(hooks));
    }
    if constexpr (B::has_packed_products) {
        detail::tell_what_follows(b, out.layers);
    }
    if (B::has_packed_products && decoded != 0) {
        out.notes.push_back(std::to_string(decoded) +
                            " quantized linears are multiplied as bf16: no product takes their "
                            "format as it is");
    }
    return out;
}

}  // namespace fpq
