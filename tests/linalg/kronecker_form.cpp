// SPDX-License-Identifier: Apache-2.0
// fpq/linalg/kronecker_form.hpp: the trace against plain loops in double, and its special case.
#include "fpq/linalg/kronecker_form.hpp"

#include <algorithm>
#include <cstddef>
#include <vector>

#include "catch.hpp"
#include "fpq/core/hosted/error.hpp"
#include "fpq/core/random.hpp"
#include "fpq/linalg/quadratic_form.hpp"

namespace {

std::vector<float> symmetric(std::size_t n, fpq::philox source) {
    std::vector<float> h(n * n);
    for (std::size_t i = 0; i < n; ++i) {
        for (std::size_t j = 0; j < n; ++j) {
            h[i * n + j] =
                source.normal_at(std::min(i, j) * n + std::max(i, j)) + (i == j ? 30.0F : 0.0F);
        }
    }
    return h;
}

}  // namespace

TEST_CASE("kronecker_form is tr(H_O E H_I E^T) at any thread count", "[solve]") {
    for (auto const& [m, n] : {std::pair<std::size_t, std::size_t>{1, 5}, {40, 33}, {300, 17}}) {
        fpq::philox const source{43, 0};
        std::vector<float> e(m * n);
        for (std::size_t i = 0; i < m * n; ++i) {
            e[i] = source.normal_at(i);
        }
        auto const o = symmetric(m, {43, 1});
        auto const h = symmetric(n, {43, 2});
        double exact = 0;
        for (std::size_t r = 0; r < m; ++r) {
            for (std::size_t j = 0; j < n; ++j) {
                double left = 0;
                double right = 0;
                for (std::size_t i = 0; i < m; ++i) {
                    left += static_cast<double>(o[r * m + i]) * static_cast<double>(e[i * n + j]);
                }
                for (std::size_t i = 0; i < n; ++i) {
                    right += static_cast<double>(e[r * n + i]) * static_cast<double>(h[i * n + j]);
                }
                exact += left * right;
            }
        }
        auto const ev = fpq::as_view(static_cast<float const*>(e.data()), m, n);
        auto const ov = fpq::as_view(static_cast<float const*>(o.data()), m, m);
        auto const hv = fpq::as_view(static_cast<float const*>(h.data()), n, n);
        double const one = fpq::kronecker_form(ev, ov, hv, 1);
        CHECK(one == Approx(exact).epsilon(1e-5));
        CHECK(fpq::kronecker_form(ev, ov, hv, 3) == one);
        std::vector<float> eye(m * m, 0.0F);
        for (std::size_t i = 0; i < m; ++i) {
            eye[i * m + i] = 1.0F;
        }
        CHECK(fpq::kronecker_form(ev, fpq::as_view(static_cast<float const*>(eye.data()), m, m), hv,
                                  1) == Approx(fpq::quadratic_form(ev, hv, 1)).epsilon(1e-5));
        CHECK_THROWS_AS(fpq::kronecker_form(ev, ov, hv.rows_at(0, n - 1), 1), fpq::error);
        CHECK_THROWS_AS(fpq::kronecker_form(ev, ov.rows_at(0, m - 1), hv, 1), fpq::error);
    }
}
