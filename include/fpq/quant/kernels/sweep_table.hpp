// SPDX-License-Identifier: Apache-2.0
// Floor 2. E2M1 under every scale that a sweep may try on a group whose largest magnitude lies in
// [1, 2): thresholds and the values on both sides of them, octave by octave.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "fpq/core/bits.hpp"
#include "fpq/format/element.hpp"
#include "fpq/format/packed.hpp"
#include "fpq/quant/kernels/e2m1_table.hpp"

namespace fpq::kernels {

/// Cells of 2|w|/s: 0..15, the last ones all beyond the largest code.
inline constexpr std::size_t e2m1_cells = 16;
/// Which threshold a cell looks at = the code below that threshold.
inline constexpr std::array<std::uint8_t, e2m1_cells> e2m1_cell_code{0, 1, 2, 3, 4, 4, 5, 5,
                                                                     6, 6, 6, 6, 6, 6, 6, 6};

/// One scale: by cell of 2|w|/s, the threshold and the decoded values below and above it.
struct alignas(64) sweep_row {
    std::array<std::uint32_t, e2m1_cells> threshold;  // bits
    std::array<float, e2m1_cells> below;
    std::array<float, e2m1_cells> above;
};

/// The steps of one scale format under one global scale, each brought into [2^-12, 2^4) by a power
/// of two. Scales of E4M3 have eight mantissas an octave, those of E8M0 one.
struct sweep_table {
    static constexpr int lowest = -12;  // octaves
    static constexpr int octaves = 16;
    int mantissas = 1;
    int exponent = 0;   // floor(log2) of the step that stands in row 0's octave ...
    int first_row = 0;  // ... at position(byte) = first_row
    bool usable = false;
    std::vector<sweep_row> rows;   // octave * mantissas + mantissa
    std::vector<float> step;       // by row
    std::vector<float> cell_unit;  // 2^-21 / step

    /// Where bytes stand in octaves times mantissas, subnormals of E4M3 included. The bytes before
    /// the first and past the last repeat them, so that candidates around any byte can be read.
    static constexpr int margin = 16;
    std::array<std::int32_t, 256 + 2 * margin> positions{};

    /// Of a byte; its neighbours lie beside it.
    [[nodiscard]] std::int32_t const* position(int byte) const noexcept {
        return positions.data() + margin + byte;
    }
    /// What to add to a position for its row, for values that were multiplied by 2^-e.
    [[nodiscard]] int offset(int e) const noexcept {
        return (exponent - e - lowest) * mantissas - first_row;
    }
    /// The row of a byte; may lie outside.
    [[nodiscard]] int row_of(int byte, int e) const noexcept { return *position(byte) + offset(e); }
    [[nodiscard]] int row_count() const noexcept { return octaves * mantissas; }
};

/// usable: every step that the bytes stand for is a normal float.
inline sweep_table make_sweep_table(scale_kind kind, float global_scale) {
    sweep_table t;
    bool const e8 = kind == scale_kind::e8m0;
    if (kind == scale_kind::fp16 || !(global_scale >= 0x1p-60F && global_scale <= 0x1p60F)) {
        return t;
    }
    t.mantissas = e8 ? 1 : 8;
    t.first_row = e8 ? 127 : 8;  // 2^0, or the least normal E4M3
    auto const stored_value = [&](int m) {
        return e8 ? 1.0F : e4m3::decode(static_cast<std::uint8_t>(8 + m));
    };
    int const last = e8 ? e8m0::max_code : e4m3::max_code;
    for (int i = 0; i < static_cast<int>(t.positions.size()); ++i) {
        int const byte = std::clamp(i - sweep_table::margin, e8 ? 0 : 1, last);
        int const top = byte >= 4 ? 2 : (byte >= 2 ? 1 : 0);  // of an E4M3 subnormal's mantissa
        t.positions[static_cast<std::size_t>(i)] =
            e8 || byte >= 8 ? byte : 8 * (top - 2) + ((byte << (3 - top)) & 7);
    }
    t.exponent = floor_log2(effective_scale(stored_value(0), global_scale));
    for (int row = 0; row < t.row_count(); ++row) {
        float const base = effective_scale(stored_value(row % t.mantissas), global_scale);
        float const s = base * exp2_int(sweep_table::lowest + row / t.mantissas - t.exponent);
        sweep_row r{};
        for (std::size_t cell = 0; cell < e2m1_cells; ++cell) {
            std::uint8_t const code = e2m1_cell_code[cell];
            r.threshold[cell] = bits_of<std::uint32_t>(e2m1_threshold(code, s));
            r.below[cell] = e2m1::decode(code) * s;
            r.above[cell] = e2m1::decode(static_cast<std::uint8_t>(code + 1)) * s;
        }
        t.rows.push_back(r);
        t.step.push_back(s);
        t.cell_unit.push_back(0x1p-21F / s);
    }
    t.usable = true;
    return t;
}

}  // namespace fpq::kernels
