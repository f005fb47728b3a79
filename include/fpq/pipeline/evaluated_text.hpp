// SPDX-License-Identifier: Apache-2.0
// Floor 8. Whether an evaluation is of text that the solver has seen.
#pragma once

#include <cstdint>

namespace fpq {

/// Of which text perplexity and KL are: only text of their own, only what the run calibrated on, or
/// some of each.
enum class evaluated_text : std::uint8_t { own, calibration, both };

constexpr char const* name_of(evaluated_text which) noexcept {
    return which == evaluated_text::own           ? "its own"
           : which == evaluated_text::calibration ? "calibration"
                                                  : "calibration and its own";
}

}  // namespace fpq
