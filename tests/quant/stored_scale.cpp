// SPDX-License-Identifier: Apache-2.0
// Global scales, stored scales and the E8M0 rules, with the intervals.
#include "fpq/quant/stored_scale.hpp"

#include <cmath>
#include <cstdint>
#include <limits>

#include "catch.hpp"
#include "fpq/core/random.hpp"

using fpq::element_kind;
using fpq::scale_rule;

namespace {

float const infinity = std::numeric_limits<float>::infinity();

/// Where the maximum lands in units of the effective scale.
float landing(scale_rule rule, element_kind kind, float a, float global) {
    std::uint8_t const byte = fpq::mx_scale_byte(rule, fpq::rule_of(kind), a, global);
    return a / (fpq::e8m0::decode(byte) / global);
}

}  // namespace

TEST_CASE("the NVFP global scale is 2688 over the maximum or the power of two below", "[quant]") {
    REQUIRE(fpq::nvfp_global_scale(3.9375F, false) == 2688.0F / 3.9375F);
    REQUIRE(fpq::nvfp_global_scale(3.9375F, true) == 512.0F);
    REQUIRE(fpq::nvfp_global_scale(-3.9375F, true) == 512.0F);
    REQUIRE(fpq::nvfp_global_scale(2688.0F, true) == 1.0F);
    REQUIRE(fpq::nvfp_global_scale(std::nextafterf(2688.0F, 3000.0F), true) == 0.5F);
    REQUIRE(fpq::nvfp_global_scale(5.25F, true) == 512.0F);
    REQUIRE(fpq::nvfp_global_scale(std::nextafterf(5.25F, 6.0F), true) == 256.0F);
    REQUIRE(fpq::nvfp_global_scale(0.0F, true) == 1.0F);
    REQUIRE(fpq::nvfp_global_scale(infinity, false) == 1.0F);
    REQUIRE(fpq::nvfp_global_scale(std::nanf(""), true) == 1.0F);
    REQUIRE(fpq::nvfp_global_scale(1e-45F, false) == 0x1p126F);
    for (std::uint64_t i = 0; i < 2000; ++i) {
        float const amax = std::exp(10.0F * fpq::philox{3, 0}.normal_at(i));
        double const exact = 2688.0 / static_cast<double>(amax);
        double const g = static_cast<double>(fpq::nvfp_global_scale(amax, true));
        REQUIRE((g <= exact && 2.0 * g > exact));
    }
}

TEST_CASE("the default global scale follows the format and the MX rule", "[quant]") {
    REQUIRE(fpq::default_global_scale(fpq::nvfp4, 6.0F, false, scale_rule::floor) == 448.0F);
    REQUIRE(fpq::default_global_scale(fpq::mxfp4, 6.0F, true, scale_rule::fp_quant) == 3.0F);
    REQUIRE(fpq::default_global_scale(fpq::mxfp4, 6.0F, true, scale_rule::even) == 1.0F);
    REQUIRE(fpq::default_global_scale(fpq::int_format(4, 32), 6.0F, true, scale_rule::fp_quant) ==
            1.0F);
}

TEST_CASE("minmax puts the maximum on the largest code", "[quant]") {
    REQUIRE(fpq::minmax_scale(element_kind::e2m1, 3.0F) == 0.5F);
    REQUIRE(fpq::minmax_scale(element_kind::e4m3, 448.0F) == 1.0F);
    REQUIRE(fpq::minmax_scale(element_kind::int4, 7.5F) == 1.0F);
    REQUIRE(fpq::minmax_scale(element_kind::int8, 127.5F) == 1.0F);
    REQUIRE(fpq::minmax_scale(element_kind::e2m1, 0.0F) == 1.0F);
}

TEST_CASE("every MX rule lands the maximum in its interval", "[quant]") {
    fpq::philox const source{11, 0};
    for (std::uint64_t i = 0; i < 4000; ++i) {
        float const a = std::exp2(40.0F * fpq::uniform(source.at(i)) - 20.0F);
        float const quant = landing(scale_rule::fp_quant, element_kind::e2m1, a, 3.0F);
        REQUIRE((quant >= 2.9999F && quant < 6.0001F));
        float const floor = landing(scale_rule::floor, element_kind::e2m1, a, 1.0F);
        REQUIRE((floor >= 4.0F && floor < 8.0F));
        float const ceil = landing(scale_rule::ceil, element_kind::e2m1, a, 1.0F);
        REQUIRE((ceil > 3.0F && ceil <= 6.0F));
        float const even = landing(scale_rule::even, element_kind::e2m1, a, 1.0F);
        REQUIRE((even >= 3.5F && even < 7.0F));
        float const divisor = landing(scale_rule::divisor_7_25, element_kind::e2m1, a, 1.0F);
        REQUIRE((divisor > 3.625F && divisor <= 7.25F));
        for (element_kind kind :
             {element_kind::e2m3, element_kind::e3m2, element_kind::e4m3, element_kind::e5m2}) {
            float const max = fpq::element_max(kind);
            REQUIRE(landing(scale_rule::fp_quant, kind, a, 3.0F) <= max);
            float const c = landing(scale_rule::ceil, kind, a, 1.0F);
            REQUIRE((c > 0.5F * max && c <= max));
            float const octave = std::exp2(static_cast<float>(fpq::element_max_exponent(kind)));
            float const f = landing(scale_rule::floor, kind, a, 1.0F);
            REQUIRE((f >= octave && f < 2.0F * octave));
        }
    }
}

