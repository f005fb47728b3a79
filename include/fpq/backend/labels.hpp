// SPDX-License-Identifier: Apache-2.0
// Floor 6. What a backward pass begins with, for every backend: whose labels the cross entropy is
// taken against, and what it says of a position.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fpq {

/// A position that has no label: it adds nothing to the loss or its gradient.
inline constexpr std::int32_t no_label = -1;

/// The random numbers of labels that are drawn from a model's softmax: position t takes number
/// `step` of Philox stream `stream` + t. The same labels in any order and on any number of threads.
struct label_draw {
    std::uint64_t seed;
    std::uint64_t stream;
    std::uint64_t step;
};

/// One position of a backward pass.
struct label_score {
    float nll = 0;     ///< -log p(label), natural logarithm
    float square = 0;  ///< squared norm of the gradient at the position's logits
};

}  // namespace fpq
