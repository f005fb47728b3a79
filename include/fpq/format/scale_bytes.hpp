// SPDX-License-Identifier: Apache-2.0
// Floor 1. From the statistics of one group to its stored scale byte, host and device: E4M3 bytes
// of NVFP, and the fixed E8M0 rules of E2M1 and E4M3 elements without double arithmetic and
// branches (stored_scale.hpp has them for every element; tests hold the two together bit for
// bit). Sources: OCP MX 1.0 section 6.3; QuTLASS (abs_max, quest).
#pragma once

#include <cstdint>

#include "fpq/core/bits.hpp"
#include "fpq/core/config.hpp"
#include "fpq/core/rounded.hpp"
#include "fpq/format/block.hpp"
#include "fpq/format/minifloat.hpp"
#include "fpq/format/scale_rule.hpp"

namespace fpq {

/// True when `format` has the rule: E8M0's fixed rules need such scales; abs_max and quest are for
/// E2M1 with E4M3 or E8M0 scales, four_over_six for E2M1 with E4M3 scales; minmax, mse and sweep
/// are for all.
FPQ_HD constexpr bool has_rule(quant_format const& format, scale_rule rule) noexcept {
    bool const four_bits = format.element == element_kind::e2m1 && format.symmetric;
    if (is_e8m0_rule(rule)) {
        return format.scale == scale_kind::e8m0;
    }
    if (rule == scale_rule::abs_max || rule == scale_rule::quest) {
        return four_bits && format.scale != scale_kind::fp16;
    }
    return rule != scale_rule::four_over_six || (four_bits && format.scale == scale_kind::e4m3);
}

/// E4M3 maximum times E2M1 maximum: the amplitude that global scale 1 can hold.
inline constexpr double nvfp_range = 448.0 * 6.0;

/// 2688 / amax, or the largest power of two not above it. amax zero or not finite: 1.
/// The result is at most 2^126, so that its reciprocal stays normal.
FPQ_HD inline float nvfp_global_scale(float amax, bool pow2) noexcept {
    float const size = magnitude(amax);
    if (size == 0.0F || !is_finite(size)) {
        return 1.0F;
    }
    double const exact = 2688.0 / static_cast<double>(size);
    if (exact >= 0x1p126) {
        return 0x1p126F;
    }
    if (!pow2) {
        return static_cast<float>(exact);
    }
    int e = floor_log2(static_cast<float>(exact));
    // The float may have been rounded up to the power of two: take the octave of the quotient.
    if (static_cast<double>(exp2_int(e)) * static_cast<double>(size) > 2688.0) {
        --e;
    }
    return exp2_int(e);
}
static_assert(nvfp_range == 2688.0);

/// Stored byte of an all-zero NVFP group: 1.0. Positive and finite for every reader.
inline constexpr std::uint8_t nvfp_zero_group = 0x38;
/// QuTLASS's quest: standard deviations that the largest code stands for, over that code.
inline constexpr float quest_factor = 2.92247856F / 6.0F;
inline constexpr float qutlass_epsilon = 1e-8F;

/// Nearest E4M3 byte of x >= 0, at most 448 (NaN too).
FPQ_HD inline std::uint8_t e4m3_byte(float x) noexcept {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 890
    std::uint16_t pair;
    asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(0.0F), "f"(fminf(x, 448.0F)));
    return static_cast<std::uint8_t>(pair);
#else
    return e4m3::encode(x < e4m3::max ? x : e4m3::max);
#endif
}

/// NVFP4 byte of a real-valued scale: nearest of scale * G, never 0.
FPQ_HD inline std::uint8_t nv_byte(float scale, float global) noexcept {
    std::uint8_t const byte = e4m3_byte(mul_rn(scale, global));
    return byte == 0 ? std::uint8_t{1} : byte;
}

