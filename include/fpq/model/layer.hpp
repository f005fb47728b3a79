// SPDX-License-Identifier: Apache-2.0
// Floor 7. One decoder layer on a backend: its weights in the order of the architecture's table,
// and the hook that sees what its linears are about to read.
#pragma once

#include <array>
#include <cstddef>
#include <functional>
#include <vector>

#include "fpq/graph/architecture.hpp"

namespace fpq {

/// y = x weight^T + bias.
template <class B>
struct linear_weights {
    typename B::tensor weight;           ///< (out, in); empty where the weight is packed
    typename B::vector bias;             ///< (out), or empty
    typename B::packed_weight packed{};  ///< stands for `weight` where it is not empty
    /// So many of the next linears, which read the same input, are rows below this one's own; they
    /// are empty.
    std::size_t joined = 0;

    [[nodiscard]] std::size_t out_features() const noexcept {
        return packed.empty() ? weight.rows() : packed.rows;
    }
};

/// y (tokens, out) = x (tokens, in) by the linear.
template <class B>
void apply_linear(B const& b, typename B::const_view x, linear_weights<B> const& w,
                  typename B::view y) {
    if constexpr (B::has_packed_products) {
        if (!w.packed.empty()) {
            linear(b, x, w.packed, w.bias, y);
            return;
        }
    }
    linear(b, x, w.weight.view(), w.bias, y);
}

template <class B>
struct decoder_layer {
    std::vector<linear_weights<B>> linears;                  ///< by row of the table
    std::array<typename B::vector, norm_place_count> norms;  ///< empty where the family has none

    [[nodiscard]] typename B::vector const& norm(norm_place place) const noexcept {
        return norms[static_cast<std::size_t>(place)];
    }
    [[nodiscard]] typename B::vector& norm(norm_place place) noexcept {
        return norms[static_cast<std::size_t>(place)];
    }
};

/// What a caller may do inside a forward pass.
template <class B>
struct layer_hooks {
    /// Called once for each tap with x (tokens, width), which the linears consume after the call:
    /// what the hook writes is what they see. Called from one thread at a time. May be empty.
    std::function<void(tap, typename B::view)> on_input;
    /// Nobody reads the output: the pass ends when the hook has seen the last tap.
    bool inputs_only = false;
};

}  // namespace fpq
