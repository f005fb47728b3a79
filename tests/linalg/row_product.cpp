// SPDX-License-Identifier: Apache-2.0
// fpq/linalg/row_product.hpp: a row in any company has the bits it has alone, at every level of
// kernels, and the product is the product.
#include "fpq/linalg/row_product.hpp"

#include <cstddef>
#include <vector>

#include "catch.hpp"
#include "fpq/core/view.hpp"
#include "support/gaussian.hpp"
#include "support/limited_simd.hpp"

using fpq::as_view;

TEST_CASE("a row of a product does not know the others", "[linalg]") {
    constexpr std::size_t most = 300;  // more than a tile has
    for (fpq::simd_level const level :
         {fpq::simd_level::generic, fpq::simd_level::avx2, fpq::simd_level::avx512}) {
        fpq_test::limited_simd const limit(level);
        INFO(fpq_test::simd_level_name(level));
        // Depths within a block, at its border and over several; widths off every panel's.
        for (std::size_t const k : {1, 37, 256, 700}) {
            for (std::size_t const n : {1, 31, 83, 600}) {
                auto const x = fpq_test::gaussian(most * k, 5, 1);
                auto const w = fpq_test::gaussian(n * k, 5, 2);
                auto const left = as_view(x.data(), most, k);
                auto const right = as_view(w.data(), n, k);
                std::vector<float> alone(most * n);
                for (std::size_t i = 0; i < most; ++i) {
                    fpq::matmul_rows(left.rows_at(i, 1), right, as_view(alone.data() + i * n, 1, n),
                                     1);
                }
                for (std::size_t const m : {2, 3, 7, 11, 12, 13, 24, 64, 257}) {
                    std::size_t const first = (m * 5) % (most - m);
                    std::vector<float> together(m * n);
                    fpq::matmul_rows(left.rows_at(first, m), right, as_view(together.data(), m, n),
                                     2);
                    CAPTURE(k, n, m);
                    REQUIRE(together ==
                            std::vector<float>(
                                alone.begin() + static_cast<std::ptrdiff_t>(first * n),
                                alone.begin() + static_cast<std::ptrdiff_t>((first + m) * n)));
                }
                for (std::size_t i = 0; i < most; i += 101) {
                    for (std::size_t j = 0; j < n; j += 41) {
                        double sum = 0;
                        for (std::size_t p = 0; p < k; ++p) {
                            sum +=
                                static_cast<double>(left(i, p)) * static_cast<double>(right(j, p));
                        }
                        REQUIRE(alone[i * n + j] == Approx(sum).margin(2e-4));
                    }
                }
            }
        }
    }
}

TEST_CASE("a product of rows refuses shapes that disagree", "[linalg]") {
    std::vector<float> v(12);
    auto const x = as_view(static_cast<float const*>(v.data()), 2, 3);
    auto const w = as_view(static_cast<float const*>(v.data()), 2, 3);
    REQUIRE_THROWS_AS(fpq::matmul_rows(x, w, as_view(v.data(), 2, 3), 1), fpq::error);
    REQUIRE_THROWS_AS(fpq::matmul_rows(x, w.cols_at(0, 2), as_view(v.data(), 2, 2), 1), fpq::error);
    REQUIRE_THROWS_AS(
        fpq::matmul_rows(x.cols_at(0, 0), w.cols_at(0, 0), as_view(v.data(), 2, 2), 1), fpq::error);
}
