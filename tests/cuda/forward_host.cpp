// SPDX-License-Identifier: Apache-2.0
// The parts of the forward kernels that need no GPU: who holds which piece of a row and of a head.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "catch.hpp"
#include "fpq/cuda/forward/attention_tile.hpp"
#include "fpq/cuda/forward/rope_map.hpp"
#include "fpq/cuda/forward/row_plan.hpp"
#include "fpq/cuda/forward/score_state.hpp"
#include "support/gaussian.hpp"

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
    for (std::size_t dim = 8; dim <= 256; dim += 8) {
        for (std::size_t const heads : {2u, 5u, 40u, 41u}) {
            for (std::size_t const tokens : {3u, 2500u}) {
                auto const m = fpq::cuda::plan_rope(dim, heads, tokens);
                REQUIRE(m.held == (tokens == 3 ? 1 : 4));
                REQUIRE(2 * m.half == dim);
                REQUIRE(m.half % static_cast<std::uint32_t>(m.width) == 0);
                REQUIRE(m.lanes * m.width >= static_cast<int>(m.half));
                REQUIRE(32 % m.lanes == 0);
                REQUIRE((m.width == 8 || m.lanes == 32));
                std::vector<int> held(tokens * heads, 0);
                for (std::size_t g = 0; g < tokens * m.groups_a_token; ++g) {
                    for (std::uint32_t i = 0; i < m.held; ++i) {
                        if (m.head(g) + i < heads) {
                            ++held[m.token(g) * heads + m.head(g) + i];
                        }
                    }
                }
                REQUIRE(
                    std::all_of(held.begin(), held.end(), [](int times) { return times == 1; }));
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

TEST_CASE("parts of a distribution join to the whole, however it was cut", "[cuda]") {
    std::size_t const n = 200;
    std::vector<float> const x = fpq_test::gaussian(n, 3, 4, 6.0F);
    std::vector<float> y = fpq_test::gaussian(n, 3, 5, 0.5F);
    double whole = 0;
    double other = 0;
    for (std::size_t i = 0; i < n; ++i) {
        y[i] += x[i];
        whole += std::exp(static_cast<double>(x[i]));
        other += std::exp(static_cast<double>(y[i]));
    }
    double kl = 0;
    for (std::size_t i = 0; i < n; ++i) {
        double const p = std::exp(static_cast<double>(x[i])) / whole;
        kl += p * (std::log(p) - static_cast<double>(y[i]) + std::log(other));
    }
    auto const one = [](float v, float w, std::size_t i) {
        fpq::cuda::score_part part;
        part.most = v;
        part.index = static_cast<std::int32_t>(i);
        part.sum = 1;
        part.cross = static_cast<double>(v) - static_cast<double>(w);
        return part;
    };
    for (std::size_t const cut : {0u, 1u, 77u, 199u, 200u}) {
        fpq::cuda::score_state state;
        fpq::cuda::score_state rest;
        for (std::size_t i = 0; i < n; ++i) {
            auto& to = i < cut ? state : rest;
            to.reference = join(one(x[i], y[i], i), to.reference);
            to.model = join(to.model, one(y[i], y[i], i));
        }
        state.reference = join(rest.reference, state.reference);
        state.model = join(state.model, rest.model);
        state.target = y[5];
        state.reference_target = x[5];
        auto const found = finished(state, true, true);
        INFO("cut at " << cut);
        CHECK(static_cast<double>(found.kl) == Approx(kl).epsilon(1e-5));
        CHECK(static_cast<double>(found.nll) ==
              Approx(std::log(other) - static_cast<double>(y[5])).epsilon(1e-5));
        CHECK(static_cast<double>(found.reference_nll) ==
              Approx(std::log(whole) - static_cast<double>(x[5])).epsilon(1e-5));
        auto const top = std::max_element(x.begin(), x.end()) - x.begin();
        CHECK(state.reference.index == static_cast<std::int32_t>(top));
    }
    // Equal ones: the first place, from either side.
    CHECK(join(one(2, 0, 9), one(2, 0, 4)).index == 4);
    CHECK(join(one(2, 0, 4), one(2, 0, 9)).index == 4);
}
