// SPDX-License-Identifier: Apache-2.0
// fpq/linalg/cholesky.hpp: u^T u gives the matrix back, in float and double, over block borders;
// lost pivots are reported; threads do not change a bit.
#include "fpq/linalg/cholesky.hpp"

#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include "catch.hpp"
#include "fpq/core/random.hpp"

namespace {

/// b b^T + shift I with b (n, n) Gaussian: symmetric positive definite for shift > 0.
std::vector<double> spd(std::size_t n, double shift) {
    fpq::philox const source{11, n};
    std::vector<double> b(n * n);
    for (std::size_t i = 0; i < n * n; ++i) {
        b[i] = static_cast<double>(source.normal_at(i));
    }
    std::vector<double> a(n * n);
    for (std::size_t i = 0; i < n; ++i) {
        for (std::size_t j = 0; j <= i; ++j) {
            double sum = i == j ? shift : 0.0;
            for (std::size_t p = 0; p < n; ++p) {
                sum += b[i * n + p] * b[j * n + p];
            }
            a[i * n + j] = sum;
            a[j * n + i] = sum;
        }
    }
    return a;
}

template <class Scalar>
double reconstruction_gap(std::size_t n) {
    auto const exact = spd(n, 1.0);
    std::vector<Scalar> a(exact.begin(), exact.end());
    REQUIRE(fpq::cholesky_upper(fpq::as_view(a.data(), n, n), 1));
    double worst = 0;
    for (std::size_t i = 0; i < n; ++i) {
        for (std::size_t j = i; j < n; ++j) {
            double sum = 0;
            for (std::size_t p = 0; p <= i; ++p) {
                sum += static_cast<double>(a[p * n + i]) * static_cast<double>(a[p * n + j]);
            }
            worst = std::max(worst, std::abs(sum - exact[i * n + j]));
        }
    }
    return worst / static_cast<double>(n);
}

}  // namespace

TEST_CASE("the factor's square is the matrix", "[solve]") {
    for (std::size_t const n : {std::size_t{1}, std::size_t{2}, std::size_t{16}, std::size_t{17},
                                std::size_t{128}, std::size_t{129}, std::size_t{300}}) {
        CHECK(reconstruction_gap<double>(n) < 1e-13);
        CHECK(reconstruction_gap<float>(n) < 1e-5);
    }
}

TEST_CASE("only the upper half is read", "[solve]") {
    std::size_t const n = 150;
    auto a = spd(n, 1.0);
    auto b = a;
    for (std::size_t i = 0; i < n; ++i) {
        for (std::size_t j = 0; j < i; ++j) {
            b[i * n + j] = std::numeric_limits<double>::quiet_NaN();
        }
    }
    REQUIRE(fpq::cholesky_upper(fpq::as_view(a.data(), n, n), 1));
    REQUIRE(fpq::cholesky_upper(fpq::as_view(b.data(), n, n), 1));
    for (std::size_t i = 0; i < n; ++i) {
        for (std::size_t j = i; j < n; ++j) {
            REQUIRE(a[i * n + j] == b[i * n + j]);
        }
    }
}

TEST_CASE("a lost pivot is reported, wherever it lies", "[solve]") {
    for (std::size_t const bad : {std::size_t{0}, std::size_t{100}, std::size_t{200}}) {
        std::size_t const n = 201;
        for (double const value : {-1.0, 0.0, std::numeric_limits<double>::quiet_NaN(),
                                   std::numeric_limits<double>::infinity()}) {
            auto a = spd(n, 1.0);
            a[bad * n + bad] = value;
            CHECK_FALSE(fpq::cholesky_upper(fpq::as_view(a.data(), n, n), 1));
        }
    }
    // Rank one: the second pivot is rounding noise, not a number to divide by.
    std::vector<double> rank_one{1.0, 1.0 / 3, 1.0 / 3, 1.0 / 9};
    CHECK_FALSE(fpq::cholesky_upper(fpq::as_view(rank_one.data(), 2, 2), 1));
}

TEST_CASE("three threads give the bytes of one", "[solve]") {
    std::size_t const n = 700;
    fpq::philox const source{12, 0};
    std::vector<float> a(n * n, 0.0F);
    for (std::size_t i = 0; i < n; ++i) {
        for (std::size_t j = i; j < n; ++j) {
            a[i * n + j] = i == j ? 40.0F : 0.2F * source.normal_at(i * n + j);
        }
    }
    auto b = a;
    REQUIRE(fpq::cholesky_upper(fpq::as_view(a.data(), n, n), 1));
    REQUIRE(fpq::cholesky_upper(fpq::as_view(b.data(), n, n), 3));
    CHECK(a == b);
}
