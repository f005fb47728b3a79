// SPDX-License-Identifier: Apache-2.0
// Floor 1. From a real-valued scale to the stored one: E4M3 bytes of NVFP, the E8M0 rules of MX,
// fp16, and the global scales. Pure functions of one group; nothing here looks at the weights.
// Sources: OCP MX 1.0 section 6.3; the quantizers of FP-Quant and compressed-tensors.
#pragma once

#include <cstdint>

#include "fpq/core/bits.hpp"
#include "fpq/core/config.hpp"
#include "fpq/core/half.hpp"
#include "fpq/core/rounded.hpp"
#include "fpq/format/block.hpp"
#include "fpq/format/grid_rule.hpp"
#include "fpq/format/packed.hpp"
#include "fpq/format/scale_bytes.hpp"
#include "fpq/format/scale_rule.hpp"

namespace fpq {

/// FP-Quant's mse observer: steps, and the part of the scale that the last step has lost.
inline constexpr int mse_steps = 100;
inline constexpr double mse_max_shrink = 0.8;
/// fp16 sweep: candidates are minmax * 2^(i / 35), i in [-96, 42], that is 0.15 to 2.3 in steps of
/// 2 %, then 16 steps of 0.25 % around the best.
inline constexpr int fp16_steps_an_octave = 35;
inline constexpr int fp16_lowest = -96;
inline constexpr int fp16_highest = 42;
inline constexpr int fp16_refine = 8;
inline constexpr double fp16_refine_step = 0.0025;

/// The global scale that FP-Quant's MX rule is stored with.
inline constexpr float mx_fp_quant_global = 3.0F;

/// The global scale of a tensor with maximum `amax`: NVFP's, 3 for FP-Quant's MX rule, else 1.
FPQ_HD inline float default_global_scale(quant_format const& format, float amax, bool pow2,
                                         scale_rule rule) noexcept {
    if (format.scale == scale_kind::e4m3) {
        return nvfp_global_scale(amax, pow2);
    }
    return format.scale == scale_kind::e8m0 && rule == scale_rule::fp_quant ? mx_fp_quant_global
                                                                            : 1.0F;
}

/// The scale that minmax starts from, before any rounding: amax / max for floats,
/// 2 amax / (2^b - 1) for INT; 1 when amax is 0.
FPQ_HD inline float minmax_scale(element_kind kind, float amax) noexcept {
    if (amax == 0.0F) {
        return 1.0F;
    }
    if (is_integer(kind)) {
        return div_rn(2.0F * amax, static_cast<float>((1 << element_bits(kind)) - 1));
    }
    return div_rn(amax, element_max(kind));
}

/// 2^e as double, e in [-1022, 1023].
FPQ_HD constexpr double exp2_double(int e) noexcept {
    return bits_of<double>(static_cast<std::uint64_t>(e + 1023) << 52);
}

/// Least exponent e with limit * 2^e >= a, for finite positive a and limit.
FPQ_HD constexpr int ceil_exponent(float a, double limit) noexcept {
    int const e = floor_log2(a) - floor_log2(static_cast<float>(limit));
    return limit * exp2_double(e) >= static_cast<double>(a) ? e : e + 1;
}

/// E8M0 byte of a group with maximum `a` by one of the fixed rules. fp_quant expects
/// global_scale = 3 * 2^k; the other rules apply to a * global_scale. Clamps to 0..254.
/// a = 0 counts as the element's maximum, that is scale 1; infinity gives 254.
FPQ_HD inline std::uint8_t mx_scale_byte(scale_rule rule, grid_rule const& grid, float a,
                                         float global_scale) noexcept {
    float const amax = a == 0.0F ? grid.high : a;
    if (rule == scale_rule::fp_quant) {
        if (!is_finite(amax)) {
            return e8m0::max_code;
        }
        int const shift = floor_log2(div_rn(global_scale, mx_fp_quant_global));
        return e8m0::from_exponent(floor_log2(amax) - grid.max_exponent + 2 + shift);
    }
    float const stored = amax * global_scale;
    if (!is_finite(stored)) {
        return e8m0::max_code;
    }
    int const low = floor_log2(stored) - grid.max_exponent;
    if (rule == scale_rule::ceil) {
        return e8m0::from_exponent(ceil_exponent(stored, grid.high));
    }
    if (rule == scale_rule::divisor_7_25) {
        return e8m0::from_exponent(
            ceil_exponent(stored, static_cast<double>(grid.high) / 6.0 * 7.25));
    }
    if (rule == scale_rule::even) {
        // Rounding `a` to the element's mantissa bits, halves up, carries into the next octave.
        double const carry = 2.0 - 1.0 / static_cast<double>(2 << grid.mantissa);
        double const octave = exp2_double(floor_log2(stored));
        return e8m0::from_exponent(static_cast<double>(stored) >= carry * octave ? low + 1 : low);
    }
    return e8m0::from_exponent(low);
}

/// A group's scale as it will be stored, and what decoding makes of it.
struct group_scale {
    std::uint16_t stored;  // E4M3 or E8M0 byte, or fp16 bits
    std::uint8_t zero;     // asymmetric zero point
    float value;           // fl(scale / global_scale): the step of the codes
};

/// The group_scale of a stored pattern.
FPQ_HD inline group_scale decode_group_scale(scale_kind kind, std::uint16_t stored,
                                             std::uint8_t zero, float global_scale) noexcept {
    std::uint8_t const bytes[2] = {static_cast<std::uint8_t>(stored & 0xFFu),
                                   static_cast<std::uint8_t>(stored >> 8)};
    return {stored, zero, effective_scale(decode_scale(kind, bytes), global_scale)};
}

/// fp16 bits of scale * global_scale, nearest; the sign is kept, a magnitude that would become 0
/// is the least subnormal, one that would overflow is 65504.
FPQ_HD inline std::uint16_t store_fp16(float scale, float global_scale) noexcept {
    std::uint16_t const bits = to_fp16(scale * global_scale).bits;
    auto const sign = static_cast<std::uint16_t>(bits & 0x8000u);
    auto const rest = static_cast<std::uint16_t>(bits & 0x7FFFu);
    std::uint16_t const kept = rest == 0 ? std::uint16_t{1} : rest;
    return static_cast<std::uint16_t>(sign | (kept >= 0x7C00u ? 0x7BFFu : kept));
}

/// A scale before it is rounded to its stored precision.
struct base_scale {
    float scale;        // real-valued
    std::uint8_t zero;  // asymmetric zero point
};

/// The unrounded minmax scale of a group with values in [least, most], least <= 0 <= most.
/// Asymmetric: the range always holds 0, so that the zero point is a code:
/// scale = (most - least) / (2^b - 1), zero = rne(-least / scale).
FPQ_HD inline base_scale minmax_base_of(quant_format const& format, float least,
                                        float most) noexcept {
    float const amax = -least < most ? most : -least;
    if (format.symmetric || amax == 0.0F) {
        return {minmax_scale(format.element, amax), 0};
    }
    float const codes = static_cast<float>((1 << element_bits(format.element)) - 1);
    // Halved: max - min of two huge values would overflow.
    float const scale = 2.0F * div_rn(add_rn(0.5F * most, -0.5F * least), codes);
    float const ratio = div_rn(-least, scale);
    float const zero = nearest_rn(codes < ratio ? codes : ratio);
    return {scale, is_nan(zero) ? std::uint8_t{0} : static_cast<std::uint8_t>(zero)};
}

/// Rounds a real-valued scale (> 0) to the format's stored precision. `amax` is the maximum that
/// the scale stands for, which is what the E8M0 rules look at; 0 for an all-zero group. `mx`: how
/// an E8M0 scale follows from it.
FPQ_HD inline group_scale store_scale(quant_format const& format, grid_rule const& grid,
                                      float scale, float amax, std::uint8_t zero, scale_rule mx,
                                      float global_scale) noexcept {
    std::uint16_t stored = 0;
    switch (format.scale) {
        case scale_kind::e4m3:
            stored = amax == 0.0F ? nvfp_zero_group : nv_byte(scale, global_scale);
            break;
        case scale_kind::e8m0:
            stored = mx_scale_byte(mx, grid, amax, global_scale);
            break;
        case scale_kind::fp16:
            stored = store_fp16(scale, global_scale);
            break;
    }
    return decode_group_scale(format.scale, stored, zero, global_scale);
}

}  // namespace fpq
