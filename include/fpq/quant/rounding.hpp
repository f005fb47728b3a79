// SPDX-License-Identifier: Apache-2.0
// Floor 2. The codes of one group under one step.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fpq/core/bits.hpp"
#include "fpq/format/element.hpp"
#include "fpq/format/grid_rule.hpp"

namespace fpq {

/// Codes of n values of one group: encode_element(fl(w / s)), or the asymmetric code. Under a step
/// of 0, which abs_max may store, all codes are 0 with the weights' signs.
/// w (n), codes (n), one byte each, unpacked.
inline void encode_group(element_kind kind, bool symmetric, float const* w, std::size_t n, float s,
                         int zero, std::uint8_t* codes) noexcept {
    if (!symmetric) {
        int const bits = element_bits(kind);
        for (std::size_t i = 0; i < n; ++i) {
            codes[i] = encode_asymmetric(w[i] / s, bits, zero);
        }
        return;
    }
    visit_element(kind, [&](auto element) {
        for (std::size_t i = 0; i < n; ++i) {
            bool const negative = (bits_of<std::uint32_t>(w[i]) >> 31) != 0;
            codes[i] = decltype(element)::encode(s != 0.0F ? w[i] / s : negative ? -0.0F : 0.0F);
        }
    });
}

}  // namespace fpq
