// SPDX-License-Identifier: Apache-2.0
// Wing cuda. What the W4A4 kernels are called with, and the tiles they come in. Filled by the
// launcher only, which has checked everything.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fpq/core/config.hpp"
#include "fpq/core/float_type.hpp"

namespace fpq::cuda {

/// A CTA's tile (m, n, 128 of k), its grid of warps and its stages of shared memory.
template <int M, int N, int WarpsM, int WarpsN, int Stages>
struct w4a4_tile {
    static constexpr int m = M;
    static constexpr int n = N;
    static constexpr int k = 128;
    static constexpr int warps_m = WarpsM;
    static constexpr int warps_n = WarpsN;
    static constexpr int stages = Stages;
    static constexpr int threads = 32 * WarpsM * WarpsN;
    static constexpr int warp_m = M / WarpsM;
    static constexpr int warp_n = N / WarpsN;
    static constexpr int m_tiles = warp_m / 16;  // m16n8k64 in a warp
    static constexpr int n_tiles = warp_n / 8;
    static constexpr int row_bytes = k / 2;
    static_assert(M % WarpsM == 0 && N % WarpsN == 0 && warp_m % 16 == 0 && warp_n % 32 == 0);
    static_assert(128 % M == 0 && N == 128);  // rows of one scale tile; n is one scale tile
    static_assert(M == 16 || warp_m % 32 == 0);
};

using w4a4_tile_128 = w4a4_tile<128, 128, 2, 2, 2>;
using w4a4_tile_64 = w4a4_tile<64, 128, 1, 4, 3>;
using w4a4_tile_16 = w4a4_tile<16, 128, 1, 4, 6>;

struct w4a4_args {
    unsigned m, n, k;
    std::uint8_t const* a;         // (m, k / 2) E2M1
    std::uint8_t const* a_scales;  // (m, groups) in the 128x4 swizzle
    std::uint8_t const* b;         // (n, k / 2)
    std::uint8_t const* b_scales;
    float alpha;
    float const* alpha_device;  // one more factor, or null
    float const* bias;          // (n) or null
    void* out;                  // (m, n)
    float_type out_type;
    unsigned k_tiles_per_split;
    float* partials;     // (splits, m, n), with more than one split
    unsigned* counters;  // one an output tile, zero before the first launch; left zero

    FPQ_HD float scale_of_output() const noexcept {
        return alpha_device != nullptr ? alpha * *alpha_device : alpha;
    }
};

/// Where 16-byte piece `piece` (0..3) of row `row` of a stage lies, in bytes: rows of 64 bytes, the
/// pieces exchanged so that the eight rows of an ldmatrix meet eight different bank groups.
FPQ_HD constexpr unsigned staged_piece(unsigned row, unsigned piece) noexcept {
    return row * 64 + (piece ^ (row / 2 % 4)) * 16;
}

}  // namespace fpq::cuda
