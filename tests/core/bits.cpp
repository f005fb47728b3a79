// SPDX-License-Identifier: Apache-2.0
// Bit patterns, powers of two and the rounding shift against the standard library.
#include "fpq/core/bits.hpp"

#include <cmath>

#include "catch.hpp"
#include "fpq/core/random.hpp"
#include "support/number_oracle.hpp"

namespace {

static_assert(fpq::bits_of<std::uint32_t>(1.0F) == 0x3F800000u);
static_assert(fpq::bits_of<float>(0xC0000000u) == -2.0F);
static_assert(fpq::is_nan(fpq::bits_of<float>(0x7F800001u)) && !fpq::is_nan(1.0F));
static_assert(fpq::is_finite(3.0F) && !fpq::is_finite(fpq::bits_of<float>(0xFF800000u)));
static_assert(fpq::magnitude(-3.0F) == 3.0F && fpq::exp2_int(-149) == 0x1p-149F);
static_assert(fpq::floor_log2(7.9F) == 2 && fpq::floor_log2(0x1p-149F) == -149);
static_assert(fpq::shift_right_rne(5, 1) == 2 && fpq::shift_right_rne(7, 1) == 4);

}  // namespace

TEST_CASE("exp2_int is every power of two that float has, zero below, infinity above", "[core]") {
    for (int e = -149; e <= 127; ++e) {
        REQUIRE(fpq::exp2_int(e) == std::ldexp(1.0F, e));
    }
    CHECK(fpq::exp2_int(-150) == 0.0F);
    CHECK(fpq::exp2_int(-1000) == 0.0F);
    CHECK(std::isinf(fpq::exp2_int(128)));
}

TEST_CASE("floor_log2 is ilogb on all exponents, beside every power of two, and subnormals",
          "[core]") {
    for (int e = -149; e <= 127; ++e) {
        float const x = std::ldexp(1.0F, e);
        REQUIRE(fpq::floor_log2(x) == e);
        REQUIRE(fpq::floor_log2(-x) == e);
        float const below = std::nextafterf(x, 0.0F);
        REQUIRE(fpq::floor_log2(below) == (below == 0.0F ? -150 : std::ilogb(below)));
        float const above = std::nextafterf(x, INFINITY);
        REQUIRE(fpq::floor_log2(above) == std::ilogb(above));
    }
    CHECK(fpq::floor_log2(0.0F) == -150);
}

TEST_CASE("NaN and infinity are told apart on their bits", "[core]") {
    fpq::philox const random{3, 0};
    for (std::uint64_t i = 0; i < 100000; ++i) {
        float const x = fpq_test::float_from(random.at(i) | (i % 3 == 0 ? 0x7F800000u : 0u));
        REQUIRE(fpq::is_nan(x) == std::isnan(x));
        REQUIRE(fpq::is_finite(x) == std::isfinite(x));
        REQUIRE(std::signbit(fpq::magnitude(x)) == false);
    }
    CHECK_FALSE(fpq::is_nan(INFINITY));
    CHECK_FALSE(fpq::is_finite(-INFINITY));
}

TEST_CASE("the rounding shift is nearest even", "[core]") {
    for (int shift = 0; shift <= 10; ++shift) {
        for (std::uint64_t x = 0; x < 5000; ++x) {
            double const exact = std::ldexp(static_cast<double>(x), -shift);
            REQUIRE(static_cast<double>(fpq::shift_right_rne(x, shift)) == std::nearbyint(exact));
        }
    }
}
