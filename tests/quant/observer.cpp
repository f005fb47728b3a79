// SPDX-License-Identifier: Apache-2.0
// find_scales over matrices: groups, ragged tails, granularities, strides, threads.
#include "fpq/quant/observer.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "catch.hpp"
#include "fpq/core/hosted/error.hpp"
#include "fpq/quant/fake_quantize.hpp"
#include "fpq/quant/quantize.hpp"
#include "support/gaussian.hpp"

using fpq::scale_rule;

namespace {

std::vector<float> normals(std::size_t n) { return fpq_test::gaussian(n, 77, 1); }

std::vector<fpq::quant_format> const formats{fpq::nvfp4,
                                             fpq::mxfp4,
                                             fpq::fp4(16),
                                             fpq::int_format(4, 32),
                                             fpq::int_format(3, 16, false),
                                             fpq::int_format(8, 0, true, fpq::granularity::channel),
                                             fpq::fp4(0, fpq::granularity::channel)};

}  // namespace

TEST_CASE("scales do not depend on the number of threads", "[quant]") {
    std::vector<float> const x = normals(37 * 172);
    auto const w = fpq::as_view(x.data(), 37, 172);
    for (fpq::quant_format const& format : formats) {
        for (scale_rule kind : {scale_rule::minmax, scale_rule::mse, scale_rule::sweep}) {
            fpq::observer_options const options{.rule = kind, .global_scale = 3.0F};
            fpq::scale_grid const one = fpq::find_scales(w, format, options, 1);
            fpq::scale_grid const many = fpq::find_scales(w, format, options, 5);
            REQUIRE(one.bytes == many.bytes);
            REQUIRE(one.zeros == many.zeros);
            REQUIRE(one.value == many.value);
        }
    }
}

TEST_CASE("a group's scale depends on its own values alone, ragged tails included", "[quant]") {
    std::vector<float> const x = normals(3 * 172);
    auto const w = fpq::as_view(x.data(), 3, 172);
    for (fpq::quant_format const& format : formats) {
        fpq::observer_options const options{.rule = scale_rule::sweep, .global_scale = 3.0F};
        fpq::scale_grid const grid = fpq::find_scales(w, format, options, 1);
        std::size_t const group = format.group_of(172);
        REQUIRE(grid.groups == (172 + group - 1) / group);
        REQUIRE(grid.value.size() == 3 * grid.groups);
        REQUIRE(grid.bytes.size() == 3 * grid.groups * format.scale_bytes_each());
        for (std::size_t i = 0; i < 3; ++i) {
            for (std::size_t g = 0; g < grid.groups; ++g) {
                std::size_t const first = g * group;
                std::vector<float> part(w.row(i) + first,
                                        w.row(i) + std::min<std::size_t>(172, first + group));
                fpq::scale_grid const alone =
                    fpq::find_scales(fpq::as_view(part.data(), 1, part.size()), format, options, 1);
                REQUIRE(alone.value[0] == grid.value[i * grid.groups + g]);
            }
        }
    }
}

TEST_CASE("minmax by hand", "[quant]") {
    std::vector<float> const x{1.0F, -3.0F, 0.5F, 2.0F, -0.25F, 0.0F};
    auto const w = fpq::as_view(x.data(), 2, 3);
    fpq::scale_grid const fp = fpq::find_scales(w, fpq::fp4(2), {}, 1);
    REQUIRE(fp.value == std::vector<float>{0.5F, fpq::round_to_fp16(0.5F / 6.0F),
                                           fpq::round_to_fp16(2.0F / 6.0F), 1.0F});
    fpq::scale_grid const asym =
        fpq::find_scales(w, fpq::int_format(2, 0, false, fpq::granularity::channel), {}, 1);
    REQUIRE(asym.value[0] == fpq::round_to_fp16(4.0F / 3.0F));
    REQUIRE(asym.zeros == std::vector<std::uint8_t>{2, 0});
}

TEST_CASE("a positive group keeps zero as a code", "[quant]") {
    std::vector<float> const x{5.0F, 6.0F, 7.5F, 7.0F};
    auto const w = fpq::as_view(x.data(), 1, 4);
    fpq::scale_grid const grid = fpq::find_scales(w, fpq::int_format(4, 4, false), {}, 1);
    REQUIRE(grid.zeros[0] == 0);
    REQUIRE(grid.value[0] == 0.5F);
    std::vector<float> const y{-5.0F, -6.0F, -7.5F, -7.0F};
    fpq::scale_grid const below =
        fpq::find_scales(fpq::as_view(y.data(), 1, 4), fpq::int_format(4, 4, false), {}, 1);
    REQUIRE(below.zeros[0] == 15);
    REQUIRE(below.value[0] == 0.5F);
}

TEST_CASE("granularity tensor stores one scale and repeats its value a row", "[quant]") {
    std::vector<float> const x = normals(40 * 100);
    auto const w = fpq::as_view(x.data(), 40, 100);
    float amax = 0.0F;
    for (float v : x) {
        amax = std::max(amax, std::fabs(v));
    }
    fpq::quant_format const format = fpq::fp4(0, fpq::granularity::tensor);
    fpq::scale_grid const grid = fpq::find_scales(w, format, {}, 1);
    REQUIRE(grid.bytes.size() == 2);
    REQUIRE(grid.value == std::vector<float>(40, fpq::round_to_fp16(amax / 6.0F)));
    REQUIRE(fpq::find_scales(w, format, {.rule = scale_rule::sweep}, 1).value[0] < grid.value[0]);
}

