// SPDX-License-Identifier: Apache-2.0
// The parts of the forward kernels that need no GPU: who holds which piece of a row and of a head.
#include <cstddef>
#include <cstdint>
#include <vector>

#include "catch.hpp"
#include "fpq/cuda/forward/rope_map.hpp"
#include "fpq/cuda/forward/row_plan.hpp"

TEST_CASE("a block holds every piece of a row for RMSNorm", "[cuda]") {
    using plan = fpq::cuda::row_plan;
    for (std::size_t cols = plan::width; cols <= plan::most_cols; cols += plan::width) {
        auto const p = fpq::cuda::plan_row(cols);
        auto const room = static_cast<std::size_t>(p.threads * p.held) * plan::width;
        REQUIRE(p.threads % 32 == 0);
        REQUIRE(p.threads <= plan::most_threads);
        REQUIRE((p.held == 1 || p.held == 2 || p.held == 4 || p.held == 8));
        REQUIRE(room >= cols);
        // No more than half of it idle, or a warp.
        REQUIRE((room / 2 < cols || p.threads == 32));
    }
    CHECK(fpq::cuda::plan_row(4096).held == 2);
}

TEST_CASE("groups of lanes hold every value of every head once", "[cuda]") {
    using map = fpq::cuda::rope_map;
    for (std::size_t dim = 8; dim <= 256; dim += 8) {
        for (std::size_t const heads : {2u, 5u, 40u, 41u}) {
            auto const m = fpq::cuda::plan_rope(dim, heads);
            REQUIRE(2 * m.half == dim);
            REQUIRE(m.half % static_cast<std::uint32_t>(m.width) == 0);
            REQUIRE(m.lanes * m.width >= static_cast<int>(m.half));
            REQUIRE(32 % m.lanes == 0);
            REQUIRE((m.width == 8 || m.lanes == 32));
            std::size_t const tokens = 3;
            std::vector<int> held(tokens * heads, 0);
            for (std::size_t g = 0; g < tokens * m.groups_a_token; ++g) {
                for (std::uint32_t i = 0; i < map::heads_held; ++i) {
                    if (m.head(g) + i < heads) {
                        ++held[m.token(g) * heads + m.head(g) + i];
                    }
                }
            }
            for (int const times : held) {
                REQUIRE(times == 1);
            }
        }
    }
}
