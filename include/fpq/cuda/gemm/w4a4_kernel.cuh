// SPDX-License-Identifier: Apache-2.0
// Wing cuda. W4A4: out (m, n) = alpha * A (m, k) * B (n, k)^T + bias, both operands packed E2M1
// with block scales in the 128x4 swizzle. One mainloop for every MMA atom, tile and format.
//
// Grid (n tiles, m tiles, k splits); a warp owns warp_m x warp_n outputs as m16n8k64 accumulators.
// Stages of 128 k arrive by cp.async. One 32-bit register a lane holds the scales of 32 rows: the
// lanes of a quad carry rows 8 apart, and the instruction's thread-id selects which of them it
// reads, so a warp of 64 x 64 loads four scale registers a k64 for its 32 instructions. Splits of
// k are added in order by the CTA that finishes last. On sm_120 the tensor cores set the limit for
// large m, memory for m <= 64.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "fpq/cuda/gemm/mma_atom.cuh"
#include "fpq/cuda/gemm/split_arrival.cuh"
#include "fpq/cuda/gemm/w4a4_stage.cuh"
#include "fpq/cuda/quantize/store_output.cuh"

namespace fpq::cuda {

namespace detail {

/// f(0), ..., f(N - 1) with the index as a type: the selectors of the instruction are immediates.
template <int I, int N, class F>
__device__ __forceinline__ void for_each_index(F&& f) {
    if constexpr (I < N) {
        f(std::integral_constant<int, I>{});
        for_each_index<I + 1, N>(f);
    }
}

/// 16 rows of a warp's sums; eight more floats a row keep stores free of bank conflicts.
template <class Tile>
struct w4a4_slab {
    float at[16][Tile::warp_n + 8];
};

}  // namespace detail

template <class Atom, class Tile>
__global__ void __launch_bounds__(Tile::threads) w4a4_kernel(w4a4_args const p) {
    using scales = typename Atom::kind;
    using stage = w4a4_stage<Tile, scales>;
    extern __shared__ __align__(128) std::uint8_t w4a4_shared[];
    std::uint32_t const base = ptx::shared_address(w4a4_shared);
    int const warp = static_cast<int>(threadIdx.x) / 32;
    int const lane = static_cast<int>(threadIdx.x) % 32;
    int const warp_m = warp % Tile::warps_m * Tile::warp_m;
    int const warp_n = warp / Tile::warps_m * Tile::warp_n;
    unsigned const first_n = blockIdx.x * Tile::n;
    unsigned const first_m = blockIdx.y * Tile::m;
    unsigned const all_k_tiles = (p.k + Tile::k - 1) / Tile::k;
    unsigned const first_kt = blockIdx.z * p.k_tiles_per_split;
    int const k_tiles = static_cast<int>(min(p.k_tiles_per_split, all_k_tiles - first_kt));
    int const scale_row = static_cast<int>(first_m % 128) + warp_m;

    float acc[Tile::m_tiles][Tile::n_tiles][4] = {};

    auto const multiply_step = [&](int slot, unsigned kt, auto step_constant) {
        constexpr int step = decltype(step_constant)::value;
        // MXFP4: the register of k128 serves both steps, by byte-id.
        constexpr int byte_id = stage::scale_tiles == 1 ? 2 * step : 0;
        std::uint32_t const at = base + slot * stage::bytes;
        std::uint8_t const* const bytes = w4a4_shared + slot * stage::bytes;
        std::uint32_t const keep = stage::existing_scales(p, kt, step);
        std::uint32_t a[Tile::m_tiles][4];
        std::uint32_t scale_a[(Tile::m_tiles + 1) / 2];
        std::uint32_t scale_b[Tile::n_tiles / 4];
#pragma unroll
        for (int i = 0; i < Tile::m_tiles; ++i) {
            stage::load_a(a[i], at, warp_m + 16 * i, step);
        }
#pragma unroll
        for (int i = 0; i < (Tile::m_tiles + 1) / 2; ++i) {
            scale_a[i] =
                stage::load_scales(bytes + stage::a_scales_at, scale_row + 32 * i, step, keep);
        }
#pragma unroll
        for (int j = 0; j < Tile::n_tiles / 4; ++j) {
            scale_b[j] =
                stage::load_scales(bytes + stage::b_scales_at, warp_n + 32 * j, step, keep);
        }
        typename Atom::a_operand rows[Tile::m_tiles];
        detail::for_each_index<0, Tile::m_tiles>([&](auto i) {
            constexpr int mi = decltype(i)::value;
            rows[mi] = Atom::template take_a<byte_id, mi % 2>(a[mi], scale_a[mi / 2]);
        });
        detail::for_each_index<0, Tile::n_tiles / 2>([&](auto pair) {
            std::uint32_t b[4];  // two n8 tiles
            stage::load_b(b, at, warp_n + 16 * decltype(pair)::value, step);
            detail::for_each_index<0, 2>([&](auto one) {
                constexpr int nj = 2 * decltype(pair)::value + decltype(one)::value;
                std::uint32_t const codes[2] = {b[nj % 2 * 2], b[nj % 2 * 2 + 1]};
                typename Atom::b_operand const cols =
                    Atom::template take_b<byte_id, nj % 4>(codes, scale_b[nj / 4]);
                detail::for_each_index<0, Tile::m_tiles>([&](auto i) {
                    constexpr int mi = decltype(i)::value;
                    Atom::template mma<byte_id, mi % 2, byte_id, nj % 4>(acc[mi][nj], rows[mi],
                                                                         cols);
                });
            });
        });
    };

    for (int s = 0; s < Tile::stages - 1; ++s) {
        if (s < k_tiles) {
            stage::fill(p, base + s * stage::bytes, first_m, first_n, first_kt + s);
        }
        ptx::copy_async_commit();
    }
    int slot = 0;
    for (int i = 0; i < k_tiles; ++i) {
        ptx::copy_async_wait<Tile::stages - 2>();
        __syncthreads();  // the stage is there for all, and the one refilled next is read by none
        int const ahead = i + Tile::stages - 1;
        int const next = slot == 0 ? Tile::stages - 1 : slot - 1;
        if (ahead < k_tiles) {
            stage::fill(p, base + next * stage::bytes, first_m, first_n, first_kt + ahead);
        }
        ptx::copy_async_commit();
        multiply_step(slot, first_kt + i, std::integral_constant<int, 0>{});
        multiply_step(slot, first_kt + i, std::integral_constant<int, 1>{});
        slot = slot + 1 == Tile::stages ? 0 : slot + 1;
    }

    // Sums go through shared memory, 16 rows of a warp at a time, so that rows leave whole.
    auto* const slab = reinterpret_cast<detail::w4a4_slab<Tile>*>(w4a4_shared) + warp;
    auto const for_each_output = [&](auto&& f) {
        __syncthreads();  // no warp reads the last stage any more
#pragma unroll
        for (int i = 0; i < Tile::m_tiles; ++i) {
#pragma unroll
            for (int j = 0; j < Tile::n_tiles; ++j) {
#pragma unroll
                for (int c = 0; c < 4; ++c) {
                    slab->at[m16n8k64::c_row(lane, c)][8 * j + m16n8k64::c_col(lane, c)] =
                        acc[i][j][c];
                }
            }
            __syncwarp();
#pragma unroll 1
            for (int e = lane; e < 16 * Tile::warp_n; e += 32) {
                unsigned const row = first_m + warp_m + 16 * i + e / Tile::warp_n;
                unsigned const col = first_n + warp_n + e % Tile::warp_n;
                if (row < p.m && col < p.n) {
                    f(row, col, slab->at[e / Tile::warp_n][e % Tile::warp_n]);
                }
            }
            __syncwarp();
        }
    };
    float const alpha = p.scale_of_output();
    bool const split = gridDim.z > 1;
    std::size_t const plane = std::size_t{p.m} * p.n;
    auto const finish = [&](unsigned row, unsigned col, float sum) {
        float const bias = p.bias != nullptr ? p.bias[col] : 0.0F;
        store_output(p.out, p.out_type, std::size_t{row} * p.n + col, alpha * sum + bias);
    };
    for_each_output([&](unsigned row, unsigned col, float sum) {
        if (split) {
            p.partials[blockIdx.z * plane + std::size_t{row} * p.n + col] = sum;
        } else {
            finish(row, col, sum);
        }
    });
    if (!split) {
        return;
    }

    // The last split to arrive adds all of them, in order.
    if (!last_split_to_arrive(p.counters + blockIdx.y * gridDim.x + blockIdx.x, gridDim.z)) {
        return;
    }
    for (unsigned e = threadIdx.x; e < Tile::m * Tile::n; e += Tile::threads) {
        unsigned const row = first_m + e / Tile::n;
        unsigned const col = first_n + e % Tile::n;
        if (row < p.m && col < p.n) {
            float sum = 0.0F;
            for (unsigned i = 0; i < gridDim.z; ++i) {
                sum += __ldcg(p.partials + i * plane + std::size_t{row} * p.n + col);
            }
            finish(row, col, sum);
        }
    }
}

/// Dynamic shared memory of the kernel, in bytes.
template <class Atom, class Tile>
constexpr int w4a4_shared_bytes() noexcept {
    constexpr int stages = Tile::stages * w4a4_stage<Tile, typename Atom::kind>::bytes;
    constexpr int slabs = Tile::threads / 32 * static_cast<int>(sizeof(detail::w4a4_slab<Tile>));
    return stages > slabs ? stages : slabs;
}
static_assert(w4a4_shared_bytes<hw_atom<nvfp4_scales>, w4a4_tile_16>() <= 101376);
static_assert(w4a4_shared_bytes<hw_atom<nvfp4_scales>, w4a4_tile_64>() <= 101376);

}  // namespace fpq::cuda
