// SPDX-License-Identifier: Apache-2.0
// The tables that say which scales can win: no loss lies below its bound, wherever in its cell a
// value is, and bounds are close enough to be of use.
#include "fpq/quant/kernels/sweep_bounds.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "catch.hpp"
#include "fpq/format/minifloat.hpp"
#include "fpq/quant/kernels/mse_bounds.hpp"

using fpq::kernels::mse_bounds;
using fpq::kernels::nvfp_sweep_bounds;

namespace {

/// |y - scale q|, q the nearest value of E2M1.
double distance(double y, double scale) {
    double least = y;
    for (double const q : {0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0}) {
        least = std::min(least, std::fabs(y - scale * q));
    }
    return least;
}

struct verdict {
    std::size_t above = 0;  // bounds above a loss
    double bounds = 0.0;
    double losses = 0.0;
};

/// A table's bounds of one scale against losses at both ends of each cell and in between.
template <class Rows>
verdict compare(Rows const& rows, std::size_t column, int cells, double width, double scale,
                double power, double unit) {
    verdict v;
    for (int cell = 0; cell < cells + 2; ++cell) {
        double const bound = rows[static_cast<std::size_t>(cell)][column];
        for (double const part : {-0.005, 0.0, 0.3, 0.5, 0.8, 1.0, 1.005}) {
            double const y = std::max(0.0, (cell + part) * width);
            double const loss = unit * std::pow(distance(y, scale), power);
            v.above += bound > std::max(0.0, loss) ? 1U : 0U;
        }
        v.bounds += bound;
        v.losses +=
            std::min(65535.0, unit * std::pow(distance((cell + 0.5) * width, scale), power));
    }
    return v;
}

}  // namespace

TEST_CASE("bounds of the mse search lie closely below all losses", "[quant][kernels]") {
    mse_bounds const& table = mse_bounds::get();
    for (int i = 0; i < mse_bounds::candidates; ++i) {
        INFO("candidate " << i);
        auto const column = static_cast<std::size_t>(mse_bounds::place(i));
        double const f = table.factor[static_cast<std::size_t>(i)];
        REQUIRE(f == static_cast<double>(static_cast<float>(1.0 - 0.8 * i / 100)));
        verdict const v = compare(table.rows, column, mse_bounds::cells, 6.0 / mse_bounds::cells, f,
                                  2.4, mse_bounds::unit);
        CHECK(v.above == 0);
        CHECK(v.bounds > 0.95 * v.losses);
    }
    // The first candidate beyond the table cuts 6 (1 - f) off the largest value.
    CHECK(table.beyond <= mse_bounds::unit * std::pow(6.0 * (0.8 * 32 / 100), 2.4));
}

TEST_CASE("bounds of the NVFP4 sweep lie closely below all losses", "[quant][kernels]") {
    using table = nvfp_sweep_bounds;
    for (int byte = 16; byte < 16 + table::octave; ++byte) {  // all octaves are alike
        double const minmax = fpq::e4m3::decode(static_cast<std::uint8_t>(byte));
        double const in_octaves = 1.0 + static_cast<double>(byte % table::octave) / table::octave;
        for (int i = 0; i < table::candidates; ++i) {
            int const other = byte - table::down + i;
            INFO("byte " << byte << ", candidate " << other);
            double const scale =
                fpq::e4m3::decode(static_cast<std::uint8_t>(other)) / minmax * in_octaves;
            verdict const v =
                compare(table::get().rows, static_cast<std::size_t>(table::first(byte) + i),
                        table::cells, 12.0 / table::cells, scale, 2.0, table::unit);
            CHECK(v.above == 0);
            CHECK(v.bounds > 0.9 * v.losses);
        }
    }
}
