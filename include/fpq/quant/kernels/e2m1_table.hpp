// SPDX-License-Identifier: Apache-2.0
// Floor 2. E2M1 codes under a one-byte scale without a division, exactly: for every scale byte, the
// least weights at which encode(fl(w / s)) steps to the next code. A weight's cell, some part of
// w / s, picks the one threshold that can lie near it, so the cell may be a rounding error off.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>

#include "fpq/core/bits.hpp"
#include "fpq/format/packed.hpp"

namespace fpq::kernels {

/// The value where code k becomes k + 1, and whether the tie itself goes up (to an even
/// code).
struct e2m1_step {
    float midpoint;
    bool tie_up;
};
inline constexpr std::array<e2m1_step, 7> e2m1_steps{{{0.25F, false},
                                                      {0.75F, true},
                                                      {1.25F, false},
                                                      {1.75F, true},
                                                      {2.5F, false},
                                                      {3.5F, true},
                                                      {5.0F, false}}};

/// Least float w > 0 with encode(fl(w / s)) > code, for normal s in [2^-100, 2^100].
/// fl(w / s) passes a midpoint m when w / s passes the middle between m and its neighbour, which
/// has 25 bits; m's last bit is 0, so that the middle itself still rounds to m. The product with s
/// (24 bits) is exact in double.
inline float e2m1_threshold(std::size_t code, float s) noexcept {
    e2m1_step const step = e2m1_steps[code];
    std::uint32_t const m = bits_of<std::uint32_t>(step.midpoint);
    float const neighbour = bits_of<float>(step.tie_up ? m - 1 : m + 1);
    double const edge = 0.5 * (static_cast<double>(step.midpoint) + static_cast<double>(neighbour));
    double const least = edge * static_cast<double>(s);
    float const near = static_cast<float>(least);
    // Beyond the edge when the tie stays down, at the edge or beyond when it goes up.
    bool const enough =
        step.tie_up ? static_cast<double>(near) >= least : static_cast<double>(near) > least;
    return enough ? near : bits_of<float>(bits_of<std::uint32_t>(near) + 1);
}

/// Cells of w / s for signed weights: cell k holds what is nearest to 7/16 k. One threshold lies in
/// a cell at most, every border lies well inside a code, and all from 5.03 on is the largest code,
/// so that cells may be counted modulo 32: up to 8.9 nothing is mistaken.
inline constexpr std::size_t e2m1_signed_cells = 32;
inline constexpr float e2m1_cell_width = 0.4375F;
/// Beyond this, |w| / s is to be clamped to the cell below.
inline constexpr float e2m1_signed_end = 8.9F;
inline constexpr int e2m1_last_cell = 20;

/// The code below the threshold in cell 0, 1, ...: 8 or more: there is none, and all values of the
/// cell have the code that is 8 less.
inline constexpr std::array<std::uint8_t, 17> e2m1_code_of_cell{8,  0,  1, 2,  3,  12, 4,  13, 5,
                                                                14, 14, 6, 15, 15, 15, 15, 15};
/// The same by a cell modulo 32, and which entries are of negative weights.
constexpr std::uint8_t e2m1_code_at(std::size_t at) noexcept {
    return e2m1_code_of_cell.at(at <= 16 ? at : e2m1_signed_cells - at);
}
constexpr bool e2m1_negative_at(std::size_t at) noexcept { return at > 16; }

/// The thresholds of one scale by cell modulo 32, as the bits of a float with the weights' sign, to
/// be subtracted from those of a weight: a negative difference is a smaller magnitude. 0 where a
/// cell has no threshold: the difference has the weight's sign, -0.0's too.
struct alignas(64) e2m1_row {
    std::array<std::uint32_t, e2m1_signed_cells> threshold;
};

/// What doubles the thresholds of a row.
inline constexpr e2m1_row e2m1_octave = [] {
    e2m1_row row{};
    for (std::size_t at = 0; at < e2m1_signed_cells; ++at) {
        row.threshold.at(at) = e2m1_code_at(at) < 8 ? 1u << 23 : 0u;
    }
    return row;
}();

/// The row of twice the scale. By vectors: tables are made anew for every small matrix.
inline e2m1_row doubled(e2m1_row const& row) noexcept {
    using lanes = std::uint32_t __attribute__((vector_size(64)));
    constexpr std::size_t vectors = sizeof(e2m1_row) / sizeof(lanes);
    lanes threshold[vectors];
    lanes octave[vectors];
    std::memcpy(threshold, &row, sizeof row);
    std::memcpy(octave, &e2m1_octave, sizeof row);
    for (std::size_t i = 0; i < vectors; ++i) {
        threshold[i] += octave[i];
    }
    e2m1_row out;
    std::memcpy(&out, threshold, sizeof out);
    return out;
}

/// How weights lie in memory, compared with what is quantized.
struct e2m1_input {
    float factor = 1.0F;       // quantized is fl(w * factor), |factor| in [2^-20, 2^20]
    std::uint32_t unseen = 0;  // low bits of a weight that may hold anything: its value has zeros
};

/// The rows of the scale bytes low..high under one global scale; the others are unspecified.
struct e2m1_table {
    int low = 1;
    int high = 0;                        // below low: nothing can be encoded by table
    float factor = 1.0F;                 // of e2m1_input
    std::unique_ptr<e2m1_row[]> rows;    // by byte
    std::unique_ptr<float[]> cell_unit;  // by byte: 2^-22 cells. fma(w, cell_unit, e2m1_cell_base)
                                         // holds the cell modulo 32 in its low bits
};
/// Zero in cells, and 32 of them more, so that the sum stays above 2.
inline constexpr float e2m1_cell_base = 2.0F + 32.0F * 0x1p-22F;

/// Least w > 0 with fl(w * factor) >= t, neither near the ends of float.
inline float least_weight_of(float t, float factor) noexcept {
    if (factor == 1.0F) {
        return t;
    }
    std::uint32_t w = bits_of<std::uint32_t>(t / factor);
    while (bits_of<float>(w) * factor < t) {
        ++w;
    }
    while (bits_of<float>(w - 1) * factor >= t) {
        --w;
    }
    return bits_of<float>(w);
}

/// All bytes of `kind` (e4m3 or e8m0) whose step fl(scale / global) lies in [2^-100, 2^100].
inline e2m1_table make_e2m1_table(scale_kind kind, float global_scale, e2m1_input input = {}) {
    e2m1_table table;
    table.factor = input.factor;
    bool const e8 = kind == scale_kind::e8m0;
    auto const step_of = [&](int byte) {
        auto const stored = static_cast<std::uint8_t>(byte);
        return effective_scale(e8 ? e8m0::decode(stored) : e4m3::decode(stored), global_scale);
    };
    table.low = 1;
    table.high = e8 ? e8m0::max_code : e4m3::max_code;
    while (table.low <= table.high && !(step_of(table.low) >= 0x1p-100F)) {
        ++table.low;
    }
    while (table.low <= table.high && !(step_of(table.high) <= 0x1p100F)) {
        --table.high;
    }
    table.rows = std::make_unique_for_overwrite<e2m1_row[]>(256);
    table.cell_unit = std::make_unique_for_overwrite<float[]>(256);
    // Bytes so far apart that the step doubles: so do the thresholds, in their exponents.
    int const octave = e8 ? 1 : 1 << e4m3::mantissa_bits;
    int const first = e8 ? table.low : 2 * octave - 1;  // E4M3: byte 8 begins the normals
    for (int byte = table.low; byte <= table.high; ++byte) {
        auto const at = static_cast<std::size_t>(byte);
        e2m1_row& row = table.rows[at];
        if (byte - octave >= table.low && byte > first) {
            std::size_t const half = at - static_cast<std::size_t>(octave);
            row = doubled(table.rows[half]);
            table.cell_unit[at] = 0.5F * table.cell_unit[half];
            continue;
        }
        float const s = step_of(byte);
        std::array<std::uint32_t, 8> steps{};
        for (std::size_t code = 0; code < e2m1_steps.size(); ++code) {
            float const t = least_weight_of(e2m1_threshold(code, s), input.factor);
            steps[code] = (bits_of<std::uint32_t>(t) + input.unseen) & ~input.unseen;
        }
        for (std::size_t cell = 0; cell < e2m1_signed_cells; ++cell) {
            std::uint8_t const code = e2m1_code_at(cell);
            std::uint32_t const sign = e2m1_negative_at(cell) ? 0x80000000u : 0u;
            row.threshold[cell] = code < 8 ? steps[code] | sign : 0u;
        }
        table.cell_unit[at] = 0x1p-22F / e2m1_cell_width * input.factor / s;
    }
    return table;
}

}  // namespace fpq::kernels
