// SPDX-License-Identifier: Apache-2.0
// Floor 6. Head counts of an attention, for every backend.
#pragma once

#include <cstddef>

namespace fpq {

/// Query head h reads key/value head h / (heads / kv_heads); kv_heads divides heads.
struct attention_shape {
    std::size_t heads;
    std::size_t kv_heads;
    std::size_t head_dim;
};

}  // namespace fpq
