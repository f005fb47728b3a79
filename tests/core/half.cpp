// SPDX-License-Identifier: Apache-2.0
// bf16 and fp16: all 65,536 patterns widened and narrowed back, and every midpoint of two
// neighbours with both float neighbours.
#include "fpq/core/half.hpp"

#include <cmath>
#include <type_traits>

#include "catch.hpp"
#include "support/number_oracle.hpp"

namespace {

using fpq_test::float_bits;
using fpq_test::float_from;

static_assert(fpq::to_fp16(65504.0F).bits == 0x7BFF && fpq::to_fp16(65520.0F).bits == 0x7C00);
static_assert(fpq::to_fp16(0x1p-24F).bits == 1 && fpq::to_fp16(0x1p-25F).bits == 0);
static_assert(fpq::to_bf16(1.0F).bits == 0x3F80 && fpq::to_float(fpq::bf16{0xC000}) == -2.0F);
static_assert(fpq::round_to_bf16(1.00390625F) == 1.0F);
static_assert(fpq::round_to_fp16(1.0F + 0x1p-11F) == 1.0F);
static_assert(std::is_trivially_copyable_v<fpq::bf16> && std::is_trivially_copyable_v<fpq::fp16>);

std::uint16_t half_of(float x) { return fpq::to_fp16(x).bits; }
std::uint16_t brain_of(float x) { return fpq::to_bf16(x).bits; }

}  // namespace

TEST_CASE("all 65,536 fp16 patterns widen to their value and narrow back", "[core]") {
    for (std::uint32_t i = 0; i < 65536; ++i) {
        auto const bits = static_cast<std::uint16_t>(i);
        float const x = fpq::to_float(fpq::fp16{bits});
        std::uint32_t const rest = i & 0x7FFFu;
        INFO("fp16 " << i);
        REQUIRE(std::signbit(x) == (i >= 0x8000u));
        if (rest > 0x7C00u) {
            REQUIRE(std::isnan(x));
            REQUIRE(half_of(x) == (bits | 0x0200));
        } else if (rest == 0x7C00u) {
            REQUIRE(std::isinf(x));
            REQUIRE(half_of(x) == bits);
        } else {
            REQUIRE(double{x} == fpq_test::half_value(bits));
            REQUIRE(half_of(x) == bits);
        }
    }
}

TEST_CASE("all 65,536 bf16 patterns widen to their upper bits and narrow back", "[core]") {
    for (std::uint32_t i = 0; i < 65536; ++i) {
        float const x = fpq::to_float(fpq::bf16{static_cast<std::uint16_t>(i)});
        INFO("bf16 " << i);
        REQUIRE(float_bits(x) == i << 16);
        std::uint32_t const quiet = (i & 0x7FFFu) > 0x7F80u ? 0x40u : 0u;
        REQUIRE(brain_of(x) == (i | quiet));
    }
}

TEST_CASE("float to fp16 is nearest even at every midpoint and beside it", "[core]") {
    for (std::uint32_t i = 0; i < 0x7BFFu; ++i) {
        auto const low = static_cast<std::uint16_t>(i);
        auto const high = static_cast<std::uint16_t>(i + 1);
        double const middle = (fpq_test::half_value(low) + fpq_test::half_value(high)) / 2;
        auto const x = static_cast<float>(middle);
        INFO("fp16 " << i);
        REQUIRE(double{x} == middle);
        std::uint16_t const even = i % 2 == 0 ? low : high;
        REQUIRE(half_of(x) == even);
        REQUIRE(half_of(std::nextafterf(x, 0.0F)) == low);
        REQUIRE(half_of(std::nextafterf(x, INFINITY)) == high);
        REQUIRE(half_of(-x) == (even | 0x8000));
        REQUIRE(half_of(-std::nextafterf(x, 0.0F)) == (low | 0x8000));
        REQUIRE(half_of(-std::nextafterf(x, INFINITY)) == (high | 0x8000));
    }
}

TEST_CASE("float to bf16 is nearest even at every midpoint and beside it", "[core]") {
    for (std::uint32_t i = 0; i < 0x7F80u; ++i) {
        std::uint32_t const middle = (i << 16) | 0x8000u;
        std::uint32_t const even = i % 2 == 0 ? i : i + 1;
        INFO("bf16 " << i);
        REQUIRE(brain_of(float_from(middle)) == even);
        REQUIRE(brain_of(float_from(middle - 1)) == i);
        REQUIRE(brain_of(float_from(middle + 1)) == i + 1);
        REQUIRE(brain_of(float_from(0x80000000u | middle)) == (0x8000u | even));
        REQUIRE(brain_of(float_from(0x80000000u | (middle - 1))) == (0x8000u | i));
        REQUIRE(brain_of(float_from(0x80000000u | (middle + 1))) == (0x8000u | (i + 1)));
    }
}

TEST_CASE("fp16 overflows to infinity from 65520 and bf16 above its last midpoint", "[core]") {
    CHECK(half_of(std::nextafterf(65520.0F, 0.0F)) == 0x7BFF);
    CHECK(half_of(65520.0F) == 0x7C00);
    CHECK(half_of(-3.4e38F) == 0xFC00);
    CHECK(half_of(INFINITY) == 0x7C00);
    CHECK(brain_of(float_from(0x7F7F7FFFu)) == 0x7F7F);
    CHECK(brain_of(float_from(0x7F7F8000u)) == 0x7F80);
    CHECK(brain_of(-INFINITY) == 0xFF80);
}

TEST_CASE("every NaN stays NaN, keeps its sign and becomes quiet", "[core]") {
    for (std::uint32_t shift = 0; shift < 23; ++shift) {
        for (std::uint32_t const sign : {0u, 0x80000000u}) {
            std::uint32_t const bits = sign | 0x7F800000u | (1u << shift);
            float const nan = float_from(bits);
            INFO("bits " << bits);
            std::uint16_t const half = half_of(nan);
            std::uint16_t const brain = brain_of(nan);
            REQUIRE((half & 0x7E00) == 0x7E00);
            REQUIRE((brain & 0x7FC0) == 0x7FC0);
            REQUIRE((half >> 15) == static_cast<int>(sign >> 31));
            REQUIRE((brain >> 15) == static_cast<int>(sign >> 31));
        }
    }
    CHECK(half_of(float_from(0x7F800001u)) == 0x7E00);
    CHECK(brain_of(float_from(0x7F800001u)) == 0x7FC0);
}
