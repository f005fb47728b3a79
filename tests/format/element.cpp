// SPDX-License-Identifier: Apache-2.0
// Integers of 2..8 bits against a brute-force encoder, and the run-time face of every element:
// widths, limits, and that visit_element reaches the type that the enum names.
#include "fpq/format/element.hpp"

#include <cmath>
#include <type_traits>
#include <vector>

#include "catch.hpp"
#include "support/number_oracle.hpp"

namespace {

using fpq::element_kind;

static_assert(fpq::signed_integer<4>::encode(-8.7F) == 8 &&
              fpq::signed_integer<4>::encode(7.5F) == 7);
static_assert(fpq::signed_integer<8>::decode(0x80) == -128.0F);
static_assert(fpq::unsigned_integer<4>::encode(14.5F) == 14 &&
              fpq::unsigned_integer<4>::decode(15) == 15.0F);
static_assert(fpq::element_max(element_kind::e4m3) == 448.0F);
static_assert(fpq::element_bits(element_kind::int5) == 5);
static_assert(fpq::encode_element(element_kind::e2m1, 3.5F) == 6);
static_assert(fpq::decode_element(element_kind::int3, 4) == -4.0F);
static_assert(fpq::integer_element(2) == element_kind::int2 &&
              fpq::integer_element(8) == element_kind::int8);

/// Nearest integer in [least, most] by trying all; halves to the even one.
int nearest_integer(float x, int least, int most) {
    if (x <= static_cast<float>(least)) {
        return least;
    }
    int best = most;
    double distance = x >= static_cast<float>(most) ? -1 : 1e9;
    for (int n = least; n <= most; ++n) {
        double const d = std::fabs(double{x} - n);
        if (d < distance || (d == distance && n % 2 == 0)) {
            distance = d;
            best = n;
        }
    }
    return best;
}

std::vector<float> integer_probes(int most) {
    std::vector<double> levels;
    for (int n = 0; n <= most + 3; ++n) {
        levels.push_back(n);
    }
    std::vector<float> inputs = fpq_test::probes(levels);
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

template <int Bits>
void check_integer() {
    using element = fpq::signed_integer<Bits>;
    using codes = fpq::unsigned_integer<Bits>;
    int const most = (1 << (Bits - 1)) - 1;
    int const least = -most - 1;
    INFO("int" << Bits);
    CHECK(element::max == static_cast<float>(most));
    CHECK(codes::max == static_cast<float>((1 << Bits) - 1));
    for (int n = least; n <= most; ++n) {
        auto const code = static_cast<std::uint8_t>(n & ((1 << Bits) - 1));
        REQUIRE(element::decode(code) == static_cast<float>(n));
        REQUIRE(element::encode(static_cast<float>(n)) == code);
    }
    for (int n = 0; n < 1 << Bits; ++n) {
        REQUIRE(codes::decode(static_cast<std::uint8_t>(n)) == static_cast<float>(n));
        REQUIRE(int{codes::encode(static_cast<float>(n))} == n);
    }
    std::size_t wrong = 0;
    std::size_t wrong_unsigned = 0;
    for (float const x : integer_probes(1 << Bits)) {
        int const mask = (1 << Bits) - 1;
        wrong += element::encode(x) != (nearest_integer(x, least, most) & mask);
        wrong_unsigned += codes::encode(x) != nearest_integer(x, 0, mask);
    }
    CHECK(wrong == 0);
    CHECK(wrong_unsigned == 0);
    CHECK(element::encode(NAN) == 0);
    CHECK(codes::encode(NAN) == 0);
    CHECK(element::decode(element::encode(-INFINITY)) == static_cast<float>(least));
    CHECK(element::decode(element::encode(INFINITY)) == static_cast<float>(most));
}

struct element_row {
    element_kind kind;
    int bits;
    float max;
};

element_row const rows[] = {{element_kind::e2m1, 4, 6.0F},     {element_kind::e2m3, 6, 7.5F},
                            {element_kind::e3m2, 6, 28.0F},    {element_kind::e4m3, 8, 448.0F},
                            {element_kind::e5m2, 8, 57344.0F}, {element_kind::int2, 2, 1.0F},
                            {element_kind::int3, 3, 3.0F},     {element_kind::int4, 4, 7.0F},
                            {element_kind::int5, 5, 15.0F},    {element_kind::int6, 6, 31.0F},
                            {element_kind::int7, 7, 63.0F},    {element_kind::int8, 8, 127.0F}};

template <class Element>
bool visits(element_kind kind) {
    return fpq::visit_element(
        kind, [](auto element) { return std::is_same_v<decltype(element), Element>; });
}

}  // namespace

TEST_CASE("integers of every width agree with trying every integer", "[format]") {
    check_integer<2>();
    check_integer<3>();
    check_integer<4>();
    check_integer<5>();
    check_integer<6>();
    check_integer<7>();
    check_integer<8>();
}

TEST_CASE("element kinds have their bits, maximum and kind of arithmetic", "[format]") {
    for (element_row const& row : rows) {
        INFO("kind " << static_cast<int>(row.kind));
        CHECK(fpq::element_bits(row.kind) == row.bits);
        CHECK(fpq::element_max(row.kind) == row.max);
        CHECK(fpq::is_integer(row.kind) == (row.kind >= element_kind::int2));
        CHECK(fpq::element_max_exponent(row.kind) == std::ilogb(row.max));
    }
}

TEST_CASE("the run-time encoder and decoder are those of the named type", "[format]") {
    CHECK(visits<fpq::e2m1>(element_kind::e2m1));
    CHECK(visits<fpq::e2m3>(element_kind::e2m3));
    CHECK(visits<fpq::e3m2>(element_kind::e3m2));
    CHECK(visits<fpq::e4m3>(element_kind::e4m3));
    CHECK(visits<fpq::e5m2>(element_kind::e5m2));
    CHECK(visits<fpq::signed_integer<2>>(element_kind::int2));
    CHECK(visits<fpq::signed_integer<3>>(element_kind::int3));
    CHECK(visits<fpq::signed_integer<4>>(element_kind::int4));
    CHECK(visits<fpq::signed_integer<5>>(element_kind::int5));
    CHECK(visits<fpq::signed_integer<6>>(element_kind::int6));
    CHECK(visits<fpq::signed_integer<7>>(element_kind::int7));
    CHECK(visits<fpq::signed_integer<8>>(element_kind::int8));
    for (element_row const& row : rows) {
        for (int code = 0; code < 1 << row.bits; ++code) {
            auto const byte = static_cast<std::uint8_t>(code);
            float const value = fpq::decode_element(row.kind, byte);
            if (std::isfinite(value)) {
                REQUIRE(fpq::encode_element(row.kind, value) == byte);
            }
        }
    }
}
