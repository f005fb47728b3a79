// SPDX-License-Identifier: Apache-2.0
// Wing cuda. One PRMT: four bytes chosen from eight, with a host twin for tests.
#pragma once

#include <cstdint>

#include "fpq/core/config.hpp"

namespace fpq::cuda {

/// Byte i of the result is byte `nibble i of selector` of (b:a), a being bytes 0..3; a selector
/// nibble with bit 3 set spreads that byte's sign over the whole byte.
FPQ_HD inline std::uint32_t permute_bytes(std::uint32_t a, std::uint32_t b,
                                          std::uint32_t selector) noexcept {
#if defined(__CUDA_ARCH__)
    std::uint32_t out;
    asm("prmt.b32 %0, %1, %2, %3;" : "=r"(out) : "r"(a), "r"(b), "r"(selector));
    return out;
#else
    std::uint64_t const all = (std::uint64_t{b} << 32) | a;
    std::uint32_t out = 0;
    for (int i = 0; i < 4; ++i) {
        std::uint32_t const pick = (selector >> (4 * i)) & 15u;
        std::uint32_t const byte = static_cast<std::uint32_t>(all >> (8 * (pick & 7u))) & 0xFFu;
        std::uint32_t const sign = (byte & 0x80u) != 0 ? 0xFFu : 0u;
        out |= ((pick & 8u) != 0 ? sign : byte) << (8 * i);
    }
    return out;
#endif
}

}  // namespace fpq::cuda
