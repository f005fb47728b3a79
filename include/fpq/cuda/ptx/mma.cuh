// SPDX-License-Identifier: Apache-2.0
// Wing cuda. One function per instruction: the block-scaled E2M1 mma.sync of sm_120, ldmatrix,
// cp.async and packed 16-bit products. Sources: PTX ISA 9.1, sections 9.7.14.5 (mma), 9.7.14.5.15
// (ldmatrix), 9.7.9.25 (cp.async), 9.7.4 (half arithmetic).
#pragma once

#include <cstdint>

// The block-scaled mma exists for the sm_120 family targets (120a, 120f, 121a) and for no plain
// one.
#if defined(__CUDA_ARCH_FEAT_SM120_ALL) || defined(__CUDA_ARCH_FEAT_SM121_ALL)
#define FPQ_PTX_HAS_BLOCK_SCALED_MMA 1
#elif defined(__CUDA_ARCH_FAMILY_SPECIFIC__)
#if __CUDA_ARCH_FAMILY_SPECIFIC__ == 1200
#define FPQ_PTX_HAS_BLOCK_SCALED_MMA 1
#endif
#endif

namespace fpq::cuda::ptx {

#if defined(FPQ_PTX_HAS_BLOCK_SCALED_MMA)
/// d += a * b with E4M3 scales a group of 16 (NVFP4), m16n8k64; byte-id 0, thread-ids TA and TB.
template <int TA, int TB>
__device__ __forceinline__ void mma_nvfp4(float (&d)[4], std::uint32_t const (&a)[4],
                                          std::uint32_t const (&b)[2], std::uint32_t scale_a,
                                          std::uint32_t scale_b) {
    asm("mma.sync.aligned.m16n8k64.row.col.kind::mxf4nvf4.block_scale.scale_vec::4X"
        ".f32.e2m1.e2m1.f32.ue4m3 "
        "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3}, "
        "{%10}, {%11,%12}, {%13}, {%11,%14};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "r"(scale_a), "n"(0),
          "n"(TA), "r"(scale_b), "n"(TB));
}

/// d += a * b with E8M0 scales a group of 32 (MXFP4), m16n8k64; byte-ids BA, BB in {0, 2}.
template <int BA, int TA, int BB, int TB>
__device__ __forceinline__ void mma_mxfp4(float (&d)[4], std::uint32_t const (&a)[4],
                                          std::uint32_t const (&b)[2], std::uint32_t scale_a,
                                          std::uint32_t scale_b) {
    asm("mma.sync.aligned.m16n8k64.row.col.kind::mxf4.block_scale.scale_vec::2X"
        ".f32.e2m1.e2m1.f32.ue8m0 "
        "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3}, "
        "{%10}, {%11,%12}, {%13}, {%14,%15};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "r"(scale_a), "n"(BA),
          "n"(TA), "r"(scale_b), "n"(BB), "n"(TB));
}
#endif

/// Four 8x8 matrices of 16-bit units; lanes 8i..8i+7 give the rows of matrix i (16 bytes each).
__device__ __forceinline__ void ldmatrix_x4(std::uint32_t (&r)[4], std::uint32_t shared_address) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address));
}

/// The same, each matrix transposed.
__device__ __forceinline__ void ldmatrix_x4_transposed(std::uint32_t (&r)[4],
                                                       std::uint32_t shared_address) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address));
}

__device__ __forceinline__ std::uint32_t shared_address(void const* p) {
    return static_cast<std::uint32_t>(__cvta_generic_to_shared(p));
}

/// 16 bytes global -> shared past L1; `bytes` (0 or 16) are read, the rest is zero.
__device__ __forceinline__ void copy_async_16(std::uint32_t to, void const* from, int bytes) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes)
                 : "memory");
}

/// 8 bytes global -> shared; `bytes` (0 or 8) are read, the rest is zero.
__device__ __forceinline__ void copy_async_8(std::uint32_t to, void const* from, int bytes) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 8, %2;" ::"r"(to), "l"(from), "r"(bytes)
                 : "memory");
}

/// 4 bytes global -> shared; `bytes` (0 or 4) are read, the rest is zero.
__device__ __forceinline__ void copy_async_4(std::uint32_t to, void const* from, int bytes) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(to), "l"(from), "r"(bytes)
                 : "memory");
}

__device__ __forceinline__ void copy_async_commit() {
    asm volatile("cp.async.commit_group;" ::: "memory");
}

/// Waits until at most `Pending` of this thread's newest groups are under way.
template <int Pending>
__device__ __forceinline__ void copy_async_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(Pending) : "memory");
}

/// 16 bytes that no one reads again: read-only path, not kept in L1.
__device__ __forceinline__ uint4 load_stream_16(void const* from) {
    uint4 v;
    asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "l"(from));
    return v;
}

/// Lane-wise bf16 products, round to nearest even, subnormals kept (a fused add of -0 on sm_80).
__device__ __forceinline__ std::uint32_t mul_bf16x2(std::uint32_t a, std::uint32_t b) {
    std::uint32_t d;
    asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(0x80008000u));
    return d;
}

/// Lane-wise fp16 products, round to nearest even, subnormals kept.
__device__ __forceinline__ std::uint32_t mul_fp16x2(std::uint32_t a, std::uint32_t b) {
    std::uint32_t d;
    asm("mul.rn.f16x2 %0, %1, %2;" : "=r"(d) : "r"(a), "r"(b));
    return d;
}

/// threadIdx.x, read anew: what is computed from it is not kept in registers from one use to the
/// next.
__device__ __forceinline__ std::uint32_t thread_read_anew() {
    std::uint32_t thread;
    asm volatile("mov.u32 %0, %%tid.x;" : "=r"(thread));
    return thread;
}

/// 2^x to within 2 units in the last place, subnormal results as 0 (PTX ISA 9.1, ex2).
__device__ __forceinline__ float exp2_approximate(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

/// Lets the next kernel of the stream start, where it was launched for that (sm_90 and later).
__device__ __forceinline__ void allow_next_kernel() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

/// Waits for the kernels before this one; at once where it was launched the ordinary way.
__device__ __forceinline__ void wait_for_previous_kernel() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

}  // namespace fpq::cuda::ptx
