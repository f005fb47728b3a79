// SPDX-License-Identifier: Apache-2.0
// Wing cuda. mma.sync m16n8k16 with bf16 or fp16 operands and float32 sums (PTX ISA 9.7.14.5.8),
// and the bits of +1 and -1 in both types. sm_80 and later.
#pragma once

#include <cstdint>

#include "fpq/core/half.hpp"

namespace fpq::cuda {

template <class Half>
struct half_mma;

template <>
struct half_mma<bf16> {
    static constexpr std::uint32_t one = 0x3F80u;
    /// c (16, 8) += a (16, 16) b (16, 8).
    __device__ static void add(float (&c)[4], std::uint32_t a0, std::uint32_t a1, std::uint32_t a2,
                               std::uint32_t a3, std::uint32_t b0, std::uint32_t b1) {
        asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
            "{%8,%9}, {%0,%1,%2,%3};"
            : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
            : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
    }
};

template <>
struct half_mma<fp16> {
    static constexpr std::uint32_t one = 0x3C00u;
    __device__ static void add(float (&c)[4], std::uint32_t a0, std::uint32_t a1, std::uint32_t a2,
                               std::uint32_t a3, std::uint32_t b0, std::uint32_t b1) {
        asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
            "{%8,%9}, {%0,%1,%2,%3};"
            : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
            : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
    }
};

}  // namespace fpq::cuda
