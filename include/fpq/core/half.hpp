// SPDX-License-Identifier: Apache-2.0
// Floor 0. bf16 and IEEE binary16 as storage types: widening is exact, narrowing rounds to nearest,
// ties to even. They do no arithmetic.
#pragma once

#include <cstdint>

#include "fpq/core/bits.hpp"
#include "fpq/core/config.hpp"

namespace fpq {

/// bfloat16: the upper half of a float32.
struct bf16 {
    std::uint16_t bits;
};

/// IEEE binary16.
struct fp16 {
    std::uint16_t bits;
};

static_assert(sizeof(bf16) == 2 && sizeof(fp16) == 2);

/// Exact.
FPQ_HD constexpr float to_float(bf16 x) noexcept {
    return bits_of<float>(static_cast<std::uint32_t>(x.bits) << 16);
}

/// Exact; NaN keeps its payload in the upper bits.
FPQ_HD constexpr float to_float(fp16 x) noexcept {
    std::uint32_t const sign = static_cast<std::uint32_t>(x.bits & 0x8000u) << 16;
    std::uint32_t const rest = x.bits & 0x7FFFu;
    if (rest >= 0x7C00u) {
        return bits_of<float>(sign | 0x7F800000u | ((rest & 0x3FFu) << 13));
    }
    if (rest >= 0x0400u) {
        return bits_of<float>(sign | ((rest << 13) + (112u << 23)));
    }
    float const subnormal = static_cast<float>(rest) * exp2_int(-24);
    return bits_of<float>(sign | bits_of<std::uint32_t>(subnormal));
}

/// Itself: for code that takes any of the three.
FPQ_HD constexpr float to_float(float x) noexcept { return x; }

/// Round to nearest even; overflow gives infinity; NaN stays NaN and becomes quiet.
FPQ_HD constexpr bf16 to_bf16(float x) noexcept {
    std::uint32_t const bits = bits_of<std::uint32_t>(x);
    if (is_nan(x)) {
        return {static_cast<std::uint16_t>((bits >> 16) | 0x0040u)};
    }
    return {static_cast<std::uint16_t>((bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16)};
}

/// Round to nearest even; overflow (from 65520) gives infinity; NaN stays NaN and becomes quiet.
FPQ_HD constexpr fp16 to_fp16(float x) noexcept {
    std::uint32_t const bits = bits_of<std::uint32_t>(x);
    auto const sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000u);
    std::uint32_t const rest = bits & 0x7FFFFFFFu;
    auto const with_sign = [sign](std::uint32_t low) {
        return fp16{static_cast<std::uint16_t>(sign | low)};
    };
    if (rest > 0x7F800000u) {
        return with_sign(0x7E00u | ((rest >> 13) & 0x3FFu));
    }
    if (rest >= 0x477FF000u) {  // 65520, the midpoint above 65504
        return with_sign(0x7C00u);
    }
    if (rest >= 0x38800000u) {  // 2^-14, the least normal
        std::uint32_t const rebased = rest - (112u << 23);
        return with_sign((rebased + 0x0FFFu + ((rebased >> 13) & 1u)) >> 13);
    }
    if (rest <= 0x33000000u) {  // 2^-25 ties to zero
        return with_sign(0);
    }
    int const shift = 126 - static_cast<int>(rest >> 23);
    std::uint64_t const significand = (rest & 0x7FFFFFu) | 0x800000u;
    return with_sign(static_cast<std::uint32_t>(shift_right_rne(significand, shift)));
}

/// The nearest bf16 value, as a float.
FPQ_HD constexpr float round_to_bf16(float x) noexcept { return to_float(to_bf16(x)); }

/// The nearest fp16 value, as a float.
FPQ_HD constexpr float round_to_fp16(float x) noexcept { return to_float(to_fp16(x)); }

}  // namespace fpq
