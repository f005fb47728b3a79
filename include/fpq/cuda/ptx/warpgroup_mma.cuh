// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Warpgroup MMA (PTX ISA 9.0, 9.7.15) with float32 sums: when it may begin and has
// ended, operands in shared memory, one function a shape and type. sm_90a.
#pragma once

#include <cstdint>

#include "fpq/core/half.hpp"

namespace fpq::cuda::sm90 {

__device__ inline void mma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ inline void mma_commit() {
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
/// Waits until at most `Pending` groups are under way.
template <int Pending>
__device__ inline void mma_wait() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(Pending) : "memory");
}

/// Descriptor of an operand that lies token by token, 64 columns (128 bytes) wide, in the 128-byte
/// swizzle: `chunk` bytes from 64 columns to the next 64, 1024 bytes from 8 tokens to the next 8.
__device__ inline std::uint64_t operand(std::uint32_t address, std::uint32_t chunk) {
    std::uint64_t const swizzle_128 = 1;
    // Only 18 bits of an address are within the block.
    return static_cast<std::uint64_t>((address & 0x3FFFFu) >> 4 | (chunk >> 4) << 16) |
           static_cast<std::uint64_t>(1024u >> 4) << 32 | swizzle_128 << 62;
}

// The places of the sums in the text of an instruction, and the sums themselves.
#define FPQ_TEXT_16 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15"
#define FPQ_TEXT_32 \
    FPQ_TEXT_16     \
    ", %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define FPQ_TEXT_64                                                                    \
    FPQ_TEXT_32                                                                        \
    ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, "    \
    "%47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, " \
    "%63"
#define FPQ_SUMS_8(d, i)                                                                        \
    "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), \
        "+f"(d[i + 6]), "+f"(d[i + 7])
#define FPQ_SUMS_16(d) FPQ_SUMS_8(d, 0), FPQ_SUMS_8(d, 8)
#define FPQ_SUMS_32(d) FPQ_SUMS_16(d), FPQ_SUMS_8(d, 16), FPQ_SUMS_8(d, 24)
#define FPQ_SUMS_64(d) \
    FPQ_SUMS_32(d), FPQ_SUMS_8(d, 32), FPQ_SUMS_8(d, 40), FPQ_SUMS_8(d, 48), FPQ_SUMS_8(d, 56)

/// d (64 x 128, the warpgroup's fragments) = a^T b + (keep ? d : 0), 16 tokens of bf16; both
/// operands with their columns contiguous ("MN-major").
__device__ inline void mma_64x128x16(float (&d)[64], std::uint64_t a, std::uint64_t b, int keep) {
    asm volatile(
        "{\n.reg .pred p;\n"
        "setp.ne.b32 p, %66, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 "
        "{" FPQ_TEXT_64 "}, %64, %65, p, 1, 1, 1, 1;\n}"
        : FPQ_SUMS_64(d)
        : "l"(a), "l"(b), "r"(keep));
}

/// add(d, a, b): d (64 x Columns, the warpgroup's fragments) += a (64 x 16, four registers a lane)
/// times b (Columns x 16 in shared memory, k contiguous, given by its descriptor).
template <class Half, int Columns>
struct warpgroup_mma;

// `count` sums a lane: Columns / 2; `left` and `right`: the places of a and b behind them.
#define FPQ_WARPGROUP_MMA(Half, name, columns, count, left, right)                                 \
    template <>                                                                                    \
    struct warpgroup_mma<Half, columns> {                                                          \
        static __device__ __forceinline__ void add(float (&d)[count], std::uint32_t const (&a)[4], \
                                                   std::uint64_t b) {                              \
            asm volatile(                                                                          \
                "{\n.reg .pred p;\nsetp.ne.b32 p, 1, 0;\n"                                         \
                "wgmma.mma_async.sync.aligned.m64n" #columns "k16.f32." name "." name              \
                " {" FPQ_TEXT_##count "}, {" left "}, " right ", p, 1, 1, 0;\n}"                   \
                : FPQ_SUMS_##count(d)                                                              \
                : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));                             \
        }                                                                                          \
    };
#define FPQ_WARPGROUP_MMAS(Half, name)                                 \
    FPQ_WARPGROUP_MMA(Half, name, 32, 16, "%16, %17, %18, %19", "%20") \
    FPQ_WARPGROUP_MMA(Half, name, 64, 32, "%32, %33, %34, %35", "%36") \
    FPQ_WARPGROUP_MMA(Half, name, 128, 64, "%64, %65, %66, %67", "%68")
FPQ_WARPGROUP_MMAS(bf16, "bf16")
FPQ_WARPGROUP_MMAS(fp16, "f16")

#undef FPQ_WARPGROUP_MMAS
#undef FPQ_WARPGROUP_MMA
#undef FPQ_SUMS_64
#undef FPQ_SUMS_32
#undef FPQ_SUMS_16
#undef FPQ_SUMS_8
#undef FPQ_TEXT_64
#undef FPQ_TEXT_32
#undef FPQ_TEXT_16

}  // namespace fpq::cuda::sm90
