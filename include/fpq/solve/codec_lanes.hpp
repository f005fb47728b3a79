// SPDX-License-Identifier: Apache-2.0
// Floor 4. codec.hpp for several rows at once: loops of fixed length without branches, which
// compilers vectorize for whatever the target has. The same bits as codec.hpp, its oracle.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>

#include "fpq/core/bits.hpp"
#include "fpq/solve/codec.hpp"

namespace fpq::detail {

/// Rows that are rounded together: one cache line of float.
inline constexpr std::size_t codec_lanes = 16;

/// One column of codec_lanes rows, as codes and as the values that they decode to.
struct rounded_lanes {
    std::int32_t code[codec_lanes];
    float value[codec_lanes];
};

/// codec.hpp's encode and decode, row by row.
template <class Codec>
void round_lanes_plain(float const* w, float const* step, std::uint8_t const* zero,
                       rounded_lanes& out) noexcept {
    for (std::size_t r = 0; r < codec_lanes; ++r) {
        std::uint8_t const code = Codec::encode(w[r], step[r], zero[r]);
        out.code[r] = code;
        out.value[r] = Codec::decode(code, step[r], zero[r]);
    }
}

/// a where mask is all ones, b where it is 0.
constexpr std::int32_t choose(std::int32_t mask, std::int32_t a, std::int32_t b) noexcept {
    return (a & mask) | (b & ~mask);
}

/// The same for a minifloat; false, and `out` is not to be used, when a quotient is NaN.
/// Signed integers and masks throughout: the baseline of x86-64 has no other vector comparison,
/// and compilers give up on a choice that looks like a branch.
template <class Element>
bool round_lanes_float(float const* w, float const* step, rounded_lanes& out) noexcept {
    constexpr int drop = 23 - Element::mantissa_bits;
    constexpr std::int32_t rebase = (126 + Element::min_exponent) << 23;
    constexpr std::int32_t half = (1 << (drop - 1)) - 1;
    constexpr float magic = exp2_int(23 + Element::min_exponent - Element::mantissa_bits);
    constexpr auto top = bits_of<std::int32_t>(Element::max);
    constexpr auto least = bits_of<std::int32_t>(Element::min_normal);
    float scaled[codec_lanes];
    float unit[codec_lanes];  // a copy: nothing that is written overlaps what is read
    for (std::size_t r = 0; r < codec_lanes; ++r) {
        unit[r] = step[r];
        scaled[r] = w[r] / unit[r];
    }
    std::int32_t code[codec_lanes];
    float value[codec_lanes];
    std::int32_t nan = 0;
    for (std::size_t r = 0; r < codec_lanes; ++r) {
        auto const all = bits_of<std::int32_t>(scaled[r]);
        std::int32_t const size = all & 0x7FFFFFFF;
        nan |= 0x7F800000 - size;  // negative for a NaN
        std::int32_t const clamped = size + ((top - size) & ((top - size) >> 31));
        std::int32_t const rebased = clamped - rebase;
        std::int32_t const normal = (rebased + half + ((rebased >> drop) & 1)) >> drop;
        std::int32_t const small = bits_of<std::int32_t>(bits_of<float>(clamped) + magic) & 0xFF;
        std::int32_t const low = choose((clamped - least) >> 31, small, normal);
        auto const value_small =
            bits_of<std::int32_t>(static_cast<float>(low) * Element::min_subnormal);
        // Below the least normal code the exponent field is 0.
        std::int32_t const subnormal = (low - (1 << Element::mantissa_bits)) >> 31;
        std::int32_t const size_out = choose(subnormal, value_small, (low << drop) + rebase);
        std::int32_t const sign = all & std::numeric_limits<std::int32_t>::min();
        code[r] = low | ((sign >> (32 - Element::bits)) & Element::sign_bit);
        value[r] = bits_of<float>(size_out | sign);
    }
    for (std::size_t r = 0; r < codec_lanes; ++r) {
        out.code[r] = code[r];
        out.value[r] = value[r] * unit[r];
    }
    return nan >= 0;
}

/// Rounds w[r] under step[r] and zero[r], r < codec_lanes; all arrays are that long.
template <class Codec>
struct lane_codec {
    static void round(float const* w, float const* step, std::uint8_t const* zero,
                      rounded_lanes& out) noexcept {
        round_lanes_plain<Codec>(w, step, zero, out);
    }
};

template <class Element>
requires requires { Element::sign_bit; }
struct lane_codec<symmetric_codec<Element>> {
    static void round(float const* w, float const* step, std::uint8_t const* zero,
                      rounded_lanes& out) noexcept {
        if (!round_lanes_float<Element>(w, step, out)) {
            round_lanes_plain<symmetric_codec<Element>>(w, step, zero, out);
        }
    }
};

}  // namespace fpq::detail
