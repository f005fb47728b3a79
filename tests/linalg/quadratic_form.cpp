// SPDX-License-Identifier: Apache-2.0
// fpq/linalg/quadratic_form.hpp: the trace against plain loops in double.
#include "fpq/linalg/quadratic_form.hpp"

#include <cstddef>
#include <limits>
#include <vector>

#include "catch.hpp"
#include "fpq/core/hosted/error.hpp"
#include "fpq/core/random.hpp"

TEST_CASE("quadratic_form is tr(A H A^T), from the upper half of H, at any thread count",
          "[solve]") {
    fpq::philox const source{41, 0};
    for (std::size_t const n : {std::size_t{1}, std::size_t{172}, std::size_t{300}}) {
        std::size_t const m = 150;
        std::vector<float> a(m * n);
        std::vector<float> h(n * n);
        for (std::size_t i = 0; i < m * n; ++i) {
            a[i] = source.normal_at(i);
        }
        for (std::size_t i = 0; i < n; ++i) {
            for (std::size_t j = 0; j < n; ++j) {
                std::size_t const low = std::min(i, j);
                h[i * n + j] =
                    source.normal_at(1000000 + low * n + std::max(i, j)) + (i == j ? 30.0F : 0.0F);
            }
        }
        double exact = 0;
        for (std::size_t r = 0; r < m; ++r) {
            for (std::size_t i = 0; i < n; ++i) {
                for (std::size_t j = 0; j < n; ++j) {
                    exact += static_cast<double>(a[r * n + i]) * static_cast<double>(h[i * n + j]) *
                             static_cast<double>(a[r * n + j]);
                }
            }
        }
        auto const av = fpq::as_view(static_cast<float const*>(a.data()), m, n);
        auto const hv = fpq::as_view(static_cast<float const*>(h.data()), n, n);
        double const one = fpq::quadratic_form(av, hv, 1);
        CHECK(one == Approx(exact).epsilon(1e-5));
        CHECK(fpq::quadratic_form(av, hv, 3) == one);
        CHECK_THROWS_AS(fpq::quadratic_form(av, hv.rows_at(0, n - 1), 1), fpq::error);
    }
}