TEST_CASE("strided views are read by their stride", "[quant]") {
    std::vector<float> const x = normals(8 * 64);
    fpq::matrix_view<float const> const whole = fpq::as_view(x.data(), 8, 64);
    fpq::matrix_view<float const> const part = whole.cols_at(16, 32);
    std::vector<float> copy;
    for (std::size_t i = 0; i < 8; ++i) {
        copy.insert(copy.end(), part.row(i), part.row(i) + 32);
    }
    REQUIRE(fpq::find_scales(part, fpq::nvfp4, {}, 1).value ==
            fpq::find_scales(fpq::as_view(copy.data(), 8, 32), fpq::nvfp4, {}, 1).value);
}

TEST_CASE("empty matrices have empty grids", "[quant]") {
    float const nothing = 0.0F;
    for (fpq::quant_format const& format : formats) {
        REQUIRE(fpq::find_scales(fpq::as_view(&nothing, 0, 64), format, {}, 1).bytes.empty());
        REQUIRE(fpq::find_scales(fpq::as_view(&nothing, 4, 0), format, {}, 1).bytes.empty());
    }
}

TEST_CASE("a rule that the format does not have is refused", "[quant][observer]") {
    using fpq::scale_rule;
    std::vector<float> x(64, 1.0F);
    auto const w = fpq::as_view<float const>(x.data(), 2, 32);
    struct refused {
        fpq::quant_format format;
        fpq::observer_options options;
    };
    std::vector<refused> const all{
        {fpq::nvfp4, {.rule = scale_rule::floor}},
        {fpq::nvfp4, {.rule = scale_rule::fp_quant}},
        {fpq::fp4(16), {.rule = scale_rule::even}},
        {fpq::fp4(16), {.rule = scale_rule::abs_max}},
        {fpq::int_format(4, 32), {.rule = scale_rule::quest}},
        {fpq::mxfp8_e4m3, {.rule = scale_rule::abs_max}},
        {fpq::mxfp8_e4m3, {.rule = scale_rule::quest}},
        {fpq::mxfp4, {.rule = scale_rule::four_over_six}},
        {fpq::int_format(4, 32, false), {.rule = scale_rule::four_over_six}},
        {fpq::mxfp4, {.mx = scale_rule::minmax}},
        {fpq::mxfp4, {.rule = scale_rule::mse, .mx = scale_rule::sweep}},
    };
    for (refused const& r : all) {
        CAPTURE(fpq::name_of(r.options.rule), fpq::name_of(r.options.mx));
        REQUIRE_THROWS_AS(fpq::find_scales(w, r.format, r.options, 1), fpq::error);
        REQUIRE_THROWS_AS(fpq::reference::find_scales(w, r.format, r.options), fpq::error);
        REQUIRE_THROWS_AS(fpq::quantize(w, r.format, r.options, 1), fpq::error);
        std::vector<float> y = x;
        REQUIRE_THROWS_AS(
            fpq::fake_quantize_rows(fpq::as_view(y.data(), 2, 32), r.format, r.options, 1),
            fpq::error);
        REQUIRE(y == x);
    }
}

TEST_CASE("a fixed rule of E8M0 scales is minmax with that rule", "[quant][observer]") {
    using fpq::scale_rule;
    std::vector<float> const x{5.0F, 7.0F, -3.6F, 0.1F, 6.3F, -7.9F, 1.0F, 0.0F};
    auto const w = fpq::as_view(x.data(), 2, 4);
    for (scale_rule rule : {scale_rule::floor, scale_rule::ceil, scale_rule::even,
                            scale_rule::fp_quant, scale_rule::divisor_7_25}) {
        REQUIRE(fpq::find_scales(w, fpq::mxfp4, {.rule = rule}, 1).bytes ==
                fpq::find_scales(w, fpq::mxfp4, {.mx = rule}, 1).bytes);
    }
    // floor and ceil differ here: 7 lies beyond 6 * 2^0, below 2^3.
    REQUIRE(fpq::find_scales(w, fpq::mxfp4, {.rule = scale_rule::floor}, 1).bytes !=
            fpq::find_scales(w, fpq::mxfp4, {.rule = scale_rule::ceil}, 1).bytes);
}

TEST_CASE("abs_max stores a zero scale where minmax stores the least", "[quant][observer]") {
    std::vector<float> const x{0.0F, -1e-9F, 1e-9F, -0.0F};
    fpq::observer_options const options{.rule = fpq::scale_rule::abs_max};
    auto const q = fpq::quantize(fpq::as_view(x.data(), 1, 4), fpq::nvfp4, options, 1);
    REQUIRE(q.scales == std::vector<std::uint8_t>{0});
    REQUIRE(q.codes == std::vector<std::uint8_t>{0x80, 0x80});  // signs stay
    REQUIRE(fpq::dequantize(q.view(), 1) == std::vector<float>(4, 0.0F));
}
