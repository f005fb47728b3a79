// SPDX-License-Identifier: Apache-2.0
// fpq/linalg/second_moment.hpp: the sum against plain loops in double, its accuracy over many
// tokens, the merge law, reading in the middle, and threads.
#include "fpq/linalg/second_moment.hpp"

#include <cmath>
#include <cstddef>
#include <vector>

#include "catch.hpp"
#include "fpq/core/hosted/error.hpp"
#include "support/gaussian.hpp"

namespace {

std::vector<float> tokens_of(std::size_t count, std::size_t n, std::uint64_t stream) {
    return fpq_test::gaussian(count * n, 21, stream, 1.0F, 0.5F);
}

/// Largest gap to x^T x in double, relative to the largest element.
double gap(fpq::hessian const& h, std::vector<float> const& x, std::size_t tokens) {
    std::size_t const n = h.size();
    std::vector<double> exact(n * n, 0.0);
    for (std::size_t t = 0; t < tokens; ++t) {
        for (std::size_t i = 0; i < n; ++i) {
            for (std::size_t j = 0; j < n; ++j) {
                exact[i * n + j] +=
                    static_cast<double>(x[t * n + i]) * static_cast<double>(x[t * n + j]);
            }
        }
    }
    double worst = 0;
    double largest = 0;
    auto const v = h.view();
    for (std::size_t i = 0; i < n; ++i) {
        for (std::size_t j = 0; j < n; ++j) {
            worst = std::max(worst, std::abs(static_cast<double>(v(i, j)) - exact[i * n + j]));
            largest = std::max(largest, std::abs(exact[i * n + j]));
        }
    }
    return worst / largest;
}

}  // namespace

TEST_CASE("the Hessian is the sum of x x^T, symmetric, over ragged widths and batches", "[solve]") {
    for (std::size_t const n : {std::size_t{1}, std::size_t{33}, std::size_t{172}}) {
        std::size_t const tokens = 1300;
        auto const x = tokens_of(tokens, n, n);
        fpq::hessian h(n);
        auto const all = fpq::as_view(x.data(), tokens, n);
        h.accumulate(all.rows_at(0, 7));
        h.accumulate(all.rows_at(7, 1200), 2);
        CHECK(h.diagonal().size() == n);
        h.accumulate(all.rows_at(1207, 93));
        CHECK(h.samples() == tokens);
        CHECK(h.size() == n);
        CHECK(gap(h, x, tokens) < 1e-6);
        auto const v = h.view();
        auto const d = h.diagonal();
        for (std::size_t i = 0; i < n; ++i) {
            REQUIRE(d[i] == v(i, i));
            for (std::size_t j = 0; j < n; ++j) {
                REQUIRE(v(i, j) == v(j, i));
            }
        }
    }
}

TEST_CASE("the total is compensated: small additions to a large sum are not lost", "[solve]") {
    // One token of 4096^2, then 3000 calls of one token that adds 1: plain float32 would stay put.
    std::size_t const n = 3;
    fpq::hessian h(n);
    std::vector<float> const large(n, 4096.0F);
    std::vector<float> const one(n, 1.0F);
    h.accumulate(fpq::as_view(large.data(), 1, n));
    for (int i = 0; i < 3000; ++i) {
        h.accumulate(fpq::as_view(one.data(), 1, n));
    }
    auto const v = h.view();
    for (std::size_t i = 0; i < n; ++i) {
        for (std::size_t j = 0; j < n; ++j) {
            CHECK(v(i, j) == 16777216.0F + 3000.0F);
        }
    }
}

TEST_CASE("a view in the middle changes later sums by its rounding only", "[solve]") {
    std::size_t const n = 40;
    std::size_t const tokens = 600;
    auto const x = tokens_of(tokens, n, 3);
    auto const all = fpq::as_view(x.data(), tokens, n);
    fpq::hessian h(n);
    h.accumulate(all.rows_at(0, 300));
    static_cast<void>(h.view());
    h.accumulate(all.rows_at(300, 300));
    CHECK(gap(h, x, tokens) < 1e-6);
}

TEST_CASE("merging equals accumulating, in either order and after a view", "[solve]") {
    std::size_t const n = 50;
    std::size_t const tokens = 400;
    auto const x = tokens_of(tokens, n, 4);
    auto const all = fpq::as_view(x.data(), tokens, n);
    fpq::hessian a(n);
    fpq::hessian b(n);
    a.accumulate(all.rows_at(0, 150));
    b.accumulate(all.rows_at(150, 250));
    auto ab = a;
    ab.merge(b);
    auto ba = b;
    ba.merge(a);
    CHECK(ab.samples() == tokens);
    CHECK(gap(ab, x, tokens) < 1e-6);
    CHECK(gap(ba, x, tokens) < 1e-6);
    static_cast<void>(b.view());
    auto viewed = a;
    viewed.merge(b);
    CHECK(gap(viewed, x, tokens) < 1e-6);
    CHECK_THROWS_AS(a.merge(fpq::hessian(n + 1)), fpq::error);
}

TEST_CASE("three threads accumulate the bytes of one", "[solve]") {
    std::size_t const n = 300;
    std::size_t const tokens = 700;
    auto const x = tokens_of(tokens, n, 5);
    fpq::hessian a(n);
    fpq::hessian b(n);
    a.accumulate(fpq::as_view(x.data(), tokens, n), 1);
    b.accumulate(fpq::as_view(x.data(), tokens, n), 3);
    auto const va = a.view();
    auto const vb = b.view();
    for (std::size_t i = 0; i < n * n; ++i) {
        REQUIRE(va.data[i] == vb.data[i]);
    }
}

TEST_CASE("tokens of another width are refused", "[solve]") {
    fpq::hessian h(4);
    std::vector<float> const x(10, 1.0F);
    CHECK_THROWS_AS(h.accumulate(fpq::as_view(x.data(), 2, 5)), fpq::error);
}
