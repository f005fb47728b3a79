// SPDX-License-Identifier: Apache-2.0
// Floor 6. What a position of a text says of a model: the result of every backend's score verb.
#pragma once

#include <cstddef>

namespace fpq {

namespace detail {

/// Positions whose logits a CPU holds at once.
inline constexpr std::size_t logit_rows = 256;

}  // namespace detail

/// A model's part in a score: what its head reads, (tokens, hidden), and the head.
template <class B>
struct scored_head {
    typename B::const_view input{};
    typename B::table const* head = nullptr;
};

/// Natural logarithms. Everything after nll is 0 without a reference model.
struct position_score {
    float nll = 0;            ///< -log p(next token)
    float reference_nll = 0;  ///< of the reference model
    float kl = 0;             ///< KL(reference || model)
    bool same_top = false;    ///< both models have the same most likely token
};

}  // namespace fpq
