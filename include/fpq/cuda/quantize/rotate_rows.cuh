// SPDX-License-Identifier: Apache-2.0
// Wing cuda. What a lane does in one turn of a walk over block rows: loads its 16 columns (twice 16
// for size 128) of two rows, and rotates one of them at a time. Device.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fpq/cuda/quantize/packed.cuh"
#include "fpq/cuda/quantize/rotate_mma.cuh"

namespace fpq::cuda {

inline constexpr unsigned rotate_threads = 128;

/// fl(1 / sqrt(Size)).
template <int Size>
inline constexpr float hadamard_norm = Size == 16   ? 0.25F
                                       : Size == 32 ? 0.17677669529663687F
                                       : Size == 64 ? 0.125F
                                                    : 0.08838834764831845F;

/// The lane's part of the 16 block rows that a warp takes in a turn.
template <class Half, int Size>
struct rotate_rows {
    static constexpr std::uint32_t halves = rotation_halves<Size>;

    std::uint32_t row[2];
    std::uint32_t seg[2];  // of the first half; the second is four further on
    half_segment x[2][halves];

    /// Places for row-major scales, or none.
    __device__ void place(rotation_map const& map, std::uint32_t warp, std::uint32_t lane) {
        FPQ_UNROLL
        for (std::uint32_t q = 0; q < 2; ++q) {
            block_place const at = map.template place<false>(warp, lane / 4 + 8 * q);
            row[q] = at.row;
            seg[q] = at.block * (4 * halves) + (lane & 3u);
        }
    }
    /// Loads what is inside a matrix of `rows` and `segs` segments a row; the rest is zero.
    __device__ void load(void const* from, std::size_t stride, std::uint32_t rows,
                         std::uint32_t segs) {
        FPQ_UNROLL
        for (std::uint32_t q = 0; q < 2; ++q) {
            auto const* const at =
                static_cast<std::uint16_t const*>(from) + row[q] * stride + seg[q] * segment;
            FPQ_UNROLL
            for (std::uint32_t h = 0; h < halves; ++h) {
                x[q][h].clear();
                if (row[q] < rows && seg[q] + 4 * h < segs) {
                    x[q][h].load(at + 64 * h);
                }
            }
        }
    }
    /// v = row q times the unnormalised matrix. All lanes of the warp enter.
    __device__ void rotate(std::uint32_t q, rotation_operand<Half, Size> const& operand,
                           float (&v)[halves][16]) const {
        FPQ_UNROLL
        for (std::uint32_t h = 0; h < halves; ++h) {
            rotate_segment<Half, Size>(x[q][h].word, operand, v[h]);
        }
        if constexpr (halves == 2) {
            join_halves(v[0], v[1]);
        }
    }
};

}  // namespace fpq::cuda
