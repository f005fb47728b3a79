// SPDX-License-Identifier: Apache-2.0
// Floor 2. The end of float32: a legal E8M0 scale times a legal code can lie beyond it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "fpq/core/bits.hpp"
#include "fpq/format/element.hpp"
#include "fpq/format/pack.hpp"
#include "fpq/format/packed.hpp"
#include "fpq/quant/packed_matrix.hpp"

namespace fpq {

/// Below this maximum no block of E8M0 scales decodes to infinity, whatever the rule.
inline constexpr float largest_safe_maximum = 0x1p124F;

/// Lowers every code that decodes to infinity to the largest of its sign that does not; scales and
/// all other codes stay. For formats with E8M0 scales; does nothing for others.
inline void saturate_to_finite(packed_matrix& q) {
    if (q.format.scale != scale_kind::e8m0 || !q.format.symmetric || is_integer(q.format.element)) {
        return;
    }
    packed_view const w = q.view();
    int const bits = element_bits(q.format.element);
    std::size_t const group = q.format.group_of(q.cols);
    std::vector<std::uint8_t> codes(q.cols);
    for (std::size_t row = 0; row < q.rows; ++row) {
        std::uint8_t* const packed = q.codes.data() + row * q.format.row_bytes(q.cols);
        bool changed = false;
        for (std::size_t j = 0; j < q.cols; ++j) {
            float const step = w.step(row, j / group);
            std::uint8_t code = packed_code(bits, packed, j);
            while (!is_finite(decode_element(q.format.element, code) * step)) {
                --code;  // sign and magnitude: the next smaller magnitude
                changed = true;
            }
            codes[j] = code;
        }
        if (changed) {
            pack_row(bits, codes.data(), q.cols, packed);
        }
    }
}

}  // namespace fpq
