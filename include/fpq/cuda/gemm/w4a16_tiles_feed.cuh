// SPDX-License-Identifier: Apache-2.0
// Wing cuda. How the W4A16 tiles kernel is fed: rings in shared memory, one thread that asks for
// codes and one that asks for activations.
#pragma once

#include <cuda.h>

#include <cstddef>
#include <cstdint>

#include "fpq/cuda/gemm/w4a16_tiles_map.hpp"
#include "fpq/cuda/ptx/mma.cuh"
#include "fpq/cuda/ptx/sm90.cuh"

namespace fpq::cuda::detail {

/// A place in a ring of Count stages and the parity of its phase.
template <unsigned Count>
struct ring_place {
    unsigned at = 0;
    unsigned parity = 0;

    __device__ __forceinline__ void next() {
        at = at + 1 == Count ? 0 : at + 1;
        parity ^= at == 0 ? 1u : 0u;
    }
    __device__ __forceinline__ unsigned before() const { return at == 0 ? Count - 1 : at - 1; }
};

/// The barriers of the rings, one of each kind a stage, at shared address `base` + Tile::ring.
template <class Tile>
struct tiles_barriers {
    std::uint32_t base;

    __device__ __forceinline__ std::uint32_t code_full(unsigned s) const {
        return base + Tile::ring + 8 * s;
    }
    __device__ __forceinline__ std::uint32_t code_empty(unsigned s) const {
        return code_full(Tile::code_count + s);
    }
    __device__ __forceinline__ std::uint32_t x_full(unsigned s) const {
        return code_full(2 * Tile::code_count + s);
    }
    __device__ __forceinline__ std::uint32_t x_empty(unsigned s) const {
        return x_full(Tile::x_count + s);
    }
    __device__ void init() const {
        for (unsigned s = 0; s < Tile::code_count; ++s) {
            sm90::barrier_init(code_full(s), 1);
            sm90::barrier_init(code_empty(s), 4 * w4a16_tiles::groups);
        }
        for (unsigned s = 0; s < Tile::x_count; ++s) {
            sm90::barrier_init(x_full(s), 1);
            sm90::barrier_init(x_empty(s), 4 * w4a16_tiles::groups);
        }
        sm90::barrier_init_fence();
    }
};

/// Asks for the codes of blocks first .. last - 1 of the row tile at row0.
template <class Tile>
__device__ __forceinline__ void copy_codes(tiles_barriers<Tile> barriers, CUtensorMap const* map,
                                           unsigned row0, unsigned first, unsigned last) {
    ring_place<Tile::code_count> c;
    for (unsigned kb = first; kb < last; ++kb, c.next()) {
        sm90::barrier_wait(barriers.code_empty(c.at), c.parity ^ 1u);
        sm90::barrier_expect(barriers.code_full(c.at), Tile::codes);
        sm90::copy_box(barriers.base + c.at * Tile::codes, map, kb * 128, row0,
                       barriers.code_full(c.at));
        if (kb == first) {
            // Memory serves no one in order: with the whole ring asked for at once by all
            // CTAs the first stage would come as late as the last.
            sm90::barrier_wait(barriers.code_full(0), 0);
        }
    }
}

/// Asks for the activations beside them, from the image's piece of block `first`.
template <class Tile>
__device__ __forceinline__ void copy_activations(tiles_barriers<Tile> barriers,
                                                 std::uint8_t const* from, unsigned first,
                                                 unsigned last) {
    ptx::wait_for_previous_kernel();  // which writes the image
    ring_place<Tile::x_count> x;
    for (unsigned i = 2 * first; i < 2 * last; ++i, x.next(), from += Tile::x) {
        sm90::barrier_wait(barriers.x_empty(x.at), x.parity ^ 1u);
        sm90::barrier_expect(barriers.x_full(x.at), Tile::x);
        sm90::copy_bytes(barriers.base + Tile::x_at + x.at * Tile::x, from, Tile::x,
                         barriers.x_full(x.at));
    }
}

}  // namespace fpq::cuda::detail
