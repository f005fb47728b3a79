// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Activations as the tiles kernel wants them in shared memory, prepared once in device
// memory: the columns of a block in the order of the codes, chunks swizzled, zeros past the last
// token and column. An image is (token blocks, blocks of 256 columns) pieces of 512 * Tokens bytes,
// a half-block each half.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fpq/cuda/gemm/w4a16_args.hpp"
#include "fpq/cuda/gemm/w4a16_tiles_map.hpp"
#include "fpq/cuda/ptx/mma.cuh"

namespace fpq::cuda {

namespace detail {

/// Eight activations from k on; zero past the last token and column. k is a multiple of 8.
__device__ __forceinline__ uint4 load_eight(w4a16_args const& p, std::size_t token, unsigned k) {
    if (token >= p.m || k >= p.k) {
        return make_uint4(0, 0, 0, 0);
    }
    auto const* const from = static_cast<std::uint16_t const*>(p.x) + (token * p.x_stride + k);
    if (p.x_aligned) {
        return *reinterpret_cast<uint4 const*>(from);
    }
    std::uint32_t word[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        word[i] = from[2 * i] | (static_cast<std::uint32_t>(from[2 * i + 1]) << 16);
    }
    return {word[0], word[1], word[2], word[3]};
}

}  // namespace detail

/// One thread: 8 columns of one token for each of the four lanes that decode their codes. Grid:
/// ceil(pieces * Tokens / 32) blocks of 256 threads, pieces = token blocks * blocks.
template <int Tokens>
__global__ void __launch_bounds__(256)
    w4a16_image_kernel(w4a16_args const p, unsigned blocks, unsigned pieces, std::uint8_t* image) {
    ptx::allow_next_kernel();
    unsigned const at = blockIdx.x * 256 + threadIdx.x;
    unsigned const word = at % 8;  // 4b + q
    unsigned const piece = at / 8 % pieces;
    unsigned const token = at / 8 / pieces;
    ptx::wait_for_previous_kernel();
    if (token >= Tokens) {
        return;
    }
    std::size_t const from_token = std::size_t{piece / blocks} * Tokens + token;
    unsigned const column = piece % blocks * w4a16_tiles::block + 8 * word;
    uint4 v[4];
#pragma unroll
    for (unsigned t = 0; t < 4; ++t) {
        v[t] = detail::load_eight(p, from_token, column + 64 * t);
    }
    auto* const to = image + std::size_t{piece} * (512 * Tokens) + word / 4 * (256 * Tokens);
#pragma unroll
    for (unsigned j = 0; j < 4; ++j) {
        // Word t of the chunk: columns j and j + 4 of lane t.
        std::uint32_t out[4];
#pragma unroll
        for (unsigned t = 0; t < 4; ++t) {
            out[t] = __byte_perm(j < 2 ? v[t].x : v[t].y, j < 2 ? v[t].z : v[t].w,
                                 j % 2 == 0 ? 0x5410 : 0x7632);
        }
        unsigned const place = 32 * (word % 4) + 8 * j;
        *reinterpret_cast<uint4*>(to + tiles_image_byte(token, place, Tokens)) =
            make_uint4(out[0], out[1], out[2], out[3]);
    }
}

}  // namespace fpq::cuda
