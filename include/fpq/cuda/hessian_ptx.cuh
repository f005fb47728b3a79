// SPDX-License-Identifier: Apache-2.0
// Wing cuda. The instructions of sm_90a that the Hessian kernel is made of, one a function:
// barriers in shared memory, the bulk tensor copy, warpgroup MMA. PTX ISA 9.0, sections 9.7.13.15
// (mbarrier), 9.7.9.27 (cp.async.bulk.tensor), 9.7.15 (wgmma).
#pragma once

#include <cuda.h>

#include <cstdint>

namespace fpq::cuda::hessian_ptx {

__device__ inline std::uint32_t shared_address(void const* p) {
    return static_cast<std::uint32_t>(__cvta_generic_to_shared(p));
}

__device__ inline void barrier_init(std::uint32_t barrier, std::uint32_t arrivals) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals));
}
/// Makes the initialisations visible to the copy engine.
__device__ inline void barrier_init_fence() {
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
/// One arrival, and `bytes` more to come from the copy engine.
__device__ inline void barrier_expect(std::uint32_t barrier, std::uint32_t bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes)
                 : "memory");
}
__device__ inline void barrier_arrive(std::uint32_t barrier) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}
/// Waits until the phase of the given parity is over.
__device__ inline void barrier_wait(std::uint32_t barrier, std::uint32_t parity) {
    asm volatile(
        "{\n.reg .pred done;\n"
        "again:\n"
        "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
        "@done bra over;\n"
        "bra again;\n"
        "over:\n}" ::"r"(barrier),
        "r"(parity)
        : "memory");
}

/// The box of a two-dimensional tensor at (x, y) to shared memory of this block.
__device__ inline void copy_box(std::uint32_t to, CUtensorMap const* map, std::uint32_t x,
                                std::uint32_t y, std::uint32_t barrier) {
    asm volatile(
        "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
        "[%0], [%1, {%2, %3}], [%4];" ::"r"(to),
        "l"(map), "r"(x), "r"(y), "r"(barrier)
        : "memory");
}
/// Asks for the line of a global address to be in the L2 cache soon.
__device__ inline void prefetch(void const* p) {
    asm volatile("prefetch.global.L2 [%0];" ::"l"(p));
}

template <int Count>
__device__ inline void registers_fewer() {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(Count));
}
template <int Count>
__device__ inline void registers_more() {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(Count));
}

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

#define FPQ_HESSIAN_8(d, i)                                                                     \
    "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), \
        "+f"(d[i + 6]), "+f"(d[i + 7])

/// d (64 x 128, the warpgroup's fragments) = a^T b + (keep ? d : 0), 16 tokens of bf16; both
/// operands with their columns contiguous ("MN-major").
__device__ inline void mma_64x128x16(float (&d)[64], std::uint64_t a, std::uint64_t b, int keep) {
    asm volatile(
        "{\n.reg .pred p;\n"
        "setp.ne.b32 p, %66, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 "
        "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
        "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
        "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
        "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "
        "%64, %65, p, 1, 1, 1, 1;\n}"
        : FPQ_HESSIAN_8(d, 0), FPQ_HESSIAN_8(d, 8), FPQ_HESSIAN_8(d, 16), FPQ_HESSIAN_8(d, 24),
          FPQ_HESSIAN_8(d, 32), FPQ_HESSIAN_8(d, 40), FPQ_HESSIAN_8(d, 48), FPQ_HESSIAN_8(d, 56)
        : "l"(a), "l"(b), "r"(keep));
}

#undef FPQ_HESSIAN_8

}  // namespace fpq::cuda::hessian_ptx
