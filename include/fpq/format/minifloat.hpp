// SPDX-License-Identifier: Apache-2.0
// Floor 1. One encoder and one decoder for every small float, derived from a compile-time layout:
// E2M1, E2M3, E3M2 (OCP MX 1.0), E4M3 "fn" and E5M2 (OCP OFP8 1.0), and the scale-only E8M0.
// Rounding is to nearest, ties to even, saturating. It is not an arithmetic type.
#pragma once

#include <cstdint>

#include "fpq/core/bits.hpp"
#include "fpq/core/config.hpp"

namespace fpq {

/// What the codes with the largest exponent mean.
enum class specials : std::uint8_t {
    none,      ///< every code is finite (E2M1, E2M3, E3M2)
    nan_only,  ///< all ones is NaN, no infinity (E4M3 "fn")
    ieee,      ///< largest exponent holds infinity and NaN (E5M2)
};

/// A sign bit, then exponent, then mantissa; at most 8 bits in all.
struct float_layout {
    int exponent_bits;
    int mantissa_bits;
    int bias;
    specials special;
};

/// The codes of one layout. Values are exact in float.
template <float_layout L>
struct minifloat {
    static constexpr int exponent_bits = L.exponent_bits;
    static constexpr int mantissa_bits = L.mantissa_bits;
    static constexpr int bits = 1 + L.exponent_bits + L.mantissa_bits;
    static constexpr std::uint8_t sign_bit = static_cast<std::uint8_t>(1u << (bits - 1));
    /// The code of the largest finite value; codes 0..max_code are the non-negative finite values
    /// in ascending order.
    static constexpr std::uint8_t max_code = static_cast<std::uint8_t>(
        L.special == specials::none       ? sign_bit - 1
        : L.special == specials::nan_only ? sign_bit - 2
                                          : sign_bit - 1 - (1 << L.mantissa_bits));
    static constexpr bool has_nan = L.special != specials::none;
    static constexpr std::uint8_t nan_code = static_cast<std::uint8_t>(sign_bit - 1);
    static constexpr int min_exponent = 1 - L.bias;  // of the least normal value

    /// Exact. Codes above `bits` are ignored.
    FPQ_HD static constexpr float decode(std::uint8_t code) noexcept {
        std::uint32_t const low = code & static_cast<std::uint8_t>(sign_bit - 1);
        std::uint32_t const sign = (code & sign_bit) != 0 ? 0x80000000u : 0u;
        if (has_nan && low > max_code) {
            bool const infinite = L.special == specials::ieee && low == max_code + 1u;
            return bits_of<float>(sign | (infinite ? 0x7F800000u : 0x7FC00000u));
        }
        int const exponent = static_cast<int>(low >> L.mantissa_bits);
        std::uint32_t const mantissa = low & ((1u << L.mantissa_bits) - 1u);
        int const unit = (exponent == 0 ? min_exponent : exponent - L.bias) - L.mantissa_bits;
        std::uint32_t const significand =
            exponent == 0 ? mantissa : mantissa | (1u << L.mantissa_bits);
        float const value = static_cast<float>(significand) * exp2_int(unit);
        return bits_of<float>(sign | bits_of<std::uint32_t>(value));
    }

    static constexpr float max = decode(max_code);
    static constexpr float min_normal = exp2_int(min_exponent);
    static constexpr float min_subnormal = exp2_int(min_exponent - L.mantissa_bits);