/// NVFP4 byte of a group with maximum a by minmax or abs_max.
FPQ_HD inline std::uint8_t nv_byte_of_maximum(scale_rule method, float a, float global) noexcept {
    if (method == scale_rule::abs_max) {
        return e4m3_byte(mul_rn(div_rn(a, 6.0F), global));
    }
    return a == 0.0F ? nvfp_zero_group : nv_byte(div_rn(a, 6.0F), global);
}

/// Every fixed E8M0 rule is one shape: byte = exponent field of t, t = (a + plus) * mult, one more
/// where the significand of t reaches what `add` carries over, plus an offset.
struct mx_rule_constants {
    float zero;         // the maximum that an all-zero group counts as
    float plus;         // added to the maximum
    float mult;         // 1 or the global scale
    std::uint32_t add;  // added to the bits of t
    int offset;         // added to its exponent field
};

/// The constants of `method` for E2M1 or E4M3 elements and global scale `global`.
FPQ_HD inline mx_rule_constants mx_constants(scale_rule method, bool wide_element,
                                             float global) noexcept {
    float const high = wide_element ? e4m3::max : e2m1::max;
    int const octave = wide_element ? 8 : 2;
    switch (method) {
        case scale_rule::floor:
            return {high, 0.0F, global, 0u, -octave};
        case scale_rule::ceil:  // beyond 1.5 (1.75) octaves the next scale is needed
            return {high, 0.0F, global, wide_element ? 0x1FFFFFu : 0x3FFFFFu, -octave};
        case scale_rule::even:  // from 1.75 (1.9375) on the maximum rounds to the next octave
            return {high, 0.0F, global, wide_element ? 0x080000u : 0x200000u, -octave};
        case scale_rule::abs_max:
            return {0.0F, qutlass_epsilon, 1.0F, 0u, floor_log2(div_rn(global, 3.0F))};
        case scale_rule::quest:
            return {0.0F, 0.0F, global, 0u, 0};
        case scale_rule::minmax:
        case scale_rule::four_over_six:
        case scale_rule::sweep:
        case scale_rule::mse:
        case scale_rule::fp_quant:
        case scale_rule::divisor_7_25:
            break;  // fp_quant's, and no constants for those that search
    }
    return {high, 0.0F, 1.0F, 0u, 2 - octave + floor_log2(div_rn(global, 3.0F))};
}

/// E8M0 byte of a group with maximum a when neither a nor t is subnormal, infinite or NaN and the
/// result is in range: what mx_byte gives, in four instructions.
FPQ_HD inline std::uint32_t mx_byte_in_range(mx_rule_constants const& rule, float a) noexcept {
    float const t = mul_rn(add_rn(a == 0.0F ? rule.zero : a, rule.plus), rule.mult);
    return ((bits_of<std::uint32_t>(t) + rule.add) >> 23) + static_cast<std::uint32_t>(rule.offset);
}

/// E8M0 byte of a group with maximum a >= 0, any: clamped to 0..254; infinity gives 254.
FPQ_HD inline std::uint8_t mx_byte(mx_rule_constants const& rule, float a) noexcept {
    float t = mul_rn(add_rn(a == 0.0F ? rule.zero : a, rule.plus), rule.mult);
    if (!is_finite(t)) {
        return e8m0::max_code;
    }
    int lift = 0;
    if (t < 0x1p-60F) {
        t = mul_rn(t, 0x1p64F);
        lift = 64;
    }
    int const field = static_cast<int>((bits_of<std::uint32_t>(t) + rule.add) >> 23);
    int const byte = field + rule.offset - lift;
    return static_cast<std::uint8_t>(byte < 0 ? 0 : byte > e8m0::max_code ? e8m0::max_code : byte);
}

/// QuTLASS's quest before rounding: from the mean and the mean square of the group.
FPQ_HD inline float quest_scale(float mean, float mean_square) noexcept {
    float const variance = add_rn(mean_square, -mul_rn(mean, mean));
    float const deviation = variance < 0.0F ? 1.0F : sqrt_rn(variance);
    return add_rn(mul_rn(deviation, quest_factor), qutlass_epsilon);
}

}  // namespace fpq
