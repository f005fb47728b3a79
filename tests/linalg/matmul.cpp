// SPDX-License-Identifier: Apache-2.0
// fpq/linalg/matmul.hpp: the three products against plain loops in double, on shapes that cross and
// miss tile borders, with strides, and with one and three threads.
#include "fpq/linalg/matmul.hpp"

#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include "catch.hpp"
#include "fpq/core/hosted/error.hpp"
#include "support/gaussian.hpp"

namespace {

std::vector<float> noise(std::size_t count, std::uint64_t stream) {
    return fpq_test::gaussian(count, 7, stream);
}

struct shape {
    std::size_t m, n, k;
};

double worst_gap(fpq::matrix_view<float const> y, auto const& exact) {
    double worst = 0;
    for (std::size_t i = 0; i < y.rows; ++i) {
        for (std::size_t j = 0; j < y.cols; ++j) {
            worst = std::max(worst, std::abs(static_cast<double>(y(i, j)) - exact(i, j)));
        }
    }
    return worst;
}

}  // namespace

TEST_CASE("matmul_nt and matmul_nn equal the sums in double on any shape and stride", "[solve]") {
    for (shape const s : {shape{1, 1, 1}, shape{3, 5, 2}, shape{257, 513, 40}, shape{300, 30, 172},
                          shape{1, 600, 33}, shape{256, 512, 1}}) {
        std::size_t const pad = 3;
        auto const x = noise(s.m * (s.k + pad), 1);
        auto const w = noise(s.n * (s.k + pad), 2);
        auto const v = noise(s.k * (s.n + pad), 3);
        fpq::matrix_view<float const> const xs{x.data(), s.m, s.k, s.k + pad};
        fpq::matrix_view<float const> const ws{w.data(), s.n, s.k, s.k + pad};
        fpq::matrix_view<float const> const vs{v.data(), s.k, s.n, s.n + pad};
        std::vector<float> y(s.m * (s.n + pad), 99.0F);
        fpq::matrix_view<float> const ys{y.data(), s.m, s.n, s.n + pad};
        double const tolerance = 1e-5 * std::sqrt(static_cast<double>(s.k)) * 10;

        fpq::matmul_nt(xs, ws, ys, 1);
        CHECK(worst_gap(ys, [&](std::size_t i, std::size_t j) {
                  double sum = 0;
                  for (std::size_t p = 0; p < s.k; ++p) {
                      sum += static_cast<double>(xs(i, p)) * static_cast<double>(ws(j, p));
                  }
                  return sum;
              }) < tolerance);
        auto const once = y;
        fpq::matmul_nt(xs, ws, ys, 3);
        CHECK(once == y);

        fpq::matmul_nn(xs, vs, ys, 1);
        CHECK(worst_gap(ys, [&](std::size_t i, std::size_t j) {
                  double sum = 0;
                  for (std::size_t p = 0; p < s.k; ++p) {
                      sum += static_cast<double>(xs(i, p)) * static_cast<double>(vs(p, j));
                  }
                  return sum;
              }) < tolerance);
        auto const second = y;
        fpq::matmul_nn(xs, vs, ys, 3);
        CHECK(second == y);
        // Nothing is written between the rows.
        for (std::size_t i = 0; i < s.m; ++i) {
            for (std::size_t j = s.n; j < s.n + pad; ++j) {
                REQUIRE(y[i * (s.n + pad) + j] == 99.0F);
            }
        }
    }
}

TEST_CASE("a product of depth zero is zero, and of no rows touches nothing", "[solve]") {
    std::vector<float> y(6, 5.0F);
    float const nothing = 0;
    fpq::matmul_nt({&nothing, 2, 0, 0}, {&nothing, 3, 0, 0}, fpq::as_view(y.data(), 2, 3), 2);
    CHECK(y == std::vector<float>(6, 0.0F));
    fpq::matmul_nn({&nothing, 0, 4, 4}, {&nothing, 4, 3, 3}, {y.data(), 0, 3, 3}, 2);
    CHECK(y == std::vector<float>(6, 0.0F));
}

TEST_CASE("shapes that do not fit are refused as a usage error", "[solve]") {
    std::vector<float> a(12);
    auto const v = [&](std::size_t r, std::size_t c) { return fpq::as_view(a.data(), r, c); };
    CHECK_THROWS_AS(fpq::matmul_nt(v(2, 3), v(4, 2), v(2, 4), 1), fpq::error);
    CHECK_THROWS_AS(fpq::matmul_nn(v(2, 3), v(2, 4), v(2, 4), 1), fpq::error);
    try {
        fpq::matmul_nt(v(2, 3), v(4, 2), v(2, 4), 1);
    } catch (fpq::error const& e) {
        CHECK(e.category() == fpq::error_category::usage);
        CHECK(std::string(e.what()).find("matmul_nt") != std::string::npos);
    }
}
