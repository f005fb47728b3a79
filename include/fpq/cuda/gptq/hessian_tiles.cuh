// SPDX-License-Identifier: Apache-2.0
// Wing cuda. The lower half of X^T X on sm_90a: warpgroup MMA fed by the bulk tensor copy. X lies
// token by token, so both operands have their columns contiguous; the MMA transposes as it reads.
//
// Grid: one block of 384 threads a multiprocessor. Warpgroup 0 copies;
// warpgroups 1 and 2 each own one tile of 128 x 128 in registers (2 x 64 x 128 floats).
// Shared memory: 4 stages of 64 tokens x three slots of 128 columns.
//
//   stage:  slot 0: rows' block 0 | slot 1: rows' block 1 | slot 2: columns' block (below only)
//
// A unit of 256 x 128 needs 48 KB a stage from the L2 cache. Clusters of two blocks that send each
// other their rows need 32 KB and were no faster, so that cache is not the limit.
#pragma once

#include <cuda.h>

#include <cstddef>
#include <cstdint>

#include "fpq/core/config.hpp"
#include "fpq/cuda/gptq/hessian_units.hpp"
#include "fpq/cuda/ptx/sm90.cuh"
#include "fpq/cuda/ptx/warpgroup_mma.cuh"

namespace fpq::cuda {

/// Sizes of the kernel.
struct hessian_stage {
    static constexpr std::uint32_t tokens = 64;            // a stage
    static constexpr std::uint32_t box = 64 * tokens * 2;  // bytes of 64 columns
    static constexpr std::uint32_t slot = 2 * box;         // bytes of 128 columns
    static constexpr std::uint32_t bytes = 3 * slot;
    static constexpr std::uint32_t count = 4;
    static constexpr std::uint32_t shared = count * bytes + 1024 + 2 * count * 8;
    static constexpr std::uint32_t threads = 384;
};
static_assert(hessian_stage::shared <= 227 * 1024);

namespace detail {

/// Asks for a warpgroup's tile of h at (row0, col0): 128 rows of 512 bytes, a row a thread.
__device__ inline void prefetch_hessian(float const* h, std::uint32_t n, std::uint32_t row0,
                                        std::uint32_t col0) {
    std::uint32_t const row = row0 + threadIdx.x % 128;
    float const* const line = h + static_cast<std::size_t>(row) * n;
    for (std::uint32_t c = col0; c < col0 + 128; c += 32) {
        if (row < n && c < n) {
            sm90::prefetch(line + c);
        }
    }
}

/// Adds a warpgroup's 64 x 128 fragments to h at (row0, col0), lower half only.
__device__ inline void store_hessian(float const (&d)[64], float* h, std::uint32_t n,
                                     std::uint32_t row0, std::uint32_t col0, bool accumulate) {
    std::uint32_t const thread = threadIdx.x % 128;
    std::uint32_t const row = row0 + 16 * (thread / 32) + thread % 32 / 4;
    std::uint32_t const col = col0 + 2 * (thread % 4);
    bool const whole = row0 >= col0 + 128 && row0 + 64 <= n && col0 + 128 <= n && n % 2 == 0;
    FPQ_UNROLL
    for (int half = 0; half < 2; ++half) {
        std::uint32_t const r = row + 8 * half;
        float* const line = h + static_cast<std::size_t>(r) * n + col;
        if (whole) {
            float2 old[16];
            FPQ_UNROLL
            for (int j = 0; j < 16; ++j) {
                old[j] = accumulate ? *reinterpret_cast<float2 const*>(line + 8 * j)
                                    : make_float2(0.0F, 0.0F);
            }
            FPQ_UNROLL
            for (int j = 0; j < 16; ++j) {
                *reinterpret_cast<float2*>(line + 8 * j) =
                    make_float2(old[j].x + d[4 * j + 2 * half], old[j].y + d[4 * j + 2 * half + 1]);
            }
            continue;
        }
        FPQ_UNROLL
        for (int j = 0; j < 16; ++j) {
            FPQ_UNROLL
            for (int i = 0; i < 2; ++i) {
                std::uint32_t const c = col + 8 * j + i;
                if (r < n && c <= r) {
                    float const old = accumulate ? line[8 * j + i] : 0.0F;
                    line[8 * j + i] = old + d[4 * j + 2 * half + i];
                }
            }
        }
    }
}

}  // namespace detail

/// h's lower half (n, n) += X^T X, or = when not `accumulate`. `map`: X as (tokens, n) bf16 in
/// boxes of 64 x 64, swizzled by 128 bytes, zero outside. `steps`: ceil(tokens / 64).
template <class Stage>
__global__ void __launch_bounds__(Stage::threads, 1)
    hessian_tiles_kernel(__grid_constant__ CUtensorMap const map, float* h, std::uint32_t n,
                         std::uint32_t steps, bool accumulate) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
    using stage = Stage;
    namespace ptx = sm90;
    extern __shared__ unsigned char raw[];
    std::uint32_t const base = (ptx::shared_address(raw) + 1023u) & ~1023u;
    std::uint32_t const full = base + stage::count * stage::bytes;
    std::uint32_t const empty = full + 8 * stage::count;
    hessian_units const units{(n + hessian_tile - 1) / hessian_tile};
    std::uint32_t const count = units.count();
    if (threadIdx.x == 0) {
        for (std::uint32_t s = 0; s < stage::count; ++s) {
            ptx::barrier_init(full + 8 * s, 1);
            ptx::barrier_init(empty + 8 * s, 8);  // one arrival a consumer warp
        }
        ptx::barrier_init_fence();
    }
    __syncthreads();

