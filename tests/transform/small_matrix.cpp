// SPDX-License-Identifier: Apache-2.0
// Inverse, transpose and orthogonality of small double matrices.
#include "fpq/transform/small_matrix.hpp"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "catch.hpp"
#include "fpq/core/random.hpp"

namespace {

fpq::small_matrix gaussian(std::size_t n) {
    fpq::small_matrix m(n);
    for (std::size_t i = 0; i < n * n; ++i) {
        m.data[i] = static_cast<double>(fpq::philox{2, n}.normal_at(i));
    }
    return m;
}

}  // namespace

TEST_CASE("the inverse times the matrix is the identity", "[transform]") {
    for (std::size_t n : {std::size_t{1}, std::size_t{2}, std::size_t{7}, std::size_t{64}}) {
        fpq::small_matrix const a = gaussian(n);
        fpq::small_matrix inverse = a;
        REQUIRE(fpq::invert(inverse));
        fpq::small_matrix const left = fpq::product(inverse, a);
        fpq::small_matrix const right = fpq::product(a, inverse);
        for (std::size_t i = 0; i < n; ++i) {
            for (std::size_t j = 0; j < n; ++j) {
                REQUIRE(std::fabs(left(i, j) - (i == j ? 1.0 : 0.0)) < 1e-9);
                REQUIRE(std::fabs(right(i, j) - (i == j ? 1.0 : 0.0)) < 1e-9);
            }
        }
    }
}

TEST_CASE("inversion pivots and refuses singular matrices", "[transform]") {
    fpq::small_matrix swap(2);
    swap(0, 1) = 2.0;
    swap(1, 0) = 4.0;
    REQUIRE(fpq::invert(swap));
    REQUIRE(swap(0, 1) == 0.25);
    REQUIRE(swap(1, 0) == 0.5);
    fpq::small_matrix singular(2);
    singular(0, 0) = singular(0, 1) = singular(1, 0) = singular(1, 1) = 1.0;
    REQUIRE_FALSE(fpq::invert(singular));
    fpq::small_matrix bad(1);
    bad(0, 0) = std::numeric_limits<double>::quiet_NaN();
    REQUIRE_FALSE(fpq::invert(bad));
}

TEST_CASE("the orthogonality gap is that of A A^T", "[transform]") {
    fpq::small_matrix a(2);
    a(0, 0) = 0.6;
    a(0, 1) = 0.8;
    a(1, 0) = -0.8;
    a(1, 1) = 0.6;
    REQUIRE(fpq::orthogonality_gap(a) < 1e-15);
    a(1, 1) = 0.7;
    REQUIRE(fpq::orthogonality_gap(a) == Approx(0.13));
    fpq::small_matrix const t = fpq::transposed(a);
    REQUIRE(t(0, 1) == -0.8);
    a(0, 0) = std::numeric_limits<double>::quiet_NaN();
    REQUIRE_FALSE(fpq::orthogonality_gap(a) < 1.0);
}
