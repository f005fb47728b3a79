// SPDX-License-Identifier: Apache-2.0
// snap and the group encoders against the elements of floor 1, at every code, midpoint and the
// floats beside them.
#include "fpq/quant/rounding.hpp"

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "catch.hpp"
#include "fpq/core/random.hpp"

using fpq::element_kind;

namespace {

std::vector<element_kind> const kinds{element_kind::e2m1, element_kind::e2m3, element_kind::e3m2,
                                      element_kind::e4m3, element_kind::e5m2, element_kind::int2,
                                      element_kind::int3, element_kind::int4, element_kind::int5,
                                      element_kind::int6, element_kind::int7, element_kind::int8};

float snapped(element_kind kind, float x) {
    fpq::grid_rule const rule = fpq::rule_of(kind);
    return rule.integer ? fpq::snap<true>(x, rule) : fpq::snap<false>(x, rule);
}

/// Codes' values, midpoints of neighbours, both neighbouring floats of each, both signs, random.
std::vector<float> probes(element_kind kind) {
    std::vector<float> values;
    for (int c = 0; c < (1 << fpq::element_bits(kind)); ++c) {
        float const v = fpq::decode_element(kind, static_cast<std::uint8_t>(c));
        if (std::isfinite(v)) {
            values.push_back(v);
        }
    }
    std::vector<float> points;
    for (float a : values) {
        float next = std::numeric_limits<float>::infinity();
        for (float b : values) {
            next = b > a && b < next ? b : next;
        }
        float const middle = std::isfinite(next) ? 0.5F * a + 0.5F * next : 1.25F * a;
        for (float p : {a, middle, 2.0F * a, 1e30F * (a + 1.0F)}) {
            for (float q : {p, std::nextafterf(p, -1e38F), std::nextafterf(p, 1e38F)}) {
                points.push_back(q);
                points.push_back(-q);
            }
        }
    }
    fpq::philox const source{7, 0};
    for (std::uint64_t i = 0; i < 2000; ++i) {
        points.push_back(source.normal_at(i) * fpq::element_max(kind) * 0.5F);
    }
    return points;
}

}  // namespace

TEST_CASE("snap gives the value of the element's own code", "[quant]") {
    for (element_kind kind : kinds) {
        for (float x : probes(kind)) {
            float const expected = fpq::decode_element(kind, fpq::encode_element(kind, x));
            INFO("kind " << static_cast<int>(kind) << " x " << x);
            REQUIRE(snapped(kind, x) == expected);
        }
    }
}

TEST_CASE("E2M1 ties go to the even code", "[quant]") {
    std::vector<float> const ties{0.25F, 0.75F, 1.25F, 1.75F, 2.5F, 3.5F, 5.0F};
    std::vector<float> const expected{0.0F, 1.0F, 1.0F, 2.0F, 2.0F, 4.0F, 4.0F};
    for (std::size_t i = 0; i < ties.size(); ++i) {
        REQUIRE(snapped(element_kind::e2m1, ties[i]) == expected[i]);
        REQUIRE(snapped(element_kind::e2m1, -ties[i]) == -expected[i]);
    }
}

TEST_CASE("encode_group divides by the scale and encodes each value", "[quant]") {
    std::vector<float> const w{0.3F, -1.7F, 2.5F, -0.01F, 9.0F, -9.0F};
    for (element_kind kind : kinds) {
        std::vector<std::uint8_t> codes(w.size());
        fpq::encode_group(kind, true, w.data(), w.size(), 0.37F, 0, codes.data());
        for (std::size_t i = 0; i < w.size(); ++i) {
            REQUIRE(codes[i] == fpq::encode_element(kind, w[i] / 0.37F));
        }
    }
}

TEST_CASE("asymmetric codes are rne(x) + zero, clamped to the code range", "[quant]") {
    for (int bits = 2; bits <= 8; ++bits) {
        int const last = (1 << bits) - 1;
        element_kind const kind = fpq::integer_element(bits);
        for (int zero = 0; zero <= last; zero += bits == 8 ? 51 : 1) {
            fpq::grid_rule const rule = fpq::rule_of_asymmetric(kind, zero);
            for (int half = -2 * last - 6; half <= 2 * last + 6; ++half) {
                float const x = 0.5F * static_cast<float>(half);
                int const rounded = static_cast<int>(std::nearbyint(x)) + zero;
                int const expected = rounded < 0 ? 0 : (rounded > last ? last : rounded);
                REQUIRE(fpq::encode_asymmetric(x, bits, zero) == expected);
                REQUIRE(fpq::snap<true>(x, rule) == static_cast<float>(expected - zero));
            }
        }
        REQUIRE(fpq::encode_asymmetric(std::nanf(""), bits, 1) == 1);
    }
}
