// SPDX-License-Identifier: Apache-2.0
// Floor 2. E2M1 codes under a one-byte scale without a division, exactly: for every scale byte, the
// least weights at which encode(fl(w / s)) steps to the next code. A weight's cell floor(2 |w| / s)
// picks the one threshold that can lie near it, so the cell itself may be a rounding error off.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "fpq/core/bits.hpp"
#include "fpq/format/packed.hpp"

namespace fpq::kernels {

/// Cells of 2|w|/s: 0..15, the last ones all beyond the largest code.
inline constexpr std::size_t e2m1_cells = 16;
/// Which threshold a cell looks at = the code below that threshold.
inline constexpr std::array<std::uint8_t, e2m1_cells> e2m1_cell_code{0, 1, 2, 3, 4, 4, 5, 5,
                                                                     6, 6, 6, 6, 6, 6, 6, 6};

/// Twice the value where code k becomes k + 1, and whether the tie itself goes up (to an even
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

/// The thresholds of one scale, by cell: their bits, to be compared as integers.
struct alignas(64) e2m1_row {
    std::array<std::uint32_t, e2m1_cells> threshold;
};

/// The rows of the scale bytes low..high under one global scale; the others stay zero.
struct e2m1_table {
    int low = 1;
    int high = 0;                  // below low: nothing can be encoded by table
    std::vector<e2m1_row> rows;    // by byte
    std::vector<float> cell_unit;  // by byte: 2^-21 / s. fma(|w|, cell_unit, 2) rounded down holds
                                   // the cell in its low bits
};

/// All bytes of `kind` (e4m3 or e8m0) whose step fl(scale / global) lies in [2^-100, 2^100].
inline e2m1_table make_e2m1_table(scale_kind kind, float global_scale) {
    e2m1_table table;
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
    table.rows.resize(256);
    table.cell_unit.resize(256);
    // Bytes so far apart that the step doubles: so do the thresholds, in their exponents.
    int const octave = e8 ? 1 : 1 << e4m3::mantissa_bits;
    int const first = e8 ? table.low : 2 * octave - 1;  // E4M3: byte 8 begins the normals
    for (int byte = table.low; byte <= table.high; ++byte) {
        auto const at = static_cast<std::size_t>(byte);
        e2m1_row& row = table.rows[at];
        if (byte - octave >= table.low && byte > first) {
            std::size_t const half = at - static_cast<std::size_t>(octave);
            for (std::size_t cell = 0; cell < e2m1_cells; ++cell) {
                row.threshold[cell] = table.rows[half].threshold[cell] + (1u << 23);
            }
            table.cell_unit[at] = 0.5F * table.cell_unit[half];
            continue;
        }
        float const s = step_of(byte);
        std::array<std::uint32_t, 7> steps{};
        for (std::size_t code = 0; code < steps.size(); ++code) {
            steps[code] = bits_of<std::uint32_t>(e2m1_threshold(code, s));
        }
        for (std::size_t cell = 0; cell < e2m1_cells; ++cell) {
            row.threshold[cell] = steps[e2m1_cell_code[cell]];
        }
        table.cell_unit[at] = 0x1p-21F / s;
    }
    return table;
}

}  // namespace fpq::kernels
