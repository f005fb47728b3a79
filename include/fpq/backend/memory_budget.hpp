// SPDX-License-Identifier: Apache-2.0
// Floor 6. How much memory a run may take, and how the rows of hidden states are lent from where
// they lie.
#pragma once

#include <cstdint>

namespace fpq {

/// Bytes; 0: no limit but the machine's.
struct memory_budget {
    std::uint64_t device = 0;  ///< of the card
    std::uint64_t host = 0;    ///< of the host, for hidden states; what is over goes to a file
};

/// What rows of hidden states are lent for.
enum class loan {
    change,  ///< to be changed and taken back
    copy,    ///< to be changed, and forgotten
    fresh    ///< uninitialized, to be filled and taken back
};

}  // namespace fpq
