// SPDX-License-Identifier: Apache-2.0
// fake_quantize_rows against quantize and dequantize.
#include "fpq/quant/fake_quantize.hpp"

#include <cstddef>
#include <cstdint>
#include <vector>

#include "catch.hpp"
#include "fpq/core/random.hpp"
#include "fpq/quant/quantize.hpp"

using fpq::scale_rule;

namespace {

std::vector<float> activations(std::size_t n) {
    std::vector<float> x(n);
    for (std::size_t i = 0; i < n; ++i) {
        x[i] = fpq::philox{8, 0}.normal_at(i) * (i % 37 == 0 ? 20.0F : 1.0F);
    }
    return x;
}

std::vector<fpq::quant_format> const formats{fpq::nvfp4,
                                             fpq::mxfp4,
                                             fpq::mxfp8_e4m3,
                                             fpq::int_format(4, 32),
                                             fpq::int_format(8, 0, true, fpq::granularity::channel),
                                             fpq::int_format(4, 32, false),
                                             fpq::fp4(16),
                                             fpq::fp4(0, fpq::granularity::tensor)};

}  // namespace

TEST_CASE("fake quantization equals quantize then dequantize", "[quant]") {
    std::vector<float> const x = activations(9 * 172);
    for (fpq::quant_format const& format : formats) {
        for (scale_rule kind : {scale_rule::minmax, scale_rule::sweep}) {
            fpq::observer_options const options{.rule = kind, .global_scale = 3.0F};
            std::vector<float> const expected = fpq::dequantize(
                fpq::quantize(fpq::as_view(x.data(), 9, 172), format, options, 1).view(), 1);
            for (int threads : {1, 3}) {
                std::vector<float> y = x;
                fpq::fake_quantize_rows(fpq::as_view(y.data(), 9, 172), format, options, threads);
                REQUIRE(y == expected);
            }
        }
    }
}

TEST_CASE("the fast rows equal the plain loop up to the sign of zeros", "[quant]") {
    for (std::size_t const cols : {std::size_t{64}, std::size_t{172}, std::size_t{7}}) {
        std::size_t const rows = 37;  // not a multiple of what is taken at once
        std::vector<float> x = activations(rows * cols);
        x[3] = 0.0F;
        x[5] = -0.0F;
        x[6] = 1e-42F;
        x[cols + 1] = 3e38F;
        for (std::size_t j = 0; j < cols; ++j) {
            x[2 * cols + j] = 0.0F;
        }
        for (fpq::quant_format const& format : formats) {
            for (scale_rule kind : {scale_rule::minmax, scale_rule::mse, scale_rule::sweep}) {
                fpq::observer_options const options{.rule = kind, .global_scale = 3.0F};
                std::vector<float> plain = x;
                fpq::reference::fake_quantize_rows(fpq::as_view(plain.data(), rows, cols), format,
                                                   options);
                std::vector<float> fast = x;
                fpq::fake_quantize_rows(fpq::as_view(fast.data(), rows, cols), format, options, 2);
                INFO(cols << " columns, rule " << fpq::name_of(kind));
                REQUIRE(fast == plain);  // 0 == -0
            }
        }
    }
}

TEST_CASE("a row's result does not depend on the other rows", "[quant]") {
    std::vector<float> const x = activations(6 * 64);
    fpq::observer_options const options{.global_scale = 16.0F};
    std::vector<float> all = x;
    fpq::fake_quantize_rows(fpq::as_view(all.data(), 6, 64), fpq::nvfp4, options, 1);
    std::vector<float> one(x.begin() + 128, x.begin() + 192);
    fpq::fake_quantize_rows(fpq::as_view(one.data(), 1, 64), fpq::nvfp4, options, 1);
    REQUIRE(one == std::vector<float>(all.begin() + 128, all.begin() + 192));
}

TEST_CASE("fake quantization leaves columns outside the view alone", "[quant]") {
    std::vector<float> x = activations(4 * 64);
    std::vector<float> const before = x;
    fpq::fake_quantize_rows(fpq::as_view(x.data(), 4, 64).cols_at(16, 32), fpq::mxfp4, {}, 1);
    for (std::size_t i = 0; i < 4; ++i) {
        for (std::size_t j = 0; j < 64; ++j) {
            if (j < 16 || j >= 48) {
                REQUIRE(x[i * 64 + j] == before[i * 64 + j]);
            }
        }
    }
    REQUIRE(x != before);
}

TEST_CASE("fake quantization of nothing does nothing", "[quant]") {
    fpq::fake_quantize_rows(fpq::matrix_view<float>{}, fpq::nvfp4, {}, 1);
    SUCCEED();
}
