// SPDX-License-Identifier: Apache-2.0
// fpq/linalg/second_moment.hpp: the sum against plain loops in double, its accuracy over many
// tokens, the merge law, its state in parts, and threads.
#include "fpq/linalg/second_moment.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "fpq/core/hosted/error.hpp"
#include "support/gaussian.hpp"

namespace {

std::vector<float> tokens_of(std::size_t count, std::size_t n, std::uint64_t stream) {
    return fpq_test::gaussian(count * n, 21, stream, 1.0F, 0.5F);
}

/// What has been summed so far.
fpq::hessian so_far(fpq::second_moment sum) { return std::move(sum).finish(); }

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

TEST_CASE("the Hessian is the sum of x x^T, symmetric, over ragged widths and batches",
          "[linalg]") {
    for (std::size_t const n : {std::size_t{1}, std::size_t{33}, std::size_t{172}}) {
        std::size_t const tokens = 1300;
        auto const x = tokens_of(tokens, n, n);
        fpq::second_moment sum(n);
        auto const all = fpq::as_view(x.data(), tokens, n);
        sum.add(all.rows_at(0, 7), 1);
        sum.add(all.rows_at(7, 1200), 2);
        sum.add(all.rows_at(1207, 93), 1);
        CHECK(sum.count() == tokens);
        CHECK(sum.size() == n);
        fpq::hessian const h = std::move(sum).finish();
        CHECK(h.count() == tokens);
        CHECK(h.size() == n);
        CHECK(gap(h, x, tokens) < 1e-6);
        auto const v = h.view();
        auto const d = h.diagonal();
        REQUIRE(d.size() == n);
        for (std::size_t i = 0; i < n; ++i) {
            REQUIRE(d[i] == v(i, i));
            for (std::size_t j = 0; j < n; ++j) {
                REQUIRE(v(i, j) == v(j, i));
            }
        }
    }
}

TEST_CASE("the total is compensated: small additions to a large sum are not lost", "[linalg]") {
    // One token of 4096^2, then 3000 calls of one token that adds 1: plain float32 would stay put.
    std::size_t const n = 3;
    fpq::second_moment sum(n);
    std::vector<float> const large(n, 4096.0F);
    std::vector<float> const one(n, 1.0F);
    sum.add(fpq::as_view(large.data(), 1, n), 1);
    for (int i = 0; i < 3000; ++i) {
        sum.add(fpq::as_view(one.data(), 1, n), 1);
    }
    auto const h = so_far(sum);
    for (std::size_t i = 0; i < n; ++i) {
        for (std::size_t j = 0; j < n; ++j) {
            CHECK(h.view()(i, j) == 16777216.0F + 3000.0F);
        }
    }
}

TEST_CASE("a copy that is finished leaves the sum as it was", "[linalg]") {
    std::size_t const n = 40;
    std::size_t const tokens = 600;
    auto const x = tokens_of(tokens, n, 3);
    auto const all = fpq::as_view(x.data(), tokens, n);
    fpq::second_moment sum(n);
    sum.add(all.rows_at(0, 300), 1);
    fpq::second_moment looked_at = sum;
    CHECK(gap(so_far(looked_at), x, 300) < 1e-6);
    looked_at.add(all.rows_at(300, 300), 1);
    sum.add(all.rows_at(300, 300), 1);
    CHECK(std::equal(sum.parts().begin(), sum.parts().end(), looked_at.parts().begin()));
    CHECK(gap(so_far(sum), x, tokens) < 1e-6);
}

TEST_CASE("merging equals adding, in either order", "[linalg]") {
    std::size_t const n = 50;
    std::size_t const tokens = 400;
    auto const x = tokens_of(tokens, n, 4);
    auto const all = fpq::as_view(x.data(), tokens, n);
    fpq::second_moment a(n);
    fpq::second_moment b(n);
    a.add(all.rows_at(0, 150), 1);
    b.add(all.rows_at(150, 250), 1);
    auto ab = a;
    ab.merge(b);
    auto ba = b;
    ba.merge(a);
    CHECK(ab.count() == tokens);
    CHECK(gap(so_far(ab), x, tokens) < 1e-6);
    CHECK(gap(so_far(ba), x, tokens) < 1e-6);
    CHECK_THROWS_AS(a.merge(fpq::second_moment(n + 1)), fpq::error);
}

TEST_CASE("a sum that is sent in parts goes on as if it had stayed", "[linalg]") {
    std::size_t const n = 30;
    auto const x = tokens_of(90, n, 6);
    auto const all = fpq::as_view(x.data(), 90, n);
    fpq::second_moment here(n);
    here.add(all.rows_at(0, 40), 1);
    fpq::second_moment there(n, here.count(), {here.parts().begin(), here.parts().end()},
                             {here.diagonal_parts().begin(), here.diagonal_parts().end()});
    for (fpq::second_moment* const sum : {&here, &there}) {
        sum->add(all.rows_at(40, 50), 1);
    }
    CHECK(there.count() == 90);
    CHECK(std::equal(here.parts().begin(), here.parts().end(), there.parts().begin()));
    CHECK(std::equal(here.diagonal_parts().begin(), here.diagonal_parts().end(),
                     there.diagonal_parts().begin()));
    CHECK_THROWS_AS(fpq::second_moment(n, 0, std::vector<float>(n), std::vector<float>(n)),
                    fpq::error);
    CHECK_THROWS_AS(fpq::hessian(n, 0, std::vector<float>(n)), fpq::error);
}

TEST_CASE("three threads sum the bytes of one", "[linalg]") {
    std::size_t const n = 300;
    std::size_t const tokens = 700;
    auto const x = tokens_of(tokens, n, 5);
    auto const one = fpq::hessian_of(fpq::as_view(x.data(), tokens, n), 1);
    auto const three = fpq::hessian_of(fpq::as_view(x.data(), tokens, n), 3);
    for (std::size_t i = 0; i < n * n; ++i) {
        REQUIRE(one.view().data[i] == three.view().data[i]);
    }
}

TEST_CASE("tokens of another width are refused", "[linalg]") {
    fpq::second_moment sum(4);
    std::vector<float> const x(10, 1.0F);
    CHECK_THROWS_AS(sum.add(fpq::as_view(x.data(), 2, 5), 1), fpq::error);
}
