// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Eight E2M1 codes of one packed word to four pairs of 16-bit floats, and scale bytes
// to multipliers, by masks and shifts alone. The pairs are (k, k + 4), k = 0..3; the decoded value
// is exact up to a power of two that the caller folds into its epilogue. Host and device.
#pragma once

#include <cstdint>

#include "fpq/core/bits.hpp"
#include "fpq/core/config.hpp"
#include "fpq/cuda/ptx/byte_permute.cuh"
#include "fpq/format/block.hpp"

namespace fpq::cuda {

/// Pair k of a word: code k in the low half, code k + 4 in the high half.
struct four_pairs {
    std::uint32_t pair[4];
};

/// Bits of `a` where `mask` is 1, else of `b`: one instruction, which the compiler would otherwise
/// merge with its neighbours into more.
FPQ_HD inline std::uint32_t choose_bits(std::uint32_t mask, std::uint32_t a,
                                        std::uint32_t b) noexcept {
#if defined(__CUDA_ARCH__)
    std::uint32_t out;
    asm("lop3.b32 %0, %1, %2, %3, 0xE4;" : "=r"(out) : "r"(a), "r"(b), "r"(mask));
    return out;
#else
    return (a & mask) | (b & ~mask);
#endif
}

/// bf16 pairs of value * 2^-126: the code's exponent and mantissa bits stand in the lowest places
/// of bf16's exponent and highest of its mantissa, so that E2M1's subnormal is bf16's subnormal.
FPQ_HD constexpr four_pairs e2m1_to_bf16_pairs(std::uint32_t word) noexcept {
    // A nibble s,e,e,m times (2^a + 2^b) stands at two places without a carry between them.
    constexpr std::uint32_t keep = 0x81C081C0u;
    std::uint32_t const upper = word >> 8;
    return {{((word & 0x000F000Fu) * 0x1040u) & keep, ((word & 0x00F000F0u) * 0x0104u) & keep,
             ((upper & 0x000F000Fu) * 0x1040u) & keep, ((upper & 0x00F000F0u) * 0x0104u) & keep}};
}

/// fp16 pairs of value * 2^-14. All that is not zero lies in the upper byte of each half, so four
/// codes are decoded at once, one a byte, and the bytes then spread over two words.
FPQ_HD inline four_pairs e2m1_to_fp16_pairs(std::uint32_t word) noexcept {
    constexpr std::uint32_t magnitude = 0x0E0E0E0Eu;
    std::uint32_t const even =
        choose_bits(magnitude, word << 1, choose_bits(0x08080808u, word, 0) << 4);
    std::uint32_t const odd = choose_bits(magnitude, word >> 3, word & 0x80808080u);
    return {{permute_bytes(even, 0, 0x2404), permute_bytes(odd, 0, 0x2404),
             permute_bytes(even, 0, 0x3414), permute_bytes(odd, 0, 0x3414)}};
}

/// Where the multiplier of a scale stands: decoded code * multiplier = value * scale * 2^shift.
/// NVFP4: exact for every finite scale. MXFP4: exact for scales within [least, most]; a larger one
/// saturates to `most`, a smaller one may flush to zero.
struct decode_range {
    int shift;      // the epilogue multiplies by 2^-shift
    int least = 0;  // log2 of the least exact scale, E8M0 only
    int most = 0;   // log2 of the largest scale, E8M0 only
};

inline constexpr decode_range nvfp4_bf16_range{-8};
inline constexpr decode_range nvfp4_fp16_range{-7};
inline constexpr decode_range mxfp4_bf16_range{-64, -68, 65};
inline constexpr decode_range mxfp4_fp16_range{-5, -18, 6};

/// The bf16 multiplier (in both halves) of an E8M0 byte: 2^(byte - 127 + 126 + shift); NaN stays.
FPQ_HD constexpr std::uint32_t e8m0_to_bf16_multiplier(std::uint32_t byte) noexcept {
    std::uint32_t const field = byte + 62u;  // 127 - 127 + 126 - 64
    std::uint32_t const held = field > 254u ? 254u : field;
    return byte == 255u ? 0x7FC07FC0u : held * 0x00800080u;
}

/// The fp16 multiplier of an E8M0 byte: 2^(byte - 127 + 14 + shift); NaN stays.
FPQ_HD constexpr std::uint32_t e8m0_to_fp16_multiplier(std::uint32_t byte) noexcept {
    std::uint32_t const field = byte > 103u ? byte - 103u : 0u;  // 15 - 127 + 14 - 5 = -103
    std::uint32_t const held = field > 30u ? 30u : field;
    return byte == 255u ? 0x7E007E00u : held * 0x04000400u;
}

}  // namespace fpq::cuda