TEST_CASE("the MX rules at their thresholds and at the ends of E8M0", "[quant]") {
    fpq::grid_rule const rule = fpq::rule_of(element_kind::e2m1);
    REQUIRE(fpq::mx_scale_byte(scale_rule::fp_quant, rule, 3.9375F, 3.0F) == 0x80);
    REQUIRE(fpq::mx_scale_byte(scale_rule::floor, rule, 3.9375F, 1.0F) == 0x7E);
    REQUIRE(fpq::mx_scale_byte(scale_rule::even, rule, 3.9375F, 1.0F) == 0x7F);
    REQUIRE(fpq::mx_scale_byte(scale_rule::even, rule, 3.5F, 1.0F) == 0x7F);
    REQUIRE(fpq::mx_scale_byte(scale_rule::even, rule, std::nextafterf(3.5F, 0.0F), 1.0F) == 0x7E);
    REQUIRE(fpq::mx_scale_byte(scale_rule::ceil, rule, 6.0F, 1.0F) == 127);
    REQUIRE(fpq::mx_scale_byte(scale_rule::ceil, rule, std::nextafterf(6.0F, 7.0F), 1.0F) == 128);
    REQUIRE(fpq::mx_scale_byte(scale_rule::divisor_7_25, rule, 7.25F, 1.0F) == 127);
    REQUIRE(fpq::mx_scale_byte(scale_rule::divisor_7_25, rule, std::nextafterf(7.25F, 8.0F),
                               1.0F) == 128);
    for (scale_rule r : {scale_rule::fp_quant, scale_rule::floor, scale_rule::ceil,
                         scale_rule::even, scale_rule::divisor_7_25}) {
        float const global = r == scale_rule::fp_quant ? 3.0F : 1.0F;
        REQUIRE(fpq::mx_scale_byte(r, rule, 1e-45F, global) == 0);
        REQUIRE(fpq::mx_scale_byte(r, rule, infinity, global) == 254);
        // An all-zero group counts as scale 1, that is a maximum of 6.
        REQUIRE(fpq::mx_scale_byte(r, rule, 0.0F, global) ==
                fpq::mx_scale_byte(r, rule, 6.0F, global));
    }
    REQUIRE(fpq::mx_scale_byte(scale_rule::fp_quant, rule, 3.4e38F, 3.0F) == 254);
}

TEST_CASE("stored scales are never zero, infinite or NaN", "[quant]") {
    REQUIRE(fpq::nv_byte(1e-30F, 1.0F) == 1);
    REQUIRE(fpq::nv_byte(1e30F, 1.0F) == 0x7E);
    REQUIRE(fpq::nv_byte(infinity, 1.0F) == 0x7E);
    REQUIRE(fpq::nv_byte(3.9375F / 6.0F, 512.0F) == 0x7A);
    REQUIRE(fpq::store_fp16(1e-30F, 1.0F) == 1);
    REQUIRE(fpq::store_fp16(1e30F, 1.0F) == 0x7BFF);
    REQUIRE(fpq::store_fp16(infinity, 1.0F) == 0x7BFF);
    REQUIRE(fpq::store_fp16(-1e30F, 1.0F) == 0xFBFF);
    REQUIRE(fpq::store_fp16(-1e-30F, 1.0F) == 0x8001);
    REQUIRE(fpq::store_fp16(0.5F, 1.0F) == 0x3800);
}

TEST_CASE("an all-zero NVFP group has the byte of 1.0 whatever the global scale", "[quant]") {
    for (float g : {1.0F, 448.0F, 1e6F}) {
        fpq::observer_options const options{.global_scale = g};
        fpq::group_scale const s =
            fpq::store_scale(fpq::nvfp4, fpq::rule_of(element_kind::e2m1), 1.0F, 0.0F, 0, options);
        REQUIRE(s.stored == 0x38);
        REQUIRE(s.value == 1.0F / g);
    }
}
