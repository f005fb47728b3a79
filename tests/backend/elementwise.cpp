// SPDX-License-Identifier: Apache-2.0
// The exponential, sums, norms and gating against double arithmetic, with ragged lengths.
#include "fpq/backend/cpu/elementwise.hpp"

#include <cmath>
#include <limits>
#include <vector>

#include "catch.hpp"
#include "model/random_model.hpp"

TEST_CASE("the exponential is within 2e-7 on its range and clamps outside", "[backend]") {
    double worst = 0;
    for (int i = -87 * 1000; i <= 87 * 1000; ++i) {
        const float x = static_cast<float>(i) / 1000.0F;
        const double exact = std::exp(static_cast<double>(x));
        const double found = static_cast<double>(fpq::detail::fast_exp(x));
        worst = std::max(worst, std::abs(found / exact - 1.0));
    }
    REQUIRE(worst < 2e-7);
    REQUIRE(fpq::detail::fast_exp(0.0F) == 1.0F);
    REQUIRE(fpq::detail::fast_exp(-std::numeric_limits<float>::infinity()) < 2e-38F);
    REQUIRE(std::isfinite(fpq::detail::fast_exp(std::numeric_limits<float>::infinity())));
    REQUIRE(std::isnan(fpq::detail::fast_exp(std::numeric_limits<float>::quiet_NaN())));
}

TEST_CASE("blocked loops treat every length alike", "[backend]") {
    for (std::size_t n = 1; n <= 70; ++n) {
        const std::vector<float> x = fpq_test::random_values(n, n, 2.0F);
        const std::vector<float> w = fpq_test::random_values(n, n + 100, 1.0F);
        double squares = 0;
        double exponentials = 0;
        float largest = x[0];
        for (const float v : x) {
            squares += static_cast<double>(v) * static_cast<double>(v);
            exponentials += std::exp(0.5 * (static_cast<double>(v) - 1.0));
            largest = std::max(largest, v);
        }
        INFO("n = " << n);
        REQUIRE(fpq::detail::sum_of_squares(x.data(), n) == Approx(squares));
        REQUIRE(fpq::detail::largest(x.data(), n) == largest);
        std::vector<float> e = x;
        REQUIRE(fpq::detail::exp_and_sum(e.data(), n, 0.5F, 1.0F) == Approx(exponentials));
        std::vector<float> y(n);
        fpq::detail::rms_norm(x.data(), w.data(), 1e-5F, n, y.data());
        std::vector<float> g = x;
        fpq::detail::silu_multiply(g.data(), w.data(), n);
        for (std::size_t j = 0; j < n; ++j) {
            const double v = static_cast<double>(x[j]);
            const double f = static_cast<double>(w[j]);
            REQUIRE(e[j] == Approx(std::exp(0.5 * (v - 1.0))));
            REQUIRE(
                y[j] ==
                Approx(v / std::sqrt(squares / static_cast<double>(n) + 1e-5) * f).margin(1e-6));
            REQUIRE(g[j] == Approx(v / (1.0 + std::exp(-v)) * f).margin(1e-6));
        }
    }
}
