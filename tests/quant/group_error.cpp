// SPDX-License-Identifier: Apache-2.0
// The error loops against a double-precision loop over codes, and the bounds against errors.
#include "fpq/quant/group_error.hpp"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "catch.hpp"
#include "fpq/core/random.hpp"
#include "support/gaussian.hpp"

using fpq::element_kind;
using fpq::error_power;

namespace {

std::vector<float> normals(std::size_t n, std::uint64_t stream) {
    return fpq_test::gaussian(n, 5, stream);
}

double slow_error(element_kind kind, std::vector<float> const& w, std::vector<float> const& weight,
                  float s, double power) {
    double sum = 0.0;
    for (std::size_t i = 0; i < w.size(); ++i) {
        float const q = fpq::decode_element(kind, fpq::encode_element(kind, w[i] / s)) * s;
        sum += std::pow(std::fabs(static_cast<double>(w[i] - q)), power) *
               static_cast<double>(weight[i]);
    }
    return sum;
}

}  // namespace

TEST_CASE("power_2_4 is |d|^2.4 to a millionth", "[quant]") {
    REQUIRE(fpq::power_2_4(0.0F) == 0.0F);
    double worst = 0.0;
    for (std::uint64_t i = 0; i < 100000; ++i) {
        float const d = std::exp2(40.0F * fpq::uniform(fpq::philox{1, 0}.at(i)) - 30.0F);
        double const exact = std::pow(static_cast<double>(d), 2.4);
        worst =
            std::fmax(worst, std::fabs(static_cast<double>(fpq::power_2_4(-d)) - exact) / exact);
    }
    REQUIRE(worst < 1e-6);
}

TEST_CASE("group_error is the error of encode and decode", "[quant]") {
    std::vector<float> const weight(2048, 1.0F);
    for (std::size_t n : {std::size_t{16}, std::size_t{32}, std::size_t{2048}}) {
        std::vector<float> const w = normals(n, n);
        std::vector<float> u = normals(n, n + 1);
        for (float& v : u) {
            v = v * v;
        }
        std::vector<float> const ones(n, 1.0F);
        for (float s : {0.05F, 0.3F, 1.7F, -0.3F}) {
            fpq::grid_rule const e2m1 = fpq::rule_of(element_kind::e2m1);
            fpq::grid_rule const int4 = fpq::rule_of(element_kind::int4);
            REQUIRE(fpq::group_error<false, false, error_power::square>(w.data(), nullptr, n, s,
                                                                        e2m1) ==
                    Approx(slow_error(element_kind::e2m1, w, ones, s, 2.0)).epsilon(1e-5));
            REQUIRE(fpq::group_error<false, true, error_power::square>(w.data(), u.data(), n, s,
                                                                       e2m1) ==
                    Approx(slow_error(element_kind::e2m1, w, u, s, 2.0)).epsilon(1e-5));
            REQUIRE(
                fpq::group_error<true, true, error_power::square>(w.data(), u.data(), n, s, int4) ==
                Approx(slow_error(element_kind::int4, w, u, s, 2.0)).epsilon(1e-5));
            REQUIRE(fpq::group_error<true, false, error_power::power_2_4>(w.data(), nullptr, n, s,
                                                                          int4) ==
                    Approx(slow_error(element_kind::int4, w, ones, s, 2.4)).epsilon(1e-5));
        }
    }
}

TEST_CASE("the bounds hold for every smaller and every larger scale", "[quant]") {
    for (std::uint64_t trial = 0; trial < 200; ++trial) {
        std::vector<float> const w = normals(16, 100 + trial);
        std::vector<float> u = normals(16, 900 + trial);
        for (float& v : u) {
            v = std::fabs(v);
        }
        for (element_kind kind : {element_kind::e2m1, element_kind::e4m3, element_kind::int4}) {
            fpq::grid_rule const rule = fpq::rule_of(kind);
            auto const error = [&](float s) {
                return rule.integer ? fpq::group_error<true, true, error_power::square>(
                                          w.data(), u.data(), 16, s, rule)
                                    : fpq::group_error<false, true, error_power::square>(
                                          w.data(), u.data(), 16, s, rule);
            };
            for (float s = 0.01F; s < 8.0F; s *= 1.5F) {
                double const clip =
                    fpq::clipping_bound<true>(w.data(), u.data(), 16, s, rule) * (1.0 - 1e-5);
                double const vanish =
                    fpq::vanishing_bound<true>(w.data(), u.data(), 16, s, rule) * (1.0 - 1e-5);
                for (float factor = 1.0F; factor < 20.0F; factor *= 1.13F) {
                    REQUIRE(error(s / factor) >= clip);
                    REQUIRE(error(s * factor) >= vanish);
                }
            }
        }
    }
}
