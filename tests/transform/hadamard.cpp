// SPDX-License-Identifier: Apache-2.0
// The butterfly against the dense matrix, and the sequency order.
#include "fpq/transform/hadamard.hpp"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "catch.hpp"
#include "fpq/core/random.hpp"

TEST_CASE("the butterfly is the dense Sylvester matrix", "[transform]") {
    for (std::size_t g = 1; g <= 1024; g *= 2) {
        std::vector<float> x(g);
        for (std::size_t i = 0; i < g; ++i) {
            x[i] = fpq::philox{1, g}.normal_at(i);
        }
        std::vector<float> y = x;
        fpq::hadamard_in_place(y.data(), g);
        double worst = 0.0;
        for (std::size_t j = 0; j < g; ++j) {
            double sum = 0.0;
            for (std::size_t i = 0; i < g; ++i) {
                sum += static_cast<double>(x[i]) * fpq::hadamard_sign(i, j);
            }
            sum /= std::sqrt(static_cast<double>(g));
            worst = std::fmax(worst, std::fabs(sum - static_cast<double>(y[j])));
        }
        REQUIRE(worst < 2e-6);
    }
}

TEST_CASE("signs follow Sylvester's doubling", "[transform]") {
    for (std::size_t half = 1; half <= 32; half *= 2) {
        for (std::size_t i = 0; i < half; ++i) {
            for (std::size_t j = 0; j < half; ++j) {
                int const s = fpq::hadamard_sign(i, j);
                REQUIRE(fpq::hadamard_sign(i + half, j) == s);
                REQUIRE(fpq::hadamard_sign(i, j + half) == s);
                REQUIRE(fpq::hadamard_sign(i + half, j + half) == -s);
            }
        }
    }
}

TEST_CASE("column k of the sequency order changes sign k times", "[transform]") {
    for (std::size_t g = 1; g <= 256; g *= 2) {
        std::vector<std::size_t> const order = fpq::sequency_order(g);
        for (std::size_t k = 0; k < g; ++k) {
            std::size_t changes = 0;
            for (std::size_t i = 1; i < g; ++i) {
                changes += fpq::hadamard_sign(i, order[k]) != fpq::hadamard_sign(i - 1, order[k]);
            }
            REQUIRE(changes == k);
        }
    }
}

TEST_CASE("powers of two are recognised", "[transform]") {
    REQUIRE(fpq::is_power_of_two(1));
    REQUIRE(fpq::is_power_of_two(1024));
    REQUIRE_FALSE(fpq::is_power_of_two(0));
    REQUIRE_FALSE(fpq::is_power_of_two(96));
}
