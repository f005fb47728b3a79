// SPDX-License-Identifier: Apache-2.0
// Floor 5. Tensors that files hold although every loader makes them anew.
#pragma once

#include <string_view>

namespace fpq {

/// Rotary tables, causal masks, position numbers: by the end of the name.
[[nodiscard]] inline bool is_derived_tensor(std::string_view name) noexcept {
    for (std::string_view const part :
         {"rotary_emb.inv_freq", "rotary_emb.cos_cached", "rotary_emb.sin_cached", "rope.freqs",
          "masked_bias", "position_ids"}) {
        if (name == part || (name.ends_with(part) && name[name.size() - part.size() - 1] == '.')) {
            return true;
        }
    }
    return false;
}

}  // namespace fpq
