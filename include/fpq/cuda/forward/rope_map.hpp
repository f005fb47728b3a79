// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Which lane holds which values of which head while heads are normed and rotated. Host
// and device; a test on the CPU walks the whole map.
//
//   a head: [first half | second half]; value i turns with value i + head_dim / 2
//   a group of `lanes` lanes has four heads of one token, or one where there are few; lane l holds
//   values Width * l .. of both halves of each
#pragma once

#include <cstddef>
#include <cstdint>

#include "fpq/core/config.hpp"

namespace fpq::cuda {

struct rope_map {
    int lanes = 0;  // of a group: 4, 8, 16 or 32; those beyond half / width idle
    int width = 0;  // neighbouring values of a lane: 8, or 4 where half a head is no multiple of 8
    std::uint32_t held = 0;            // heads of a group, 1 or 4, which share cosines and sines
    std::uint32_t half = 0;            // head_dim / 2
    std::uint32_t groups_a_token = 0;  // groups that share out the query and key heads of a token

    /// The token and first head of group g; query heads are numbered first, key heads after them.
    FPQ_HD constexpr std::size_t token(std::size_t g) const noexcept { return g / groups_a_token; }
    FPQ_HD constexpr std::uint32_t head(std::size_t g) const noexcept {
        return static_cast<std::uint32_t>(g % groups_a_token) * held;
    }
};

/// The map of heads of `head_dim` values (a multiple of 8 up to 256): `heads` heads, of queries,
/// keys and what goes along with them, of each of `tokens` tokens.
constexpr rope_map plan_rope(std::size_t head_dim, std::size_t heads, std::size_t tokens) noexcept {
    // Few heads finish sooner side by side; with many, a group's loads hide each other.
    constexpr std::size_t few = 4096;
    rope_map map;
    map.half = static_cast<std::uint32_t>(head_dim / 2);
    map.width = map.half % 8 == 0 ? 8 : 4;
    std::uint32_t const needed = map.half / static_cast<std::uint32_t>(map.width);
    // Heads that need a width of 4 are rare and small: one kernel serves them all.
    map.lanes = map.width == 4 ? 32 : needed <= 4 ? 4 : needed <= 8 ? 8 : 16;
    map.held = heads * tokens <= few ? 1 : 4;
    map.groups_a_token = static_cast<std::uint32_t>((heads + map.held - 1) / map.held);
    return map;
}

}  // namespace fpq::cuda
