// SPDX-License-Identifier: Apache-2.0
// Floor 0. Bit patterns of floats and exact powers of two, constexpr on host and device. Written on
// the compiler builtin because device code may not call std::bit_cast without an extra nvcc flag.
#pragma once

#include <cstdint>

#include "fpq/core/config.hpp"

namespace fpq {

/// The object representation of `from` as a `To` of the same size.
template <class To, class From>
FPQ_HD constexpr To bits_of(From from) noexcept {
    static_assert(sizeof(To) == sizeof(From));
    return __builtin_bit_cast(To, from);
}

/// True for NaN, decided on the bits (immune to finite-math flags of the including program).
FPQ_HD constexpr bool is_nan(float x) noexcept {
    return (bits_of<std::uint32_t>(x) & 0x7FFFFFFFu) > 0x7F800000u;
}

/// False for NaN and the infinities.
FPQ_HD constexpr bool is_finite(float x) noexcept {
    return (bits_of<std::uint32_t>(x) & 0x7F800000u) != 0x7F800000u;
}

/// |x| with the sign bit cleared.
FPQ_HD constexpr float magnitude(float x) noexcept {
    return bits_of<float>(bits_of<std::uint32_t>(x) & 0x7FFFFFFFu);
}

/// 2^e as float for e in [-149, 127]; 0 below and infinity above.
FPQ_HD constexpr float exp2_int(int e) noexcept {
    if (e > 127) {
        return bits_of<float>(0x7F800000u);
    }
    if (e >= -126) {
        return bits_of<float>(static_cast<std::uint32_t>(e + 127) << 23);
    }
    return e >= -149 ? bits_of<float>(1u << (e + 149)) : 0.0F;
}

/// floor(log2 |x|) of a finite non-zero float, subnormals included; -150 for zero.
FPQ_HD constexpr int floor_log2(float x) noexcept {
    std::uint32_t const bits = bits_of<std::uint32_t>(x) & 0x7FFFFFFFu;
    if (bits == 0) {
        return -150;
    }
    if (bits >= 0x00800000u) {
        return static_cast<int>(bits >> 23) - 127;
    }
    int e = -149;
    for (std::uint32_t rest = bits >> 1; rest != 0; rest >>= 1) {
        ++e;
    }
    return e;
}

/// x * 2^-shift rounded to nearest, ties to even; shift in [0, 63].
FPQ_HD constexpr std::uint64_t shift_right_rne(std::uint64_t x, int shift) noexcept {
    if (shift == 0) {
        return x;
    }
    std::uint64_t const half = std::uint64_t{1} << (shift - 1);
    std::uint64_t const odd = (x >> shift) & 1u;
    return (x + (half - 1) + odd) >> shift;
}

}  // namespace fpq
