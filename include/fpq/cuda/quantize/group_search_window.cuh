// SPDX-License-Identifier: Apache-2.0
// Wing cuda. NVFP4's window of candidates: their steps in pairs, for a group of any octave, and
// which of them fast errors leave open. Host and device.
#pragma once

#include <cstdint>

#include "fpq/cuda/quantize/group.cuh"
#include "fpq/cuda/quantize/group_search.cuh"

namespace fpq::cuda {

/// Starts below have E4M3's subnormals in their window, with other ratios between neighbours: all
/// candidates are left to settle.
inline constexpr int first_regular = 20;

/// Steps of all stored bytes, and of pairs of neighbours.
struct search_table {
    static constexpr int pairs = 136;  // bytes 0 .. 126, and a window of candidates beyond
    float size[128];
    step_pair pair[pairs];  // bytes b and b + 1, normalised to the octave that octave_of tells

    FPQ_HD static std::uint32_t octave_of(float global) noexcept {
        return (bits_of<std::uint32_t>(div_rn(1.0F, global)) >> 23) + 14u;
    }
    /// Sizes first, first + stride, and so on.
    FPQ_HD void fill_sizes(float global, int first, int stride) noexcept {
        for (int byte = first; byte <= e4m3::max_code; byte += stride) {
            size[byte] = step_of(scale_kind::e4m3, static_cast<std::uint8_t>(byte), global);
        }
    }
    /// Then the pairs, in the same way; halves: the half_reciprocal of every size but the first.
    template <class Halves>
    FPQ_HD void fill_pairs(float global, Halves const& halves, int first, int stride) noexcept {
        std::uint32_t const octave = octave_of(global);
        float const unit = bits_of<float>((254u - octave) << 23);
        float const back = bits_of<float>(octave << 23);
        auto const normal = [&](int byte) {
            // Beyond the last byte comes the last again.
            int const at = byte < 1 ? 1 : byte > e4m3::max_code ? e4m3::max_code : byte;
            half_reciprocal const half = halves(static_cast<std::uint32_t>(at));
            return search_step{mul_rn(size[at], unit),
                               {mul_rn(half.hi, back), mul_rn(half.lo, back)}};
        };
        for (int byte = first; byte < pairs; byte += stride) {
            pair[byte] = pair_of_steps(normal(byte), normal(byte + 1));
        }
    }
};

/// The table as one group sees it.
struct search_window {
    search_table const* table;
    std::uint32_t octave;  // the table's
    float unit;            // the group's power of two, and its reciprocal
    float back;
    std::uint32_t shift;  // from the exponents of the table's pairs to the group's

    FPQ_HD search_window(search_table const& t, float global) noexcept
        : table(&t), octave(search_table::octave_of(global)), unit(1.0F), back(1.0F), shift(0) {}
    /// From here on for groups of maximum a, of that exponent.
    FPQ_HD void normalise(float a) noexcept {
        std::uint32_t const own = a == 0.0F ? 127u : bits_of<std::uint32_t>(a) >> 23;
        unit = bits_of<float>((254u - own) << 23);
        back = bits_of<float>(own << 23);
        shift = (octave - own) * 0x04000400u;
    }
    FPQ_HD float size(int byte) const noexcept { return mul_rn(table->size[byte], unit); }
    /// The steps of bytes `byte` and byte + 1.
    FPQ_HD step_pair pair(int byte) const noexcept {
        step_pair const p = table->pair[byte];
        return {p.size + shift, p.reciprocal - shift};
    }
};

/// The candidates around `start` that may have the least error; a is the normalised maximum, and
/// a <= unclipped_reach steps of the start. On the device all lanes enter.
FPQ_HD inline std::uint32_t open_candidates(std::uint32_t const (&x)[16], float a, int start,
                                            search_limit const& limit,
                                            search_window const& window) noexcept {
    constexpr int last = e4m3::max_code;
    bool const regular = start >= first_regular;
    int const middle = regular ? start : first_regular;
    std::uint32_t e[6];
    e[0] = quick_errors<search_reach::beyond>(x, window.pair(middle - 3));
    e[1] = quick_errors<search_reach::beyond>(x, window.pair(middle - 1));
    e[2] = quick_errors<search_reach::within>(x, window.pair(middle + 1));
    e[3] = quick_errors<search_reach::within>(x, window.pair(middle + 3));
    e[4] = quick_errors<search_reach::short_of_five>(x, window.pair(middle + 5));
    e[5] = infinite_pair;
    int const seventh = middle + 7 < last ? middle + 7 : last;
    if (any_lane(middle + 7 <= last && a > least_useful * window.size(seventh))) {
        e[5] = quick_errors<search_reach::short_of_five>(x, window.pair(middle + 7));
    }
    // Bytes beyond the last are no candidates.
    auto const room = static_cast<float>(last - middle);
    std::uint32_t const highest = pair_of(room, room);
    FPQ_UNROLL
    for (int i = 2; i < 6; ++i) {
        auto const offset = static_cast<float>(2 * i - 3);
        std::uint32_t const real = pair_at_most(pair_of(offset, offset + 1.0F), highest);
        e[i] = (e[i] & real) | (infinite_pair & ~real);
    }
    float at_most = 0.0F;
    std::uint32_t open = close_to_least<6>(
        e,
        {bit_of_offset(-3) | bit_of_offset(-2), bit_of_offset(-1) | bit_of_offset(0),
         bit_of_offset(1) | bit_of_offset(2), bit_of_offset(3) | bit_of_offset(4),
         bit_of_offset(5) | bit_of_offset(6), bit_of_offset(7) | bit_of_offset(8)},
        limit, at_most);
    open |= may_clip(a, window.size(middle - 4), at_most) ? bits_up_to(-4) : 0u;
    return regular ? open : ~(start > -lowest_offset ? 0u : bits_up_to(-start));
}

/// The same for two bytes, six and four.
FPQ_HD inline std::uint32_t open_of_two(std::uint32_t const (&x)[16], int six, int four,
                                        search_limit const& limit,
                                        search_window const& window) noexcept {
    std::uint32_t const first = bit_of_offset(0);
    std::uint32_t const second = bit_of_offset(four - six);
    step_pair const low = window.pair(four);
    step_pair const high = window.pair(six);
    step_pair const both{permute_bytes(low.size, high.size, 0x5410u),
                         permute_bytes(low.reciprocal, high.reciprocal, 0x5410u)};
    std::uint32_t const e[1] = {quick_errors<search_reach::beyond>(x, both)};
    float at_most = 0.0F;
    std::uint32_t const close = close_to_least<1>(e, {0x00010002u}, limit, at_most);
    std::uint32_t const open =
        ((close & 0x10000u) != 0 ? first : 0u) | ((close & 2u) != 0 ? second : 0u);
    return six >= first_regular ? open : first | second;
}

}  // namespace fpq::cuda
