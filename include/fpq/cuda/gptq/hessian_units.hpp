// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Which tiles of a Hessian's lower half a thread block makes. The half is cut into tiles
// of 128 x 128; a unit is two of them, one for each pair of consumers, chosen so that a unit never
// needs more than three blocks of columns of X. Host and device.
//
//   super rows of 256:   o o|           o: pairs below the diagonal: two tiles, one above the
//                        o o|              other, in one column of tiles
//                        ---+---        c: corner: (2I, 2I) and (2I + 1, 2I)
//                        o o|c .        d: the other tile on the diagonal, two super rows' together
//                        o o|c d
//
// With n = 4096 that is 264 units, two for each of 132 multiprocessors: nothing is left over.
#pragma once

#include <cstdint>

#include "fpq/core/config.hpp"

namespace fpq::cuda {

inline constexpr std::uint32_t hessian_tile = 128;

enum class hessian_unit_kind : std::uint8_t { below, corner, diagonals };

/// Two tiles: (row[0], col[0]) and (row[1], col[1]), in tiles. A row that is not less than the
/// number of tiles says that there is no such tile. below and corner: col[0] == col[1].
struct hessian_unit {
    hessian_unit_kind kind;
    std::uint32_t row[2];
    std::uint32_t col[2];
};

/// The units of a matrix of `tiles` x `tiles` tiles. Units 2t and 2t + 1 below the diagonal have
/// the same rows.
struct hessian_units {
    std::uint32_t tiles;

    static constexpr std::uint32_t band = 8;  // super rows walked together, for the L2 cache

    FPQ_HD constexpr std::uint32_t supers() const noexcept { return (tiles + 1) / 2; }
    FPQ_HD constexpr std::uint32_t below() const noexcept { return supers() * (supers() - 1); }
    FPQ_HD constexpr std::uint32_t count() const noexcept {
        return below() + supers() + (tiles / 2 + 1) / 2;
    }

    FPQ_HD constexpr hessian_unit at(std::uint32_t u) const noexcept {
        if (u < below()) {
            std::uint32_t row = 0;
            std::uint32_t col = 0;
            place_below(u / 2, row, col);
            std::uint32_t const b = 2 * col + u % 2;
            return {hessian_unit_kind::below, {2 * row, 2 * row + 1}, {b, b}};
        }
        u -= below();
        if (u < supers()) {
            return {hessian_unit_kind::corner, {2 * u, 2 * u + 1}, {2 * u, 2 * u}};
        }
        u -= supers();
        std::uint32_t const first = 4 * u + 1;
        std::uint32_t const second = first + 2 < tiles ? first + 2 : tiles;
        return {hessian_unit_kind::diagonals, {first, second}, {first, second}};
    }

private:
    /// Super tile t below the diagonal: bands of 8 super rows, each walked column by column.
    FPQ_HD constexpr void place_below(std::uint32_t t, std::uint32_t& row,
                                      std::uint32_t& col) const noexcept {
        for (std::uint32_t top = 0;; top += band) {
            std::uint32_t const left = supers() - top;
            std::uint32_t const height = left < band ? left : band;
            std::uint32_t const square = height * top;
            std::uint32_t const size = square + height * (height - 1) / 2;
            if (t >= size) {
                t -= size;
                continue;
            }
            if (t < square) {
                row = top + t % height;
                col = t / height;
                return;
            }
            t -= square;
            col = top;
            while (t >= top + height - 1 - col) {  // rows below the diagonal in this column
                t -= top + height - 1 - col;
                ++col;
            }
            row = col + 1 + t;
            return;
        }
    }
};

}  // namespace fpq::cuda