    /// Nearest code, ties to even; magnitudes above max (infinity too) saturate to max; the sign of
    /// zero is kept. NaN gives the NaN code (its sign kept), or +max where the format has none,
    /// as the CUDA toolkit's saturating conversions do.
    FPQ_HD static constexpr std::uint8_t encode(float x) noexcept {
        std::uint32_t const all = bits_of<std::uint32_t>(x);
        std::uint32_t const rest = all & 0x7FFFFFFFu;
        std::uint8_t const sign = (all >> 31) != 0 ? sign_bit : std::uint8_t{0};
        if (rest > 0x7F800000u) {
            return has_nan ? static_cast<std::uint8_t>(sign | nan_code) : max_code;
        }
        if (rest >= bits_of<std::uint32_t>(max)) {
            return static_cast<std::uint8_t>(sign | max_code);
        }
        if (rest >= bits_of<std::uint32_t>(min_normal)) {
            constexpr int drop = 23 - L.mantissa_bits;
            std::uint32_t const rebased = rest - (static_cast<std::uint32_t>(127 - L.bias) << 23);
            std::uint32_t const rounded =
                (rebased + ((1u << (drop - 1)) - 1u) + ((rebased >> drop) & 1u)) >> drop;
            return static_cast<std::uint8_t>(sign | rounded);
        }
        // Below the least normal the grid is uniform: 2^23 units up, float addition rounds to even.
        constexpr float magic = exp2_int(23 + min_exponent - L.mantissa_bits);
        float const shifted = bits_of<float>(rest) + magic;
        return static_cast<std::uint8_t>(sign | (bits_of<std::uint32_t>(shifted) & 0xFFu));
    }

    /// False for the codes of NaN and infinity.
    FPQ_HD static constexpr bool is_finite_code(std::uint8_t code) noexcept {
        return (code & static_cast<std::uint8_t>(sign_bit - 1)) <= max_code;
    }
};

using e2m1 = minifloat<float_layout{2, 1, 1, specials::none}>;
using e2m3 = minifloat<float_layout{2, 3, 1, specials::none}>;
using e3m2 = minifloat<float_layout{3, 2, 3, specials::none}>;
using e4m3 = minifloat<float_layout{4, 3, 7, specials::nan_only}>;
using e5m2 = minifloat<float_layout{5, 2, 15, specials::ieee}>;

static_assert(e2m1::max == 6.0F && e2m3::max == 7.5F && e3m2::max == 28.0F);
static_assert(e4m3::max == 448.0F && e5m2::max == 57344.0F);
static_assert(e4m3::min_subnormal == 0x1p-9F && e5m2::min_subnormal == 0x1p-16F);

/// E8M0, the unsigned power-of-two scale of the MX formats: code c is 2^(c - 127), 255 is NaN.
struct e8m0 {
    static constexpr int bits = 8;
    static constexpr std::uint8_t max_code = 254;
    static constexpr std::uint8_t nan_code = 255;
    static constexpr int bias = 127;

    /// Exact; code 0 is the float subnormal 2^-127.
    FPQ_HD static constexpr float decode(std::uint8_t code) noexcept {
        return code == nan_code ? bits_of<float>(0x7FC00000u) : exp2_int(int{code} - bias);
    }
    /// The code of 2^exponent, clamped to [0, 254].
    FPQ_HD static constexpr std::uint8_t from_exponent(int exponent) noexcept {
        int const code = exponent + bias;
        return static_cast<std::uint8_t>(code < 0 ? 0 : code > max_code ? max_code : code);
    }
    /// Largest power of two not above |x|; NaN gives NaN, zero code 0, infinity code 254.
    FPQ_HD static constexpr std::uint8_t encode_floor(float x) noexcept {
        if (is_nan(x)) {
            return nan_code;
        }
        return from_exponent(floor_log2(x));
    }
    /// Least power of two not below |x|; NaN gives NaN, zero code 0, too large code 254.
    FPQ_HD static constexpr std::uint8_t encode_ceil(float x) noexcept {
        if (is_nan(x)) {
            return nan_code;
        }
        int const exponent = floor_log2(x);
        bool const exact = magnitude(x) <= exp2_int(exponent);
        return from_exponent(exact ? exponent : exponent + 1);
    }
    /// Nearest power of two on the linear axis (the significand 1.5 goes up); NaN gives NaN.
    FPQ_HD static constexpr std::uint8_t encode_nearest(float x) noexcept {
        if (is_nan(x)) {
            return nan_code;
        }
        int const exponent = floor_log2(x);
        bool const up = exponent >= -149 && magnitude(x) >= 1.5F * exp2_int(exponent);
        return from_exponent(up ? exponent + 1 : exponent);
    }
};

}  // namespace fpq