    constexpr std::uint32_t prefetch_ahead = 12;  // stages, about 6 us
    std::uint32_t s = 0;                          // the stage in hand
    std::uint32_t parity = 0;                     // of its phase
    auto const next_stage = [&] {
        s = s + 1 == stage::count ? 0 : s + 1;
        parity ^= s == 0 ? 1u : 0u;
    };

    // Through a shuffle, so that the compiler knows it to be the same in all lanes.
    std::uint32_t const warpgroup = __shfl_sync(0xFFFFFFFFu, threadIdx.x / 128, 0);
    if (warpgroup == 0) {
        ptx::registers_fewer<40>();
        auto const copy_slot = [&](std::uint32_t slot, std::uint32_t tile, std::uint32_t token) {
            std::uint32_t const to = base + s * stage::bytes + slot * stage::slot;
            ptx::copy_box(to, &map, tile * hessian_tile, token, full + 8 * s);
            ptx::copy_box(to + stage::box, &map, tile * hessian_tile + 64, token, full + 8 * s);
        };
        if (threadIdx.x == 0) {
            for (std::uint32_t u = blockIdx.x; u < count; u += gridDim.x) {
                hessian_unit const unit = units.at(u);
                bool const below = unit.kind == hessian_unit_kind::below;
                for (std::uint32_t step = 0; step < steps; ++step) {
                    std::uint32_t const token = step * stage::tokens;
                    ptx::barrier_wait(empty + 8 * s, parity ^ 1u);
                    ptx::barrier_expect(full + 8 * s, (below ? 3 : 2) * stage::slot);
                    copy_slot(0, unit.row[0], token);
                    copy_slot(1, unit.row[1], token);
                    if (below) {
                        copy_slot(2, unit.col[0], token);
                    }
                    next_stage();
                }
            }
        }
    } else {
        ptx::registers_more<232>();
        std::uint32_t const w = warpgroup - 1;
        bool const signals = threadIdx.x % 32 == 0;
        auto const release = [&](std::uint32_t which) {
            if (signals) {
                ptx::barrier_arrive(empty + 8 * which);
            }
        };
        for (std::uint32_t u = blockIdx.x; u < count; u += gridDim.x) {
            hessian_unit const unit = units.at(u);
            std::uint32_t const row = w == 0 ? unit.row[0] : unit.row[1];
            std::uint32_t const col = w == 0 ? unit.col[0] : unit.col[1];
            std::uint32_t const col_slot = unit.kind == hessian_unit_kind::below    ? 2
                                           : unit.kind == hessian_unit_kind::corner ? 0
                                                                                    : w;
            float d[2][64];
            for (std::uint32_t step = 0; step < steps; ++step) {
                ptx::barrier_wait(full + 8 * s, parity);
                std::uint32_t const at = base + s * stage::bytes;
                std::uint32_t const a = at + w * stage::slot;
                std::uint32_t const b = at + col_slot * stage::slot;
                ptx::mma_fence();
                FPQ_UNROLL
                for (std::uint32_t k = 0; k < stage::tokens / 16; ++k) {
                    std::uint64_t const right = ptx::operand(b + k * 2048, stage::box);
                    FPQ_UNROLL
                    for (std::uint32_t m = 0; m < 2; ++m) {
                        ptx::mma_64x128x16(d[m],
                                           ptx::operand(a + m * stage::box + k * 2048, stage::box),
                                           right, step != 0 || k != 0);
                    }
                }
                ptx::mma_commit();
                if (accumulate && step + prefetch_ahead == steps) {
                    detail::prefetch_hessian(h, n, row * hessian_tile, col * hessian_tile);
                }
                if (step != 0) {
                    ptx::mma_wait<1>();
                    release(s == 0 ? stage::count - 1 : s - 1);
                }
                next_stage();
            }
            ptx::mma_wait<0>();
            release(s == 0 ? stage::count - 1 : s - 1);
            if (row < units.tiles) {
                FPQ_UNROLL
                for (std::uint32_t m = 0; m < 2; ++m) {
                    detail::store_hessian(d[m], h, n, row * hessian_tile + 64 * m,
                                          col * hessian_tile, accumulate);
                }
            }
        }
    }
#else
    static_cast<void>(map);
    static_cast<void>(h);
    static_cast<void>(n);
    static_cast<void>(steps);
    static_cast<void>(accumulate);
    __trap();
#endif
}

}  // namespace fpq::cuda
