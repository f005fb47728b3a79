// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Instructions of sm_90 that kernels fed by the copy engine are made of, one a function:
// barriers in shared memory, bulk copies, registers of a warpgroup. PTX ISA 9.0, sections
// 9.7.13.15 (mbarrier), 9.7.9.25 and 27 (bulk copies), 9.7.13.1 (bar), 9.7.13.4
// (clusters), 9.7.19.5 (setmaxnreg).
#pragma once

#include <cuda.h>

#include <cstdint>

namespace fpq::cuda::sm90 {

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

/// `bytes` (a multiple of 16) from global to shared memory of this block.
__device__ inline void copy_bytes(std::uint32_t to, void const* from, std::uint32_t bytes,
                                  std::uint32_t barrier) {
    asm volatile(
        "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::
            "r"(to),
        "l"(from), "r"(bytes), "r"(barrier)
        : "memory");
}

/// Waits for `Threads` threads at barrier `Id`.
template <int Id, int Threads>
__device__ inline void named_barrier() {
    asm volatile("bar.sync %0, %1;" ::"n"(Id), "n"(Threads) : "memory");
}

/// Waits for the 128 threads of a warpgroup at barrier `id`.
__device__ inline void group_barrier(std::uint32_t id) {
    asm volatile("bar.sync %0, 128;" ::"r"(id) : "memory");
}

}  // namespace fpq::cuda::sm90
