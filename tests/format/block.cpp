// SPDX-License-Identifier: Apache-2.0
// Sizes of every block format: groups, ragged tails, bytes of codes and scales, bits per value.
#include "fpq/format/block.hpp"

#include <type_traits>

#include <string>

#include "catch.hpp"
#include "fpq/format/scale_layout.hpp"

namespace {

using fpq::granularity;
using fpq::quant_format;

static_assert(fpq::nvfp4.groups(172) == 11 && fpq::mxfp4.groups(172) == 6);
static_assert(fpq::nvfp4.group_length(172, 10) == 12 && fpq::mxfp4.group_length(172, 5) == 12);
static_assert(fpq::nvfp4.row_bytes(172) == 86 && fpq::mxfp6_e2m3.row_bytes(172) == 129);
static_assert(fpq::nvfp4_block::code_bytes(3, 5) == 9 && fpq::nvfp4_block::scale_count(2, 17) == 4);
static_assert(fpq::nvfp4_block::has_global_scale && !fpq::mxfp4_block::has_global_scale);
static_assert(std::is_trivially_copyable_v<quant_format>);

struct expected_row {
    char const* name;
    quant_format format;
    double bits;  // of a (128, 256) matrix, without the global scale
};

double bits_without_global(quant_format const& f) {
    double const global = f.has_global ? 32.0 / (128.0 * 256.0) : 0.0;
    return f.bits_per_value(128, 256) - global;
}

template <class Block>
void check_block(quant_format const& format) {
    CHECK(Block::element::bits == fpq::element_bits(format.element));
    CHECK(Block::element::max == fpq::element_max(format.element));
    CHECK(Block::scale == format.scale);
    CHECK(Block::group == format.group);
    CHECK(Block::bits_per_value == bits_without_global(format));
    for (std::size_t cols = 1; cols <= 70; ++cols) {
        REQUIRE(Block::row_bytes(cols) == format.row_bytes(cols));
        REQUIRE(Block::scale_count(3, cols) == format.scale_count(3, cols));
    }
    bool same = false;
    CHECK(fpq::visit_format(
        format, [&same](auto block) { same = std::is_same_v<decltype(block), Block>; }));
    CHECK(same);
}

}  // namespace

TEST_CASE("every block format has its bits per value", "[format]") {
    expected_row const rows[] = {
        {"nvfp4", fpq::nvfp4, 4.5},
        {"mxfp4", fpq::mxfp4, 4.25},
        {"mxfp6_e2m3", fpq::mxfp6_e2m3, 6.25},
        {"mxfp6_e3m2", fpq::mxfp6_e3m2, 6.25},
        {"mxfp8_e4m3", fpq::mxfp8_e4m3, 8.25},
        {"mxfp8_e5m2", fpq::mxfp8_e5m2, 8.25},
        {"fp4 g16", fpq::fp4(16), 5.0},
        {"fp4 g128", fpq::fp4(128), 4.125},
        {"fp4 channel", fpq::fp4(0, granularity::channel), 4.0 + 16.0 / 256.0},
        {"fp4 tensor", fpq::fp4(0, granularity::tensor), 4.0 + 16.0 / (128.0 * 256.0)},
        {"int4 g32", fpq::int_format(4, 32), 4.5},
        {"int4 g32 asymmetric", fpq::int_format(4, 32, false), 4.75},
        {"int3 g128", fpq::int_format(3, 128), 3.125},
        {"int8 channel", fpq::int_format(8, 0, true, granularity::channel), 8.0 + 16.0 / 256.0},
        {"int8 channel asymmetric", fpq::int_format(8, 0, false, granularity::channel),
         8.0 + 24.0 / 256.0},
        {"int2 tensor asymmetric", fpq::int_format(2, 0, false, granularity::tensor),
         2.0 + 24.0 / (128.0 * 256.0)}};
    for (expected_row const& row : rows) {
        INFO(row.name);
        CHECK(bits_without_global(row.format) == row.bits);
    }
    // Codes, scales, and four bytes of the global scale.
    CHECK(fpq::nvfp4.bytes(3, 17) == 3 * 9 + 3 * 2 + 4);
    CHECK(fpq::mxfp4.bytes(3, 33) == 3 * 17 + 3 * 2);
    CHECK(fpq::nvfp4.bits_per_value(128, 256) == 4.5 + 32.0 / (128.0 * 256.0));
}

