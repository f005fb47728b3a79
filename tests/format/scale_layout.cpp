// SPDX-License-Identifier: Apache-2.0
// The 128x4 scale layout: the vendors' formula, a bijection on the padded shape, and its inverse.
#include "fpq/format/scale_layout.hpp"

#include <algorithm>
#include <array>
#include <numeric>
#include <vector>

#include "catch.hpp"

namespace {

static_assert(fpq::round_up(129, 128) == 256 && fpq::round_up(128, 128) == 128);
static_assert(fpq::swizzled_scales{4}(0, 3) == 3 && fpq::swizzled_scales{4}(1, 0) == 16);
static_assert(fpq::swizzled_scales{4}(32, 0) == 4 && fpq::swizzled_scales{8}(0, 4) == 512);
static_assert(fpq::row_major_scales{8}(2, 3) == 19);

constexpr bool round_trip_is_constexpr() {
    std::array<std::uint8_t, 6> const in{1, 2, 3, 4, 5, 6};
    std::array<std::uint8_t, 512> tile{};
    std::array<std::uint8_t, 6> back{};
    fpq::swizzle_scales(in.data(), 2, 3, tile.data());
    fpq::unswizzle_scales(tile.data(), 2, 3, back.data());
    return back == in && tile[18] == 6;
}
static_assert(round_trip_is_constexpr());

/// The layout as CUTLASS states it: a tile of shape ((32, 4), 4) with strides ((16, 4), 1), tiles
/// of one row of tiles in ascending columns.
std::size_t by_strides(std::size_t row, std::size_t group, std::size_t groups) {
    std::size_t const tiles_across = (groups + 3) / 4;
    std::size_t const in_tile = row % 128;
    std::size_t const inner = in_tile % 32;
    std::size_t const outer = in_tile / 32;
    std::size_t const tile = row / 128 * tiles_across + group / 4;
    return tile * 32 * 4 * 4 + inner * 16 + outer * 4 + group % 4;
}

struct shape {
    std::size_t rows;
    std::size_t groups;
};

shape const shapes[] = {{1, 1},   {1, 4},   {3, 5},   {31, 7},   {32, 4},  {33, 1},  {127, 11},
                        {128, 4}, {129, 3}, {128, 8}, {172, 11}, {300, 6}, {256, 16}};

}  // namespace

TEST_CASE("the swizzle is the vendors' formula and a bijection on the padded shape", "[format]") {
    for (shape const& s : shapes) {
        INFO("rows " << s.rows << " groups " << s.groups);
        fpq::swizzled_scales const at{s.groups};
        std::size_t const rows = fpq::round_up(s.rows, 128);
        std::size_t const groups = fpq::round_up(s.groups, 4);
        REQUIRE(at.size(s.rows) == rows * groups);
        std::vector<int> hit(rows * groups, 0);
        for (std::size_t row = 0; row < rows; ++row) {
            for (std::size_t g = 0; g < groups; ++g) {
                std::size_t const offset = at(row, g);
                REQUIRE(offset < hit.size());
                REQUIRE(offset == by_strides(row, g, s.groups));
                ++hit[offset];
            }
        }
        REQUIRE(std::accumulate(hit.begin(), hit.end(), 0) == static_cast<int>(hit.size()));
        REQUIRE(std::count(hit.begin(), hit.end(), 1) == static_cast<long>(hit.size()));
    }
}

TEST_CASE("the row-major layout is a bijection in storage order", "[format]") {
    for (shape const& s : shapes) {
        fpq::row_major_scales const at{s.groups};
        std::size_t next = 0;
        for (std::size_t row = 0; row < s.rows; ++row) {
            for (std::size_t g = 0; g < s.groups; ++g) {
                REQUIRE(at(row, g) == next++);
            }
        }
        REQUIRE(at.size(s.rows) == next);
    }
}

TEST_CASE("unswizzling undoes swizzling and padding gets the fill byte", "[format]") {
    for (shape const& s : shapes) {
        INFO("rows " << s.rows << " groups " << s.groups);
        std::vector<std::uint8_t> in(s.rows * s.groups);
        for (std::size_t i = 0; i < in.size(); ++i) {
            in[i] = static_cast<std::uint8_t>(1 + i % 250);
        }
        fpq::swizzled_scales const at{s.groups};
        std::vector<std::uint8_t> tiles(at.size(s.rows), 0xEE);
        fpq::swizzle_scales(in.data(), s.rows, s.groups, tiles.data(), 0xFF);
        std::vector<std::uint8_t> back(in.size());
        fpq::unswizzle_scales(tiles.data(), s.rows, s.groups, back.data());
        REQUIRE(back == in);
        auto const padding = std::count(tiles.begin(), tiles.end(), std::uint8_t{0xFF});
        REQUIRE(static_cast<std::size_t>(padding) == tiles.size() - in.size());
    }
}
