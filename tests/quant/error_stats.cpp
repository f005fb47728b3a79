// SPDX-License-Identifier: Apache-2.0
// Error statistics on matrices small enough to count by hand.
#include "fpq/quant/error_stats.hpp"

#include <cmath>
#include <limits>
#include <vector>

#include "catch.hpp"
#include "fpq/quant/quantize.hpp"

TEST_CASE("measure_error counts what happened to each value", "[quant]") {
    std::vector<float> const a{1.0F, -2.0F, 0.5F, 0.0F, 3.0F, -1.0F};
    std::vector<float> const b{1.0F, -1.0F, 0.0F, 0.0F, -3.0F, -1.5F};
    fpq::error_stats const s =
        fpq::measure_error(fpq::as_view(a.data(), 2, 3), fpq::as_view(b.data(), 2, 3));
    REQUIRE(s.count == 6);
    REQUIRE(s.noise == Approx(1.0 + 0.25 + 36.0 + 0.25));
    REQUIRE(s.signal == Approx(1.0 + 4.0 + 0.25 + 9.0 + 1.0));
    REQUIRE(s.mse() == Approx(37.5 / 6.0));
    REQUIRE(s.relative() == Approx(37.5 / 15.25));
    REQUIRE(s.sqnr_db() == Approx(10.0 * std::log10(15.25 / 37.5)));
    REQUIRE(s.largest == 6.0);
    REQUIRE(s.flushed == 1);
    REQUIRE(s.sign_flips == 1);
}

TEST_CASE("statistics of nothing and of no error are defined", "[quant]") {
    fpq::error_stats const none;
    REQUIRE(none.mse() == 0.0);
    REQUIRE(none.relative() == 0.0);
    REQUIRE(none.sqnr_db() == std::numeric_limits<double>::infinity());
}

TEST_CASE("adding statistics equals measuring the whole", "[quant]") {
    std::vector<float> const a{1.0F, -2.0F, 0.5F, 0.1F};
    std::vector<float> const b{0.9F, -2.5F, 0.0F, -0.1F};
    fpq::error_stats sum =
        fpq::measure_error(fpq::as_view(a.data(), 1, 2), fpq::as_view(b.data(), 1, 2));
    sum.add(fpq::measure_error(fpq::as_view(a.data() + 2, 1, 2), fpq::as_view(b.data() + 2, 1, 2)));
    fpq::error_stats const whole =
        fpq::measure_error(fpq::as_view(a.data(), 1, 4), fpq::as_view(b.data(), 1, 4));
    REQUIRE(sum.noise == Approx(whole.noise));
    REQUIRE(sum.signal == Approx(whole.signal));
    REQUIRE(sum.count == whole.count);
    REQUIRE(sum.flushed == whole.flushed);
    REQUIRE(sum.sign_flips == whole.sign_flips);
    REQUIRE(sum.largest == whole.largest);
}

TEST_CASE("measure_packed agrees with measure_error and counts saturated codes", "[quant]") {
    std::vector<float> const w{6.0F, -6.0F, 0.1F, 1.0F, 2.0F, 3.0F, 4.0F, 0.0F};
    auto const view = fpq::as_view(w.data(), 1, 8);
    for (fpq::quant_format const& format :
         {fpq::fp4(8), fpq::int_format(4, 8), fpq::int_format(4, 8, false)}) {
        fpq::packed_matrix const q = fpq::quantize(view, format, {}, 1);
        std::vector<float> const d = fpq::dequantize(q.view(), 1);
        fpq::error_stats const s = fpq::measure_packed(view, q.view());
        fpq::error_stats const t = fpq::measure_error(view, fpq::as_view(d.data(), 1, 8));
        REQUIRE(s.noise == Approx(t.noise).margin(1e-30));
        REQUIRE(s.count == 8);
        REQUIRE(s.flushed == t.flushed);
        REQUIRE(s.saturated == 2);
    }
}
