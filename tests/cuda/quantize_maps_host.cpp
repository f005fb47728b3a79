// SPDX-License-Identifier: Apache-2.0
// Every value has one owner: the walks of the quantize kernels, and the rotation's matrix and
// lanes, played through on the host.
#include <vector>

#include "catch.hpp"
#include "fpq/cuda/api/vocabulary.hpp"
#include "fpq/cuda/quantize/rotation_map.cuh"
#include "fpq/format/scale_layout.hpp"
#include "fpq/transform/hadamard.hpp"

using namespace fpq::cuda;

TEST_CASE("division by multiplication is division", "[cuda]") {
    for (std::uint32_t d : {1u, 2u, 3u, 7u, 8u, 224u, 896u, 1000u, 65537u, 0x7FFFFFFFu}) {
        fast_divisor const by = make_divisor(d);
        for (std::uint32_t n : {0u, 1u, d - 1, d, d + 1, 3 * (d / 4), 12345678u, 0x7FFFFFFFu}) {
            n &= 0x7FFFFFFFu;
            REQUIRE(by.divide(n) == n / d);
        }
    }
}

TEST_CASE("each segment of 16 values has one thread, in both scale orders", "[cuda]") {
    for (fpq::quant_format format : {fpq::nvfp4, fpq::mxfp4}) {
        for (scale_order order : {scale_order::row_major, scale_order::swizzled}) {
            for (std::size_t rows : {1, 5, 128, 200}) {
                for (std::size_t segs : {2, 4, 14, 64}) {
                    segment_map map;
                    REQUIRE(make_segment_map(rows, segs * 16, format, order, map));
                    std::vector<int> owners(rows * segs, 0);
                    for (std::uint32_t unit = 0; unit < map.units; ++unit) {
                        auto const [row, seg, scale] = map.at(unit);
                        std::size_t const each = format.group / 16;
                        std::size_t const groups = segs / each;
                        if (row < rows && seg < segs) {
                            ++owners[row * segs + seg];
                            REQUIRE(
                                map.swizzled_scale(row, seg / static_cast<std::uint32_t>(each)) ==
                                fpq::swizzled_scales{groups}(row, seg / each));
                            REQUIRE(scale == (order == scale_order::swizzled
                                                  ? fpq::swizzled_scales{groups}(row, seg / each)
                                                  : row * groups + seg / each));
                        } else {
                            REQUIRE(scale == fpq::swizzled_scales{groups}(row, seg / each));
                        }
                        // The two halves of a wide group are neighbouring lanes.
                        if (format != fpq::nvfp4 && unit % 2 == 1) {
                            auto const before = map.at(unit - 1);
                            REQUIRE((before.row == row && before.seg + 1 == seg && seg % 2 == 1));
                        }
                    }
                    REQUIRE(owners == std::vector<int>(rows * segs, 1));
                }
            }
        }
    }
}

TEST_CASE("each block of a rotation has one row of one warp, in both scale orders", "[cuda]") {
    for (fpq::quant_format format : {fpq::nvfp4, fpq::mxfp4}) {
        for (scale_order order : {scale_order::row_major, scale_order::swizzled}) {
            for (int size : {16, 32, 64, 128}) {
                for (std::size_t rows : {1, 70, 256}) {
                    std::size_t const cols = 640;
                    rotation_map map;
                    REQUIRE(make_rotation_map(rows, cols, size, format, order, map));
                    std::vector<int> owners(rows * map.blocks, 0);
                    for (std::uint32_t warp = 0; warp < map.warps; ++warp) {
                        for (std::uint32_t q = 0; q < 16; ++q) {
                            auto const [row, block] = map.at(warp, q);
                            if (row < rows && block < map.blocks) {
                                ++owners[row * map.blocks + block];
                            }
                        }
                    }
                    REQUIRE(owners == std::vector<int>(rows * map.blocks, 1));
                }
            }
        }
    }
}

namespace {

template <bool Wide, int Size>
std::size_t wrong_lanes(std::size_t rows, std::size_t cols) {
    fpq::quant_format const format = Wide ? fpq::mxfp4 : fpq::nvfp4;
    rotation_map map;
    segment_map segments;
    REQUIRE(make_rotation_map(rows, cols, Size, format, scale_order::swizzled, map));
    REQUIRE(make_segment_map(rows, cols, format, scale_order::swizzled, segments));
    std::size_t wrong = 0;
    for (std::uint32_t warp = 0; warp < map.warps; ++warp) {
        for (std::uint32_t lane = 0; lane < 32; ++lane) {
            swizzled_lane const at = place_lane<Wide, Size>(map, segments.tiles, warp, lane);
            for (std::uint32_t lower = 0; lower < 2; ++lower) {
                block_place const place = map.at(warp, lane / 4 + 8 * lower);
                std::uint32_t const segs = rotation_span(Size) / 16;
                std::uint32_t const group = (place.block * segs + lane % 4) / (Wide ? 2 : 1);
                bool const inside = place.row < rows && place.block < map.blocks;
                bool const right =
                    at.row + lower * at.below == place.row && at.block == place.block &&
                    at.scale + lower * at.scale_below == segments.swizzled_scale(place.row, group);
                wrong += right || !inside ? 0 : 1;
            }
        }
    }
    return wrong;
}

}  // namespace

TEST_CASE("a lane's places and scale bytes at once are those of the maps", "[cuda]") {
    for (std::size_t rows : {70, 256}) {
        REQUIRE(wrong_lanes<false, 32>(rows, 640) == 0);
        REQUIRE(wrong_lanes<false, 128>(rows, 640) == 0);
        REQUIRE(wrong_lanes<true, 64>(rows, 640) == 0);
        REQUIRE(wrong_lanes<true, 128>(rows, 640) == 0);
    }
}

TEST_CASE("mma columns and additions in the lane make up the Hadamard matrix", "[cuda]") {
    for (int size : {16, 32, 64, 128}) {
        std::uint32_t const span = rotation_span(size);
        std::uint32_t const lane_bits = (size == 128 ? 0x40u : 0u) | 0x0Au;
        for (std::uint32_t in = 0; in < span; ++in) {
            for (std::uint32_t out = 0; out < span; ++out) {
                int const by_mma = mma_sign(size, in & ~lane_bits, out & ~lane_bits);
                int const by_lane = fpq::hadamard_sign(in & lane_bits, out & lane_bits);
                auto const g = static_cast<std::uint32_t>(size);
                int const expected = in / g == out / g ? fpq::hadamard_sign(in % g, out % g) : 0;
                REQUIRE(by_mma * by_lane == expected);
            }
        }
    }
    // The k and n indices name every column without bits 1 and 3 once, and a lane's are its own.
    std::vector<int> seen_k(64, 0);
    std::vector<int> seen_n(64, 0);
    for (std::uint32_t k = 0; k < 16; ++k) {
        ++seen_k[column_of_k(k)];
        REQUIRE(column_of_k(k) / 16 == k % 8 / 2);
        ++seen_n[column_of_n(k / 8, k % 8)];
    }
    for (std::uint32_t column = 0; column < 64; ++column) {
        REQUIRE(seen_k[column] == ((column & 0x0Au) == 0 ? 1 : 0));
        REQUIRE(seen_n[column] == ((column & 0x0Au) == 0 ? 1 : 0));
    }
}
