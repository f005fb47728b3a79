// SPDX-License-Identifier: Apache-2.0
// E2M1, E2M3, E3M2, E4M3, E5M2 and E8M0 against an encoder that tries every code: all codes, all
// midpoints with neighbours, all 65,536 bf16 and fp16 inputs.
#include "fpq/format/minifloat.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "catch.hpp"
#include "fpq/core/half.hpp"
#include "support/number_oracle.hpp"

namespace {

using fpq_test::float_bits;
using fpq_test::float_facts;

static_assert(fpq::e2m1::encode(2.5F) == 4 && fpq::e2m1::encode(-5.0F) == 14);
static_assert(fpq::e2m1::encode(3.5F) == 6 && fpq::e2m1::encode(100.0F) == 7);
static_assert(fpq::e2m1::decode(5) == 3.0F && fpq::e2m1::bits == 4);
static_assert(fpq::e2m3::encode(7.5F) == 31 && fpq::e2m3::decode(1) == 0.125F);
static_assert(fpq::e3m2::encode(-28.0F) == 63 && fpq::e3m2::decode(1) == 0.0625F);
static_assert(fpq::e4m3::encode(448.0F) == 0x7E && fpq::e4m3::encode(1e9F) == 0x7E);
static_assert(fpq::e4m3::decode(1) == 0x1p-9F && fpq::is_nan(fpq::e4m3::decode(0x7F)));
static_assert(fpq::e5m2::encode(1e9F) == 0x7B && fpq::e5m2::decode(0x7B) == 57344.0F);
static_assert(fpq::e8m0::decode(127) == 1.0F && fpq::e8m0::encode_floor(6.0F) == 129);
static_assert(fpq::e8m0::encode_ceil(6.0F) == 130 && fpq::e8m0::encode_nearest(5.9F) == 129);

template <class Format>
void check_limits(float_facts const& f) {
    INFO(f.name);
    CHECK(Format::bits == f.bits());
    CHECK(int{Format::sign_bit} == f.sign_bit());
    CHECK(int{Format::max_code} == f.max_code());
    CHECK(double{Format::max} == f.max);
    CHECK(double{Format::min_normal} == f.min_normal);
    CHECK(double{Format::min_subnormal} == f.min_subnormal);
    CHECK(Format::has_nan == (f.non_finite > 0));
}

template <class Format>
void check_codes(float_facts const& f) {
    for (int code = 0; code < 1 << f.bits(); ++code) {
        auto const byte = static_cast<std::uint8_t>(code);
        float const value = Format::decode(byte);
        INFO(f.name << " code " << code);
        int const low = code & (f.sign_bit() - 1);
        REQUIRE(Format::is_finite_code(byte) == (low <= f.max_code()));
        if (low <= f.max_code()) {
            REQUIRE(double{value} == f.value(code));
            REQUIRE(std::signbit(value) == (code >= f.sign_bit()));
            REQUIRE(int{Format::encode(value)} == code);
        } else if (f.non_finite > 1 && low == f.max_code() + 1) {
            REQUIRE(std::isinf(value));
            REQUIRE(std::signbit(value) == (code >= f.sign_bit()));
            int const saturated = f.max_code() | (code & f.sign_bit());
            REQUIRE(int{Format::encode(value)} == saturated);
        } else {
            REQUIRE(std::isnan(value));
            REQUIRE((float_bits(value) & 0x00400000u) != 0);
            REQUIRE(std::isnan(Format::decode(Format::encode(value))));
        }
    }
}

/// All inputs that the tests try: probes, then every bf16 and fp16 value that is not NaN.
std::vector<float> all_inputs(float_facts const& f) {
    std::vector<float> inputs = fpq_test::probes(fpq_test::levels_of(f));
    for (std::uint32_t bits = 0; bits < 65536; ++bits) {
        float const wide = fpq_test::float_from(bits << 16);
        if (!std::isnan(wide)) {
            inputs.push_back(wide);
        }
        if ((bits & 0x7C00u) != 0x7C00u) {
            auto const half = fpq_test::half_value(static_cast<std::uint16_t>(bits));
            inputs.push_back(static_cast<float>(half));
        }
    }
    return inputs;
}

template <class Format>
void check_encodings(float_facts const& f) {
    std::size_t wrong = 0;
    std::size_t asymmetric = 0;
    std::size_t unstable = 0;
    std::vector<float> inputs = all_inputs(f);
    REQUIRE(inputs.size() > 65280 + 63488);
    for (float const x : inputs) {
        std::uint8_t const code = Format::encode(x);
        wrong += int{code} != f.nearest(x);
        asymmetric += Format::encode(-x) != (code ^ Format::sign_bit);
        unstable += Format::encode(Format::decode(code)) != code;
    }
    INFO(f.name);
    CHECK(wrong == 0);
    CHECK(asymmetric == 0);
    CHECK(unstable == 0);
    std::sort(inputs.begin(), inputs.end());
    std::size_t falls = 0;
    for (std::size_t i = 1; i < inputs.size(); ++i) {
        falls += Format::decode(Format::encode(inputs[i])) <
                 Format::decode(Format::encode(inputs[i - 1]));
    }
    CHECK(falls == 0);
}

template <class Format>
void check_nan(float_facts const& f) {
    for (std::uint32_t const payload : {1u, 0x1234u, 0x400000u, 0x7FFFFFu}) {
        for (std::uint32_t const sign : {0u, 0x80000000u}) {
            float const nan = fpq_test::float_from(sign | 0x7F800000u | payload);
            INFO(f.name << " NaN payload " << payload);
            std::uint8_t const code = Format::encode(nan);
            if (f.non_finite > 0) {
                CHECK(std::isnan(Format::decode(code)));
                CHECK(((code & Format::sign_bit) != 0) == (sign != 0));
            } else {
                CHECK(code == Format::max_code);
            }
        }
    }
}

template <class F>
void for_each_format(F check) {
    check(fpq::e2m1{}, fpq_test::e2m1_facts);
    check(fpq::e2m3{}, fpq_test::e2m3_facts);
    check(fpq::e3m2{}, fpq_test::e3m2_facts);
    check(fpq::e4m3{}, fpq_test::e4m3_facts);
    check(fpq::e5m2{}, fpq_test::e5m2_facts);
}

double power(int e) { return std::ldexp(1.0, e); }

}  // namespace

