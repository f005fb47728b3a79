// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Which lane, register and bit field holds each operand of the block-scaled
// mma.sync.m16n8k64 on E2M1: PTX ISA 9.1, sections 9.7.14.3 and 9.7.14.5.11. Functions of
// compile-time value, for kernels, for the reference atom and for tests; no instruction is here.
#pragma once

#include <cstdint>

#include "fpq/core/config.hpp"

namespace fpq::cuda {

/// A field of a warp's registers: bits [width * index, width * (index + 1)) of a register, where
/// width is 4 for codes, 8 for scales and 32 for accumulators.
struct lane_slot {
    int lane;
    int reg;
    int index;
    FPQ_HD constexpr bool operator==(lane_slot const& o) const noexcept {
        return lane == o.lane && reg == o.reg && index == o.index;
    }
};

/// Scales along k of one m16n8k64: 2 (group 32, E8M0) or 4 (group 16, E4M3).
enum class scale_vector : std::uint8_t { x2 = 2, x4 = 4 };

/// The operands of mma.sync.aligned.m16n8k64.row.col.*.block_scale on E2M1.
struct m16n8k64 {
    static constexpr int m = 16;
    static constexpr int n = 8;
    static constexpr int k = 64;
    static constexpr int a_regs = 4;  // 8 codes each
    static constexpr int b_regs = 2;
    static constexpr int c_regs = 4;  // one float32 each

    /// A(row, k), row < 16, k < 64; index is the nibble.
    FPQ_HD static constexpr lane_slot a(int row, int col) noexcept {
        return {4 * (row % 8) + (col % 32) / 8, row / 8 + 2 * (col / 32), col % 8};
    }
    /// B(k, col), k < 64, col < 8; index is the nibble.
    FPQ_HD static constexpr lane_slot b(int row, int col) noexcept {
        return {4 * col + (row % 32) / 8, row / 32, row % 8};
    }
    /// C or D(row, col), row < 16, col < 8.
    FPQ_HD static constexpr lane_slot c(int row, int col) noexcept {
        return {4 * (row % 8) + col / 2, 2 * (row / 8) + col % 2, 0};
    }
    /// The scale of A(row, group g of this k64), with the instruction's byte-id-a and thread-id-a.
    FPQ_HD static constexpr lane_slot scale_a(int row, int g, int byte_id, int thread_id) noexcept {
        return {4 * (row % 8) + 2 * thread_id + row / 8, 0, byte_id + g};
    }
    /// The scale of B(group g of this k64, col), with byte-id-b and thread-id-b.
    FPQ_HD static constexpr lane_slot scale_b(int g, int col, int byte_id, int thread_id) noexcept {
        return {4 * col + thread_id, 0, byte_id + g};
    }

    /// The inverse of a: the row and k of nibble `index` of register `reg` of `lane`.
    FPQ_HD static constexpr int a_row(int lane, int reg) noexcept {
        return lane / 4 + 8 * (reg % 2);
    }
    FPQ_HD static constexpr int a_k(int lane, int reg, int index) noexcept {
        return 32 * (reg / 2) + 8 * (lane % 4) + index;
    }
    /// The inverse of b.
    FPQ_HD static constexpr int b_k(int lane, int reg, int index) noexcept {
        return 32 * reg + 8 * (lane % 4) + index;
    }
    FPQ_HD static constexpr int b_col(int lane) noexcept { return lane / 4; }
    /// The inverse of c.
    FPQ_HD static constexpr int c_row(int lane, int reg) noexcept {
        return lane / 4 + 8 * (reg / 2);
    }
    FPQ_HD static constexpr int c_col(int lane, int reg) noexcept {
        return 2 * (lane % 4) + reg % 2;
    }
};

/// The row (of 32) whose scale bytes a lane loads so that one register serves two m16 tiles
/// (thread-id-a 0 and 1) or four n8 tiles (thread-id-b 0..3): the 32 lanes cover the 32 rows.
FPQ_HD constexpr int scale_row_of_lane(int lane) noexcept { return lane / 4 + 8 * (lane % 4); }

/// The legal immediate selectors (PTX ISA 9.1, table 37).
FPQ_HD constexpr bool legal_byte_id(scale_vector v, int byte_id) noexcept {
    return byte_id == 0 || (v == scale_vector::x2 && byte_id == 2);
}

namespace detail {

/// True when `at` maps (rows, cols) one to one onto 32 lanes x regs x fields.
template <int Rows, int Cols, int Regs, int Fields, class Map>
constexpr bool fills_every_slot(Map at) noexcept {
    static_assert(Rows * Cols == 32 * Regs * Fields);
    bool seen[32 * Regs * Fields] = {};
    for (int row = 0; row < Rows; ++row) {
        for (int col = 0; col < Cols; ++col) {
            lane_slot const s = at(row, col);
            if (s.lane < 0 || s.lane >= 32 || s.reg < 0 || s.reg >= Regs || s.index < 0 ||
                s.index >= Fields) {
                return false;
            }
            bool& slot = seen[(s.lane * Regs + s.reg) * Fields + s.index];
            if (slot) {
                return false;
            }
            slot = true;
        }
    }
    return true;
}

/// True when two m16 tiles (A) or four n8 tiles (B) together read every byte of every lane once,
/// and each from the lane whose scale_row_of_lane is its row within 32.
template <int Tile, class Map>
constexpr bool scales_fill_every_lane(Map at) noexcept {
    bool seen[32] = {};
    for (int row = 0; row < 32; ++row) {
        lane_slot const s = at(row % Tile, row / Tile);
        if (scale_row_of_lane(s.lane) != row || seen[s.lane]) {
            return false;
        }
        seen[s.lane] = true;
    }
    return true;
}

}  // namespace detail

static_assert(detail::fills_every_slot<16, 64, 4, 8>(m16n8k64::a));
static_assert(detail::fills_every_slot<64, 8, 2, 8>(m16n8k64::b));
static_assert(detail::fills_every_slot<16, 8, 4, 1>(m16n8k64::c));
static_assert(detail::scales_fill_every_lane<16>([](int row, int thread_id) {
    return m16n8k64::scale_a(row, 0, 0, thread_id);
}));
static_assert(detail::scales_fill_every_lane<8>([](int col, int thread_id) {
    return m16n8k64::scale_b(0, col, 0, thread_id);
}));

}  // namespace fpq::cuda
