// SPDX-License-Identifier: Apache-2.0
// Every block matrix is orthogonal, seeded, and what its definition says.
#include "fpq/transform/block_matrices.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "catch.hpp"

TEST_CASE("every block matrix is orthogonal", "[transform]") {
    for (std::size_t g : {std::size_t{1}, std::size_t{2}, std::size_t{16}, std::size_t{128}}) {
        std::vector<float> const signs =
            fpq::random_signs(g, 1, fpq::transform_stream::hadamard_signs);
        REQUIRE(fpq::orthogonality_gap(fpq::hadamard_matrix(g)) < 1e-12);
        REQUIRE(fpq::orthogonality_gap(fpq::random_hadamard_matrix(g, signs)) < 1e-12);
        REQUIRE(fpq::orthogonality_gap(fpq::gsr_matrix(g, fpq::sequency_order(g))) < 1e-12);
        REQUIRE(fpq::orthogonality_gap(fpq::fast_food_matrix(g, 42)) < 1e-12);
    }
    for (std::size_t g :
         {std::size_t{1}, std::size_t{2}, std::size_t{12}, std::size_t{43}, std::size_t{128}}) {
        REQUIRE(fpq::orthogonality_gap(fpq::dct_matrix(g)) < 1e-12);
        REQUIRE(fpq::orthogonality_gap(fpq::dst_matrix(g)) < 1e-12);
        REQUIRE(fpq::orthogonality_gap(
                    fpq::orthogonal_matrix(g, 42, fpq::transform_stream::orthogonal)) < 1e-12);
        REQUIRE(fpq::orthogonality_gap(fpq::kronecker_matrix(g, 42)) < 1e-12);
    }
}

TEST_CASE("the DCT sends a constant to its first coefficient, and 4 points are known",
          "[transform]") {
    fpq::small_matrix const m = fpq::dct_matrix(4);
    for (std::size_t k = 0; k < 4; ++k) {
        REQUIRE(m(0, k) + m(1, k) + m(2, k) + m(3, k) == Approx(k == 0 ? 2.0 : 0.0).margin(1e-15));
    }
    REQUIRE(m(0, 1) == Approx(0.65328148243818826));
    REQUIRE(m(1, 1) == Approx(0.27059805007309851));
    REQUIRE(m(1, 2) == Approx(-0.5));
    fpq::small_matrix const s = fpq::dst_matrix(4);
    REQUIRE(s(0, 0) == Approx(0.27059805007309851));
    REQUIRE(s(1, 0) == Approx(0.65328148243818826));
    REQUIRE(s(1, 3) == Approx(-0.5));
}

TEST_CASE("the sequency-ordered matrix comes out symmetric", "[transform]") {
    for (std::size_t g = 1; g <= 128; g *= 2) {
        fpq::small_matrix const m = fpq::gsr_matrix(g, fpq::sequency_order(g));
        REQUIRE(m.data == fpq::transposed(m).data);
    }
}

TEST_CASE("the Kronecker matrix is the product of its blocks", "[transform]") {
    REQUIRE(fpq::kronecker_sizes(128) == std::pair<std::size_t, std::size_t>{8, 16});
    REQUIRE(fpq::kronecker_sizes(12) == std::pair<std::size_t, std::size_t>{3, 4});
    REQUIRE(fpq::kronecker_sizes(43) == std::pair<std::size_t, std::size_t>{1, 43});
    fpq::small_matrix const m = fpq::kronecker_matrix(12, 5);
    // Rank one between blocks: the ratio of two blocks is one number.
    double const ratio = m(0, 0) / m(0, 4);
    for (std::size_t k = 0; k < 4; ++k) {
        for (std::size_t l = 0; l < 4; ++l) {
            REQUIRE(m(k, l) == Approx(ratio * m(k, 4 + l)));
        }
    }
}

TEST_CASE("randomness follows the seed", "[transform]") {
    auto const stream = fpq::transform_stream::hadamard_signs;
    REQUIRE(fpq::random_signs(64, 1, stream) == fpq::random_signs(64, 1, stream));
    REQUIRE(fpq::random_signs(64, 1, stream) != fpq::random_signs(64, 2, stream));
    REQUIRE(fpq::orthogonal_matrix(8, 1, stream).data == fpq::orthogonal_matrix(8, 1, stream).data);
    REQUIRE(fpq::orthogonal_matrix(8, 1, stream).data != fpq::orthogonal_matrix(8, 2, stream).data);
    REQUIRE(fpq::fast_food_matrix(16, 1).data != fpq::fast_food_matrix(16, 2).data);
    std::vector<float> const signs = fpq::random_signs(4096, 9, stream);
    auto const minus = std::count(signs.begin(), signs.end(), -1.0F);
    REQUIRE((minus > 1900 && minus < 2200));
    std::vector<std::size_t> order = fpq::random_order(100, 3, stream);
    REQUIRE_FALSE(std::is_sorted(order.begin(), order.end()));
    std::sort(order.begin(), order.end());
    for (std::size_t i = 0; i < 100; ++i) {
        REQUIRE(order[i] == i);
    }
}

TEST_CASE("the orthogonal matrix is Haar in its first moments", "[transform]") {
    // E[m_ij] = 0 and E[m_ij^2] = 1/g for every entry; 400 draws of a 4 x 4 matrix.
    std::vector<double> mean(16, 0.0);
    std::vector<double> square(16, 0.0);
    for (std::uint64_t seed = 0; seed < 400; ++seed) {
        fpq::small_matrix const m =
            fpq::orthogonal_matrix(4, seed, fpq::transform_stream::orthogonal);
        for (std::size_t i = 0; i < 16; ++i) {
            mean[i] += m.data[i] / 400.0;
            square[i] += m.data[i] * m.data[i] / 400.0;
        }
    }
    for (std::size_t i = 0; i < 16; ++i) {
        REQUIRE(std::fabs(mean[i]) < 0.1);
        REQUIRE(std::fabs(square[i] - 0.25) < 0.05);
    }
}
