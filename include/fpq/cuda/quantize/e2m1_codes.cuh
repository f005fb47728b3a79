// SPDX-License-Identifier: Apache-2.0
// Wing cuda. E2M1 codes by four float operations a value, without tables or the conversion
// instructions of newer cards: equal to fpq::e2m1::encode for every finite value.
//
// The grid 0, .5, 1, 1.5, 2, 3, 4 has spacing 1/2 below 2 and 1 from 2 on. Added to 2^23 - 2, a
// value below 2 lands where floats are 1/2 apart and one from 2 on where they are 1 apart, so that
// one addition rounds to the grid, ties to even, and neighbouring codes are neighbouring bit
// patterns. The last step, 4 to 6, is a second addition of half its excess over 4.
#pragma once

#include <cstdint>

#include "fpq/core/bits.hpp"
#include "fpq/core/config.hpp"
#include "fpq/cuda/ptx/byte_permute.cuh"
#include "fpq/cuda/ptx/float_ops.cuh"

namespace fpq::cuda {

/// 2^23 - 2 and its bits: what the magnitude code is counted from.
inline constexpr float e2m1_origin = 8388606.0F;
inline constexpr std::uint32_t e2m1_origin_bits = 0x4AFFFFFCu;
static_assert(bits_of<std::uint32_t>(e2m1_origin) == e2m1_origin_bits);

/// e2m1_origin_bits + code of |x|, for half = x / 2. NaN counts as 0.
FPQ_HD inline std::uint32_t e2m1_pattern(float half) noexcept {
    float const size = absolute(half);
    float const low = saturate(mul_rn(size, 0.5F));    // min(|x|, 4) / 4
    float const high = saturate(add_rn(size, -2.0F));  // (clamp(|x|, 4, 6) - 4) / 2
    return bits_of<std::uint32_t>(add_rn(fma_rn(low, 4.0F, e2m1_origin), high));
}

/// Eight magnitude codes in a word, value i in bits 4i..4i+2, from eight patterns.
FPQ_HD inline std::uint32_t pack_e2m1_patterns(std::uint32_t const (&pattern)[8]) noexcept {
    std::uint32_t sum = pattern[7];
    FPQ_UNROLL
    for (int i = 6; i >= 0; --i) {
        sum = sum * 16u + pattern[i];
    }
    return sum - e2m1_origin_bits * 0x11111111u;
}

/// `codes` with bit 4i+3 set where value i is negative; values 2i and 2i+1 are the low and the high
/// 16-bit half of pair[i], their signs in the top bits (bf16 or fp16).
FPQ_HD inline std::uint32_t with_signs_of_pairs(std::uint32_t codes,
                                                std::uint32_t const (&pair)[4]) noexcept {
    std::uint32_t const front = permute_bytes(pair[0], pair[1], 0xFBD9u);
    std::uint32_t const back = permute_bytes(pair[2], pair[3], 0xFBD9u);
    std::uint32_t const even = permute_bytes(front, back, 0x5410u);
    std::uint32_t const odd = permute_bytes(front, back, 0x7632u);
    std::uint32_t const both = (even & 0x0F0F0F0Fu) | (odd & 0xF0F0F0F0u);
    return (both & 0x88888888u) | codes;
}

/// The same for eight floats.
FPQ_HD inline std::uint32_t with_signs_of_floats(std::uint32_t codes, float const* x) noexcept {
    auto const bits = [x](int i) { return bits_of<std::uint32_t>(x[i]); };
    std::uint32_t const even = permute_bytes(permute_bytes(bits(0), bits(2), 0x00FBu),
                                             permute_bytes(bits(4), bits(6), 0x00FBu), 0x5410u);
    std::uint32_t const odd = permute_bytes(permute_bytes(bits(1), bits(3), 0x00FBu),
                                            permute_bytes(bits(5), bits(7), 0x00FBu), 0x5410u);
    std::uint32_t const both = (even & 0x0F0F0F0Fu) | (odd & 0xF0F0F0F0u);
    return (both & 0x88888888u) | codes;
}

}  // namespace fpq::cuda
