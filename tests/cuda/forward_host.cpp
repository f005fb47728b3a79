// SPDX-License-Identifier: Apache-2.0
// The parts of the forward kernels that need no GPU: who holds which piece of a row and of a head.
#include <cstddef>
#include <cstdint>
#include <vector>

#include "catch.hpp"
#include "fpq/cuda/forward/attention_tile.hpp"
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

namespace {

template <int Dim>
void check_attention_tile() {
    using tile = fpq::cuda::attention_tile<Dim>;
    INFO("head_dim " << Dim);
    std::vector<int> used(static_cast<std::size_t>(tile::keys * tile::pieces), 0);
    for (std::uint32_t row = 0; row < tile::keys; ++row) {
        for (std::uint32_t piece = 0; piece < tile::pieces; ++piece) {
            auto const at = tile::place(row, piece);
            REQUIRE(at % 16 == 0);
            REQUIRE(at < static_cast<std::uint32_t>(tile::key_bytes));
            ++used[at / 16];
            // What the kernel makes of it, in a stage that begins at a multiple of 128.
            auto const from = 1024 + tile::place(row, piece % 2);
            REQUIRE(tile::onward(from, piece / 2 * 2) == 1024 + at);
            REQUIRE(tile::mix(row) == tile::mix(row + 8));
        }
    }
    for (int const times : used) {
        REQUIRE(times == 1);
    }
    // Eight neighbouring rows, one piece: what an eighth of an ldmatrix reads, all 32 banks.
    for (std::uint32_t row = 0; row < tile::keys; row += 8) {
        for (std::uint32_t piece = 0; piece < tile::pieces; ++piece) {
            unsigned banks = 0;
            for (std::uint32_t r = 0; r < 8; ++r) {
                banks |= 1u << (tile::place(row + r, piece) / 16 % 8);
            }
            REQUIRE(banks == 0xFFu);
        }
    }
}

}  // namespace

TEST_CASE("attention's rows lie in shared memory once and without conflicts", "[cuda]") {
    check_attention_tile<64>();
    check_attention_tile<80>();
    check_attention_tile<96>();
    check_attention_tile<128>();
    check_attention_tile<256>();
}

TEST_CASE("attention's blocks do every tile of every head once, those with most keys first",
          "[cuda]") {
    for (std::uint32_t const pairs : {1u, 8u, 31u, 32u, 33u, 96u, 100u}) {
        for (std::uint32_t const tiles : {1u, 2u, 16u, 17u}) {
            fpq::cuda::attention_order const order{pairs, tiles};
            std::vector<int> done(static_cast<std::size_t>(pairs) * tiles, 0);
            std::vector<std::uint32_t> last(pairs, tiles);
            for (std::uint32_t b = 0; b < pairs * tiles; ++b) {
                auto const item = order.at(b);
                REQUIRE(item.pair < pairs);
                REQUIRE(item.tile + 1 == last[item.pair]);
                last[item.pair] = item.tile;
                ++done[static_cast<std::size_t>(item.pair) * tiles + item.tile];
            }
            for (int const times : done) {
                REQUIRE(times == 1);
            }
        }
    }
}

TEST_CASE("attention's range of keys is what its queries see", "[cuda]") {
    for (std::uint32_t const sliding : {0u, 1u, 5u, 64u, 1000u}) {
        for (std::uint32_t const from : {0u, 1u, 4u, 5u, 63u, 64u, 200u}) {
            std::uint32_t const to = from + 7;
            auto const range = fpq::cuda::keys_seen(from, to, sliding);
            for (std::uint32_t key = 0; key < to + 3; ++key) {
                bool seen = false;
                for (std::uint32_t q = from; q < to; ++q) {
                    int const back = static_cast<int>(q) - static_cast<int>(key);
                    bool const one = key <= q && (sliding == 0 || key + sliding > q);
                    REQUIRE(fpq::cuda::seen_back(back, sliding) == one);
                    seen = seen || one;
                }
                REQUIRE(seen == (key >= range.first && key < range.end));
            }
        }
    }
}
