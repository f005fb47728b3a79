// SPDX-License-Identifier: Apache-2.0
// Wing cuda. One stage of the W4A4 mainloop in shared memory: how it is laid out, filled by
// cp.async and read back as fragments. Codes outside the matrix are zero, and so are the scales
// beyond the last group: what stands in padding bytes never matters.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fpq/cuda/gemm/lane_map.hpp"
#include "fpq/cuda/gemm/w4a4_args.hpp"
#include "fpq/cuda/ptx/mma.cuh"

namespace fpq::cuda {

template <class Tile, class Scales>
struct w4a4_stage {
    static constexpr int scale_tiles = Scales::per_k64 * 2 / 4;  // 128x4 tiles along k128
    static constexpr int a_bytes = Tile::m * Tile::row_bytes;
    static constexpr int b_bytes = Tile::n * Tile::row_bytes;
    static constexpr int scale_bytes = 512 * scale_tiles;
    static constexpr int a_at = 0;
    static constexpr int b_at = a_bytes;
    static constexpr int a_scales_at = b_at + b_bytes;
    static constexpr int b_scales_at = a_scales_at + scale_bytes;
    static constexpr int bytes = b_scales_at + scale_bytes;

    /// Begins to copy the k tile `kt` of the CTA's rows; ends up in this thread's open group.
    static __device__ __forceinline__ void fill(w4a4_args const& p, std::uint32_t stage,
                                                unsigned first_m, unsigned first_n, unsigned kt) {
        copy_codes<Tile::m>(p.a, p.m, p.k, first_m, kt, stage + a_at);
        copy_codes<Tile::n>(p.b, p.n, p.k, first_n, kt, stage + b_at);
        int const half = Tile::threads / 2;
        bool const second = static_cast<int>(threadIdx.x) >= half;
        unsigned const fours = (p.k / Scales::group + 3) / 4;  // scale tiles along k
        unsigned const row_block = (second ? first_n : first_m) / 128;
        std::uint8_t const* const from = second ? p.b_scales : p.a_scales;
        for (int i = static_cast<int>(threadIdx.x) % half; i < 32 * scale_tiles; i += half) {
            unsigned const four = kt * scale_tiles + static_cast<unsigned>(i) / 32;
            bool const there = four < fours;
            std::size_t const at =
                (static_cast<std::size_t>(row_block) * fours + (there ? four : 0)) * 512 +
                static_cast<unsigned>(i) % 32 * 16;
            ptx::copy_async_16(stage + (second ? b_scales_at : a_scales_at) + i * 16, from + at,
                               there ? 16 : 0);
        }
    }

    /// The A fragment of rows 16 * tile of the warp, k64 step `step`.
    static __device__ __forceinline__ void load_a(std::uint32_t (&r)[4], std::uint32_t stage,
                                                  int warp_row, int step) {
        unsigned const lane = threadIdx.x % 32;
        ptx::ldmatrix_x4(r,
                         stage + a_at + staged_piece(warp_row + lane % 16, 2 * step + lane / 16));
    }
    /// The B fragments of two n8 tiles from column `warp_col`.
    static __device__ __forceinline__ void load_b(std::uint32_t (&r)[4], std::uint32_t stage,
                                                  int warp_col, int step) {
        unsigned const lane = threadIdx.x % 32;
        ptx::ldmatrix_x4(
            r, stage + b_at +
                   staged_piece(warp_col + lane % 8 + lane / 16 * 8, 2 * step + lane / 8 % 2));
    }
    /// The register that holds this lane's scales of the 32 rows from `row` (within the 128 of the
    /// scale tile), k64 step `step`; bytes of groups that do not exist become zero.
    static __device__ __forceinline__ std::uint32_t load_scales(std::uint8_t const* scales, int row,
                                                                int step, std::uint32_t keep) {
        int const tile = scale_tiles == 2 ? step : 0;
        int const lane = static_cast<int>(threadIdx.x) % 32;
        return *reinterpret_cast<std::uint32_t const*>(
                   scales + tile * 512 + scale_row_of_lane(lane) * 16 + row / 32 * 4) &
               keep;
    }
    /// Which bytes of a scale register exist: all but in the last, ragged four groups.
    static __device__ __forceinline__ std::uint32_t existing_scales(w4a4_args const& p, unsigned kt,
                                                                    int step) {
        unsigned const groups = p.k / Scales::group;
        unsigned const first = 4 * (kt * scale_tiles + (scale_tiles == 2 ? step : 0));
        return first + 4 <= groups ? ~0u : first >= groups ? 0u : (1u << 8 * (groups - first)) - 1u;
    }

private:
    template <int Rows>
    static __device__ __forceinline__ void copy_codes(std::uint8_t const* from, unsigned rows,
                                                      unsigned k, unsigned first, unsigned kt,
                                                      std::uint32_t to) {
        unsigned const row_bytes = k / 2;
        bool const by_16 = k % 32 == 0;  // else rows start on 8 bytes only
#pragma unroll
        for (int i = static_cast<int>(threadIdx.x); i < Rows * 4; i += Tile::threads) {
            unsigned const row = i / 4;
            unsigned const piece = i % 4;
            unsigned const byte = kt * 64 + piece * 16;
            bool const there = first + row < rows && byte < row_bytes;
            std::uint8_t const* const source =
                from + (there ? static_cast<std::size_t>(first + row) * row_bytes + byte : 0);
            std::uint32_t const target = to + staged_piece(row, piece);
            if (by_16) {
                ptx::copy_async_16(target, source, there ? 16 : 0);
            } else {
                bool const second = there && byte + 8 < row_bytes;
                ptx::copy_async_8(target, source, there ? 8 : 0);
                ptx::copy_async_8(target + 8, source + (second ? 8 : 0), second ? 8 : 0);
            }
        }
    }
};

}  // namespace fpq::cuda
