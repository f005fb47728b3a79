// SPDX-License-Identifier: Apache-2.0
// Floor 1. Round to nearest in the value domain: which grid value a scaled number becomes, without
// forming its code. Branch-free, so that a compiler vectorizes the loops of the scale searches.
// The codes themselves come from the elements, which are the oracle of this file.
#pragma once

#include <cstdint>

#include "fpq/core/bits.hpp"
#include "fpq/core/config.hpp"
#include "fpq/format/element.hpp"

namespace fpq {

/// An element's grid as the rounding loops need it.
struct grid_rule {
    bool integer;                 // spacing 1 everywhere
    float low;                    // least value
    float high;                   // largest value
    float min_normal;             // floats: below it the spacing stays
    float smallest;               // least positive value
    int mantissa;                 // explicit mantissa bits (INT: bits - 2, only for MX rounding)
    int max_exponent;             // floor(log2(high))
    std::uint32_t spacing_shift;  // (23 - mantissa) << 23: from an octave to 2^23 spacings

    /// The larger of |low| and high.
    [[nodiscard]] FPQ_HD constexpr float reach() const noexcept {
        return -low > high ? -low : high;
    }
};

/// The grid of a symmetric element.
constexpr grid_rule rule_of(element_kind kind) noexcept {
    return visit_element(kind, [kind](auto element) {
        using type = decltype(element);
        grid_rule rule{};
        rule.integer = is_integer(kind);
        rule.high = type::max;
        rule.max_exponent = element_max_exponent(kind);
        if constexpr (requires { type::least; }) {
            rule.low = static_cast<float>(type::least);
            rule.min_normal = rule.smallest = 1.0F;
            rule.mantissa = type::bits - 2;
        } else {
            rule.low = -type::max;
            rule.min_normal = type::min_normal;
            rule.smallest = type::min_subnormal;
            rule.mantissa = type::mantissa_bits;
        }
        rule.spacing_shift = static_cast<std::uint32_t>(23 - rule.mantissa) << 23;
        return rule;
    });
}

/// The integer grid -zero .. 2^bits - 1 - zero: an asymmetric group's code minus its zero point.
FPQ_HD constexpr grid_rule with_zero(grid_rule rule, int bits, int zero) noexcept {
    rule.low = static_cast<float>(-zero);
    rule.high = static_cast<float>((1 << bits) - 1 - zero);
    return rule;
}
constexpr grid_rule rule_of_asymmetric(element_kind kind, int zero) noexcept {
    return with_zero(rule_of(kind), element_bits(kind), zero);
}

/// The grid value nearest to finite x: ties to the even code, saturating at both ends.
template <bool Integer>
FPQ_HD constexpr float snap(float x, grid_rule const& rule) noexcept {
    if constexpr (Integer) {
        float const low = x > rule.low ? x : rule.low;
        float const clamped = low < rule.high ? low : rule.high;
        // 1.5 * 2^23: floats around it are spaced by one.
        return (clamped + 12582912.0F) - 12582912.0F;
    } else {
        std::uint32_t const bits = bits_of<std::uint32_t>(x);
        float const size = bits_of<float>(bits & 0x7FFFFFFFu);
        float const clamped = size < rule.high ? size : rule.high;
        float const octave = clamped > rule.min_normal ? clamped : rule.min_normal;
        // 1.5 * 2^23 spacings of the octave that holds x: adding it rounds to that spacing.
        float const magic = bits_of<float>(
            ((bits_of<std::uint32_t>(octave) & 0x7F800000u) + rule.spacing_shift) | 0x00400000u);
        float const rounded = (clamped + magic) - magic;
        return bits_of<float>(bits_of<std::uint32_t>(rounded) | (bits & 0x80000000u));
    }
}

/// Unsigned code of an asymmetric group: clamp(rne(x) + zero, 0, 2^bits - 1); NaN gives `zero`.
FPQ_HD constexpr std::uint8_t encode_asymmetric(float x, int bits, int zero) noexcept {
    float const low = static_cast<float>(-zero);
    float const high = static_cast<float>((1 << bits) - 1 - zero);
    float const number = is_nan(x) ? 0.0F : x;
    float const clamped = number < low ? low : (number > high ? high : number);
    float const rounded = (clamped + 12582912.0F) - 12582912.0F;
    return static_cast<std::uint8_t>(static_cast<int>(rounded) + zero);
}

}  // namespace fpq
