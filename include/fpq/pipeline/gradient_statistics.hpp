// SPDX-License-Identifier: Apache-2.0
// Floor 8. What a backward pass finds out about a linear (gradient_sweep.hpp), for the methods that
// ask for it.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "fpq/graph/graph.hpp"

namespace fpq {

/// Every how many layers a sweep keeps hidden states of `bytes`: all of them while that is little,
/// else the number that keeps the fewest, about the square root.
[[nodiscard]] inline std::size_t layers_a_kept_state(std::size_t layers,
                                                     std::uint64_t bytes) noexcept {
    constexpr std::uint64_t little = std::uint64_t{1} << 30;
    if (layers * bytes <= little) {
        return 1;
    }
    return static_cast<std::size_t>(std::lround(std::sqrt(static_cast<double>(layers))));
}

/// Hidden states that a sweep holds at most: the kept ones, and those between two of them.
[[nodiscard]] constexpr std::size_t states_of_sweep(std::size_t layers,
                                                    std::size_t keep_every) noexcept {
    return (layers + keep_every - 1) / keep_every + keep_every;
}

/// What a sweep has found out about one linear, with inputs x_t and output gradients g_t of token
/// t. Sums, not means: count() says over how many tokens.
template <class B>
struct gradient_statistics {
    linear_node const* node;
    typename B::hessian inputs;                  ///< sum of mean(g_t^2) x_t x_t^T, (in, in)
    std::optional<typename B::hessian> outputs;  ///< sum of g_t g_t^T, (out, out)
};

}  // namespace fpq