TEST_CASE("the limits of every minifloat are those of its specification", "[format]") {
    for_each_format([](auto format, float_facts const& f) { check_limits<decltype(format)>(f); });
}

TEST_CASE("every code of every minifloat decodes exactly and encodes back", "[format]") {
    for_each_format([](auto format, float_facts const& f) { check_codes<decltype(format)>(f); });
}

TEST_CASE("e2m1 decodes to the eight magnitudes of the specification", "[format]") {
    float const magnitudes[] = {0.0F, 0.5F, 1.0F, 1.5F, 2.0F, 3.0F, 4.0F, 6.0F};
    for (int code = 0; code < 8; ++code) {
        CHECK(fpq::e2m1::decode(static_cast<std::uint8_t>(code)) == magnitudes[code]);
        CHECK(fpq::e2m1::decode(static_cast<std::uint8_t>(code + 8)) == -magnitudes[code]);
    }
    float const ties[] = {0.25F, 0.75F, 1.25F, 1.75F, 2.5F, 3.5F, 5.0F};
    float const to[] = {0, 1, 1, 2, 2, 4, 4};
    for (int i = 0; i < 7; ++i) {
        CHECK(fpq::e2m1::decode(fpq::e2m1::encode(ties[i])) == to[i]);
    }
}

TEST_CASE("encoders agree with trying every code on probes, all bf16 and all fp16", "[format]") {
    for_each_format(
        [](auto format, float_facts const& f) { check_encodings<decltype(format)>(f); });
}

TEST_CASE("NaN encodes to NaN where there is one and to +max elsewhere", "[format]") {
    for_each_format([](auto format, float_facts const& f) { check_nan<decltype(format)>(f); });
}

TEST_CASE("bits above the width of a code are ignored by decode", "[format]") {
    CHECK(fpq::e2m1::decode(0xF5) == fpq::e2m1::decode(0x05));
    CHECK(fpq::e2m3::decode(0xC7) == fpq::e2m3::decode(0x07));
}

TEST_CASE("every e8m0 code is a power of two and encodes back in all three roundings", "[format]") {
    for (int code = 0; code < 255; ++code) {
        auto const byte = static_cast<std::uint8_t>(code);
        float const value = fpq::e8m0::decode(byte);
        REQUIRE(double{value} == power(code - 127));
        REQUIRE(fpq::e8m0::encode_floor(value) == byte);
        REQUIRE(fpq::e8m0::encode_ceil(value) == byte);
        REQUIRE(fpq::e8m0::encode_nearest(value) == byte);
        REQUIRE(fpq::e8m0::from_exponent(code - 127) == byte);
    }
    CHECK(std::isnan(fpq::e8m0::decode(255)));
    CHECK(fpq::e8m0::from_exponent(-200) == 0);
    CHECK(fpq::e8m0::from_exponent(200) == 254);
}

TEST_CASE("e8m0 roundings agree with comparing against all powers of two", "[format]") {
    std::vector<double> levels;
    for (int code = 0; code < 255; ++code) {
        levels.push_back(power(code - 127));
    }
    std::vector<float> inputs = fpq_test::probes(levels);
    for (std::uint32_t bits = 0; bits < 0x7F80u; ++bits) {
        inputs.push_back(fpq_test::float_from(bits << 16));
    }
    for (float const x : inputs) {
        double const size = std::fabs(double{x});
        int floor_code = 0;
        int ceil_code = 254;
        for (int code = 0; code < 255; ++code) {
            floor_code = levels[static_cast<std::size_t>(code)] <= size ? code : floor_code;
        }
        for (int code = 254; code >= 0; --code) {
            ceil_code = levels[static_cast<std::size_t>(code)] >= size ? code : ceil_code;
        }
        int nearest = floor_code;
        if (floor_code < 254 && size >= 1.5 * power(floor_code - 127)) {
            nearest = floor_code + 1;
        }
        INFO("input " << x << " bits " << float_bits(x));
        REQUIRE(int{fpq::e8m0::encode_floor(x)} == floor_code);
        REQUIRE(int{fpq::e8m0::encode_ceil(x)} == ceil_code);
        REQUIRE(int{fpq::e8m0::encode_nearest(x)} == nearest);
    }
    CHECK(fpq::e8m0::encode_floor(NAN) == 255);
    CHECK(fpq::e8m0::encode_ceil(NAN) == 255);
    CHECK(fpq::e8m0::encode_nearest(-NAN) == 255);
}
