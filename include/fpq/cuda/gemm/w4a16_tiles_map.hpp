// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Where the tiles kernel of W4A16 has everything: which code a lane decodes for which k
// of an instruction, and where an activation lies in shared memory. Pure functions, tested on the
// host.
//
// Weights are the A operand of wgmma, from registers; lane 4g + t of a warp holds rows g and g + 8.
// Of a row's 256 codes (a block, 128 bytes) it takes codes 64t .. 64t + 63: two loads of 16 bytes
// and one load of scales. The instruction has fixed places for k, 16 a step; since k is summed, the
// activations are stored in the order in which the codes come instead:
//
//   code      k = 64t + 32b + 8q + (2s + h) + 4e      half-block b, word q, step s of the word,
//   place     p = 128b + 32q + 16s + 8h + 2t + e      half h of the step, e: low or high half
#pragma once

#include <cstddef>
#include <cstdint>

#include "fpq/core/config.hpp"
#include "fpq/format/scale_layout.hpp"

namespace fpq::cuda {

/// Columns of k that the kernel walks in one step, and what its plan needs.
struct w4a16_tiles {
    static constexpr unsigned block = 256;       // columns between two waits for codes
    static constexpr unsigned half_block = 128;  // columns between two waits for activations
    static constexpr unsigned groups = 4;        // warpgroups that multiply, 64 rows each
    static constexpr unsigned rows = 64 * groups;
    static constexpr unsigned threads = 128 * (groups + 1);  // and one that copies
    static constexpr int most_splits = 16;                   // of k
    static constexpr unsigned head_bytes = 4096;  // of the workspace: counters of unfinished tiles
};

/// A tile of Tokens x 256 outputs and the shared memory of its CTA: a ring of codes, a ring
/// of activations, barriers. The outputs take the rings' place in the end.
template <int Tokens>
struct w4a16_tile {
    static constexpr unsigned tokens = Tokens;
    static constexpr unsigned codes = 128 * w4a16_tiles::rows;  // bytes a stage
    static constexpr unsigned x = 256 * tokens;
    static constexpr unsigned x_count = 4;
    static constexpr unsigned code_count = (225 * 1024 - x_count * x) / codes;
    static constexpr unsigned x_at = codes * code_count;
    static constexpr unsigned ring = x_at + x * x_count;
    static constexpr unsigned sums_pitch = 68;  // floats from token to token: no bank conflicts
    static constexpr unsigned shared = ring + 1024 + 16 * (code_count + x_count);
    static_assert(code_count >= 2 && shared <= 227 * 1024);
    static_assert(w4a16_tiles::groups * tokens * sums_pitch * 4 <= ring);
};

/// The place of column k (< 256) of a block among the instructions' 16 steps of 16.
FPQ_HD constexpr unsigned tiles_place(unsigned k) noexcept {
    unsigned const t = k / 64;
    unsigned const b = k / 32 % 2;
    unsigned const q = k / 8 % 4;
    unsigned const e = k / 4 % 2;
    unsigned const s = k / 2 % 2;
    unsigned const h = k % 2;
    return 128 * b + 32 * q + 16 * s + 8 * h + 2 * t + e;
}

/// The byte of place p (< 128 of a half-block) of token `token` in an image of `tokens` tokens: two
/// sub-tiles of 64 places, each token by token, 128 bytes a token, 16-byte chunks swizzled as
/// wgmma's 128-byte mode has them.
FPQ_HD constexpr unsigned tiles_image_byte(unsigned token, unsigned p, unsigned tokens) noexcept {
    unsigned const chunk = (p % 64 / 8) ^ (token % 8);
    return (p / 64) * tokens * 128 + token * 128 + chunk * 16 + p % 8 * 2;
}

/// The byte of 16-byte chunk c (< 8) of row `row` in a stage of codes, 128 bytes a row, as the
/// tensor copy's 128-byte swizzle has them.
FPQ_HD constexpr unsigned tiles_codes_byte(unsigned row, unsigned c) noexcept {
    return row * 128 + (c ^ (row % 8)) * 16;
}

}  // namespace fpq::cuda
