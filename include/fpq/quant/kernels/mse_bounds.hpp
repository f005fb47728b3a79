// SPDX-License-Identifier: Apache-2.0
// Floor 2. What a magnitude loses at least under each of the first candidates of E2M1's mse search,
// by where it lies below the largest value of its group: one table for all groups.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "fpq/format/minifloat.hpp"
#include "fpq/quant/group_error.hpp"
#include "fpq/quant/rounding.hpp"
#include "fpq/quant/scale_search.hpp"

namespace fpq::kernels {

/// Factor of candidate i, see scale_search::mse.
inline float mse_factor(int i) noexcept {
    return static_cast<float>(1.0 - mse_max_shrink * i / mse_steps);
}

/// The least distance of a y in a cell, [cell, cell + 1] width, from the grid of E2M1 times
/// `scale`.
inline float least_distance(int cell, float width, float scale) noexcept {
    grid_rule const grid = rule_of(element_kind::e2m1);
    // A little more than the cell: kernels are a rounding error off when they look for it.
    float const low = std::max(0.0F, (static_cast<float>(cell) - 0.01F) * width);
    float const high = (static_cast<float>(cell) + 1.01F) * width;
    float const below = scale * snap<false>(low / scale, grid);
    float const above = scale * snap<false>(high / scale, grid);
    // Nothing is lost at a grid value, and between two the least is at an end of the cell.
    bool const holds = (low <= below && below <= high) || (low <= above && above <= high);
    return holds ? 0.0F : std::min(magnitude(low - below), magnitude(high - above));
}

/// Magnitudes y in units of the unrounded minmax scale: 0 to 6. A row a cell of y holds, for each
/// candidate, a lower bound of |y - f q|^2.4 over the cell, q the nearest grid value of y / f.
struct mse_bounds {
    static constexpr int cells = 2048;
    static constexpr int candidates = 32;
    /// Of losses; sums saturate at 8, which is more than almost every group loses.
    static constexpr float unit = 8192.0F;
    /// Rounding in a kernel (its products, quotients and sums of losses) stays below this.
    static constexpr float slack = 1.0F + 1e-4F;

    /// Candidates 0-7, 16-23, 8-15, 24-31: two vectors of 16 whose comparisons pack in order.
    static constexpr int place(int i) noexcept { return (i & 7) | (i & 8) << 1 | (i & 16) >> 1; }

    alignas(64) std::array<std::array<std::uint16_t, candidates>, cells + 2> rows;
    std::array<float, candidates> factor;
    /// Of the first candidate beyond the table and all later ones: the largest value's cut alone.
    float beyond;

    /// The table, made by the first call.
    static mse_bounds const& get() {
        static mse_bounds const table;
        return table;
    }

private:
    mse_bounds() noexcept {
        for (int i = 0; i < candidates; ++i) {
            float const f = mse_factor(i);
            factor[static_cast<std::size_t>(i)] = f;
            for (int cell = 0; cell < cells + 2; ++cell) {
                float const d = least_distance(cell, e2m1::max / cells, f);
                rows[static_cast<std::size_t>(cell)][static_cast<std::size_t>(place(i))] =
                    in_units(d);
            }
        }
        beyond = in_units(e2m1::max * (1.0F - mse_factor(candidates)));
    }

    static std::uint16_t in_units(float d) noexcept {
        return static_cast<std::uint16_t>(
            std::min(65535.0F, std::floor(power_2_4(d) * (unit / slack))));
    }
};

}  // namespace fpq::kernels
