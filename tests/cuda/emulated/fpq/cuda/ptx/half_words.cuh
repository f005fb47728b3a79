// SPDX-License-Identifier: Apache-2.0
// Stands for the wing's header of this name in emulated blocks.
#pragma once

#include <cstdint>

#include "fpq/core/bits.hpp"
#include "fpq/core/half.hpp"

namespace fpq::cuda {

template <class Half>
struct half_words;

template <>
struct half_words<bf16> {
    static float low(std::uint32_t w) { return bits_of<float>(w << 16); }
    static float high(std::uint32_t w) { return bits_of<float>(w & 0xFFFF0000u); }
    static std::uint32_t pack(float lo, float hi) {
        return to_bf16(lo).bits | std::uint32_t{to_bf16(hi).bits} << 16;
    }
};

}  // namespace fpq::cuda
