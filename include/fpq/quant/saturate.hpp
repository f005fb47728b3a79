// SPDX-License-Identifier: Apache-2.0
// Floor 2. The end of float32: a legal scale times a legal code can lie beyond it.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "fpq/core/bits.hpp"
#include "fpq/core/half.hpp"
#include "fpq/format/element.hpp"
#include "fpq/format/pack.hpp"
#include "fpq/format/packed.hpp"
#include "fpq/quant/packed_matrix.hpp"

namespace fpq {

/// Below this maximum no block decodes to infinity, whatever the rule.
inline constexpr float largest_safe_maximum = 0x1p124F;

namespace detail {

/// Lowers every E4M3 scale under which a code decodes to infinity, in bf16 as clients decode it.
/// The scale was rounded up by a sixteenth at most, which costs less than the next smaller code.
inline void lower_scales_to_finite(packed_matrix& q) {
    packed_view const w = q.view();
    int const bits = element_bits(q.format.element);
    std::size_t const group = q.format.group_of(q.cols);
    for (std::size_t row = 0; row < q.rows; ++row) {
        std::uint8_t const* const packed = q.codes.data() + row * q.format.row_bytes(q.cols);
        for (std::size_t first = 0; first < q.cols; first += group) {
            float high = 0.0F;
            for (std::size_t j = first; j < std::min(q.cols, first + group); ++j) {
                high = std::max(high, std::fabs(decode_element(q.format.element,
                                                               packed_code(bits, packed, j))));
            }
            std::uint8_t& scale = q.scales[w.scale_index(row, first / group)];
            while (scale > 0 && !is_finite(round_to_bf16(high * w.step(row, first / group)))) {
                --scale;
            }
        }
    }
}

}  // namespace detail

/// With E8M0 scales, lowers every code that decodes to infinity to the largest of its sign that
/// does not; scales and all other codes stay. With E4M3 scales, lowers the scales of such codes.
/// Does nothing for other formats.
inline void saturate_to_finite(packed_matrix& q) {
    if (q.format.scale == scale_kind::e4m3 && q.format.symmetric &&
        q.format.grain == granularity::group) {
        detail::lower_scales_to_finite(q);
    }
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
