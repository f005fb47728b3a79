// SPDX-License-Identifier: Apache-2.0
// Floor 2. What a magnitude loses at least under each E4M3 scale that the sweep of an NVFP4 group
// may end with: one table for all groups, since scales an octave apart only change the unit.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "fpq/core/bits.hpp"
#include "fpq/format/minifloat.hpp"
#include "fpq/quant/kernels/mse_bounds.hpp"
#include "fpq/quant/rounding.hpp"

namespace fpq::kernels {

/// Magnitudes y in units of the octave of the minmax scale, whose byte is b: 0 to 12. A row a cell
/// of y holds lower bounds of (y - s q)^2 over the cell for the scales s of three octaves, the
/// minmax scale's in the middle. The sweep needs a window of 16 of them:
/// - b - 8, half the scale, and smaller ones cut off more of the largest value than groups lose;
/// - b + 9 and larger ones have a half that holds all values and is tried before.
struct nvfp_sweep_bounds {
    static constexpr int cells = 2048;
    static constexpr float span = 12.0F;
    static constexpr int octave = 1 << e4m3::mantissa_bits;
    static constexpr int columns = 3 * octave;
    static constexpr int candidates = 16;
    /// Candidate 0 of byte b is b - down.
    static constexpr int down = 7;
    /// Of losses; sums saturate at 16 squared octave units.
    static constexpr float unit = 4096.0F;
    static constexpr float slack = mse_bounds::slack;
    /// What b - 8 loses at least, in squares of the minmax scale: that is rounded up by a 16th at
    /// most, so that the largest value lies at 5.625 or beyond, and the cut at 3.
    static constexpr float beyond = 6.8F;

    /// 64 bytes a row, so that no window meets two lines.
    alignas(64) std::array<std::array<std::uint16_t, 32>, cells + 2> rows;

    /// The window's first column.
    static constexpr int first(int byte) noexcept { return byte % octave + octave - down; }

    /// The table, made by the first call.
    static nvfp_sweep_bounds const& get() {
        static nvfp_sweep_bounds const table;
        return table;
    }

private:
    nvfp_sweep_bounds() noexcept : rows{} {
        for (int column = 0; column < columns; ++column) {
            float const s = exp2_int(column / octave - 1) *
                            (1.0F + static_cast<float>(column % octave) / octave);
            for (int cell = 0; cell < cells + 2; ++cell) {
                float const d = least_distance(cell, span / cells, s);
                rows[static_cast<std::size_t>(cell)][static_cast<std::size_t>(column)] =
                    static_cast<std::uint16_t>(
                        std::min(65535.0F, std::floor(d * d * (unit / slack))));
            }
        }
    }
};

}  // namespace fpq::kernels
