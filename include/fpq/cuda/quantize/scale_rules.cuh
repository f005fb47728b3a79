// SPDX-License-Identifier: Apache-2.0
// Wing cuda. From the statistics of one group to its stored scale byte, host and device. The rules
// of the CPU path (fpq/quant/stored_scale.hpp) are restated without double arithmetic and branches;
// tests hold the two together bit for bit.
#pragma once

#include <cstdint>

#include "fpq/core/bits.hpp"
#include "fpq/core/config.hpp"
#include "fpq/cuda/api/scale_rules.hpp"
#include "fpq/cuda/ptx/float_ops.cuh"
#include "fpq/format/minifloat.hpp"

namespace fpq::cuda {

/// Stored byte of an all-zero NVFP4 group: 1.0.
inline constexpr std::uint8_t nv_zero_group = 0x38;
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
    return a == 0.0F ? nv_zero_group : nv_byte(div_rn(a, 6.0F), global);
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
            break;  // no fixed constants, or no kernel: has_method() refuses these
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

/// 2688 / amax as fpq::nvfp_global_scale computes it, pow2: the largest power of two not above.
FPQ_HD inline float nv_global_scale(float amax, bool pow2) noexcept {
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
    if (static_cast<double>(exp2_int(e)) * static_cast<double>(size) > 2688.0) {
        --e;
    }
    return exp2_int(e);
}

}  // namespace fpq::cuda
