// SPDX-License-Identifier: Apache-2.0
// Floor 2. The plain loops on a run of groups within a row: what kernels leave to them (groups with
// NaN or infinity, scales at the ends of their range), and what kernels are compared with.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "fpq/core/half.hpp"
#include "fpq/core/view.hpp"
#include "fpq/format/pack.hpp"
#include "fpq/quant/rounding.hpp"
#include "fpq/quant/scale_search.hpp"

namespace fpq::kernels {

/// Writes a group's scale where it is stored, and its zero point when there is one.
inline void put_scale(group_scale const& s, std::size_t each, std::uint8_t* scale,
                      std::uint8_t* zero) noexcept {
    scale[0] = static_cast<std::uint8_t>(s.stored & 0xFFu);
    if (each == 2) {
        scale[1] = static_cast<std::uint8_t>(s.stored >> 8);
    }
    if (zero != nullptr) {
        *zero = s.zero;
    }
}

/// Scales, zero points (null if symmetric) and packed codes of x (n): groups of format.group, the
/// last one may be short. The codes start on a byte: format.group * bits is a multiple of 8, or
/// n is a whole row.
template <class T>
void plain_groups(T const* x, std::size_t n, quant_format const& format,
                  observer_options const& options, std::uint8_t* codes, std::uint8_t* scales,
                  std::uint8_t* zeros) {
    std::vector<float> w(n);
    std::transform(x, x + n, w.begin(), [](T v) { return to_float(v); });
    std::vector<std::uint8_t> unpacked(n);
    scale_search search(format, options, true);
    std::size_t const each = format.scale_bytes_each();
    for (std::size_t g = 0, first = 0; first < n; ++g, first += format.group) {
        std::size_t const count = std::min(format.group, n - first);
        search.load(as_view<float const>(w.data(), 1, n), first, count);
        group_scale const s = search.find();
        put_scale(s, each, scales + g * each, zeros == nullptr ? nullptr : zeros + g);
        encode_group(format.element, format.symmetric, w.data() + first, count, s.value, s.zero,
                     unpacked.data() + first);
    }
    pack_row(element_bits(format.element), unpacked.data(), n, codes);
}

}  // namespace fpq::kernels