TEST_CASE("the compile-time blocks say the same as the run-time formats", "[format]") {
    check_block<fpq::nvfp4_block>(fpq::nvfp4);
    check_block<fpq::mxfp4_block>(fpq::mxfp4);
    check_block<fpq::mxfp6_e2m3_block>(fpq::mxfp6_e2m3);
    check_block<fpq::mxfp6_e3m2_block>(fpq::mxfp6_e3m2);
    check_block<fpq::mxfp8_e4m3_block>(fpq::mxfp8_e4m3);
    check_block<fpq::mxfp8_e5m2_block>(fpq::mxfp8_e5m2);
    CHECK_FALSE(fpq::visit_format(fpq::fp4(16), [](auto) {}));
    CHECK_FALSE(fpq::visit_format(fpq::int_format(4, 32), [](auto) {}));
}

TEST_CASE("a ragged width ends in one short group and the groups cover the row", "[format]") {
    for (std::size_t group = 1; group <= 64; ++group) {
        quant_format const f = fpq::fp4(group);
        for (std::size_t cols = 0; cols <= 200; ++cols) {
            std::size_t covered = 0;
            std::size_t short_groups = 0;
            for (std::size_t g = 0; g < f.groups(cols); ++g) {
                std::size_t const length = f.group_length(cols, g);
                REQUIRE(length >= 1);
                REQUIRE(length <= group);
                REQUIRE((length == group || g + 1 == f.groups(cols)));
                short_groups += length < group;
                covered += length;
            }
            REQUIRE(covered == cols);
            REQUIRE(f.has_short_tail(cols) == (short_groups == 1));
        }
    }
    CHECK(fpq::nvfp4.has_short_tail(172));
    CHECK(fpq::mxfp4.has_short_tail(172));
    CHECK_FALSE(fpq::nvfp4.has_short_tail(176));
    CHECK(fpq::nvfp4.scale_count(5, 172) == 55);
    CHECK(fpq::mxfp4.scale_count(5, 172) == 30);
}

TEST_CASE("channel and tensor granularity have one group a row", "[format]") {
    quant_format const channel = fpq::int_format(4, 32, true, granularity::channel);
    quant_format const tensor = fpq::int_format(4, 32, true, granularity::tensor);
    CHECK(channel.group_of(172) == 172);
    CHECK(channel.groups(172) == 1);
    CHECK(channel.scale_count(7, 172) == 7);
    CHECK(tensor.groups(172) == 1);
    CHECK(tensor.scale_count(7, 172) == 1);
    CHECK_FALSE(channel.has_short_tail(172));
    CHECK(channel.scale_bytes_each() == 2);
}

TEST_CASE("empty matrices have no groups and no bits", "[format]") {
    CHECK(fpq::nvfp4.groups(0) == 0);
    CHECK(fpq::nvfp4.row_bytes(0) == 0);
    CHECK(fpq::nvfp4.bits_per_value(0, 16) == 0.0);
    CHECK(fpq::fp4(0, granularity::channel).groups(0) == 0);
}

TEST_CASE("formats compare by what their bytes mean", "[format]") {
    CHECK(fpq::fp4(16, granularity::channel) == fpq::fp4(32, granularity::channel));
    CHECK_FALSE(fpq::fp4(16) == fpq::fp4(32));
    CHECK_FALSE(fpq::mxfp6_e2m3 == fpq::mxfp6_e3m2);
    CHECK_FALSE(fpq::int_format(4, 32) == fpq::int_format(4, 32, false));
}

TEST_CASE("a block of compile time is its run-time format, and both have one name", "[format]") {
    struct named {
        fpq::quant_format format;
        char const* name;
    };
    for (named const& n :
         {named{fpq::nvfp4, "nvfp4"}, named{fpq::mxfp4, "mxfp4"},
          named{fpq::mxfp6_e2m3, "mxfp6_e2m3"}, named{fpq::mxfp6_e3m2, "mxfp6_e3m2"},
          named{fpq::mxfp8_e4m3, "mxfp8_e4m3"}, named{fpq::mxfp8_e5m2, "mxfp8_e5m2"}}) {
        bool same = false;
        CHECK(fpq::visit_format(n.format,
                                [&](auto block) { same = decltype(block)::format == n.format; }));
        CHECK(same);
        CHECK(std::string(name_of(n.format)) == n.name);
    }
    CHECK(std::string(name_of(fpq::fp4(16))) == "another format");
}

TEST_CASE("scales take the bytes that their order takes", "[format]") {
    CHECK(fpq::scales_size(fpq::scale_order::row_major, 5, 3) == 15);
    CHECK(fpq::scales_size(fpq::scale_order::swizzled, 5, 3) == 512);
    CHECK(fpq::scales_size(fpq::scale_order::swizzled, 129, 5) == 2048);
}
