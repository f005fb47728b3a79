// SPDX-License-Identifier: Apache-2.0
// Floor 4. One value to a code and back under a given step and zero point, by the element type: the
// encode and decode rules of floor 1 and floor 2 in the form that a column loop wants.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fpq/format/block.hpp"
#include "fpq/format/element.hpp"
#include "fpq/quant/observer.hpp"
#include "fpq/quant/rounding.hpp"

namespace fpq::detail {

/// code = encode(fl(w / step)); value = fl(element * step).
template <class Element>
struct symmetric_codec {
    static std::uint8_t encode(float w, float step, std::uint8_t) noexcept {
        return Element::encode(w / step);
    }
    static float decode(std::uint8_t code, float step, std::uint8_t) noexcept {
        return Element::decode(code) * step;
    }
};

/// code = clamp(rne(fl(w / step)) + zero); value = fl((code - zero) * step).
template <int Bits>
struct asymmetric_codec {
    static std::uint8_t encode(float w, float step, std::uint8_t zero) noexcept {
        return encode_asymmetric(w / step, Bits, zero);
    }
    static float decode(std::uint8_t code, float step, std::uint8_t zero) noexcept {
        return static_cast<float>(int{code} - int{zero}) * step;
    }
};

/// The zero point of group g (0 for symmetric formats); one in all for granularity tensor.
inline std::uint8_t zero_at(scale_grid const& grid, std::size_t g) noexcept {
    if (grid.zeros.empty()) {
        return 0;
    }
    return grid.zeros[grid.zeros.size() == grid.value.size() ? g : 0];
}

/// Calls f with the codec of a format (empty; use decltype) and returns its result.
template <class F>
auto visit_codec(quant_format const& format, F&& f) {
    return visit_element(format.element, [&](auto element) {
        using type = decltype(element);
        if constexpr (requires { type::least; }) {
            if (!format.symmetric) {
                return f(asymmetric_codec<type::bits>{});
            }
        }
        return f(symmetric_codec<type>{});
    });
}

}  // namespace fpq::detail
