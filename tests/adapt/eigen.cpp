// SPDX-License-Identifier: Apache-2.0
// fpq/adapt/eigen.hpp: the same memory under two names.
#include "fpq/adapt/eigen.hpp"

#include <type_traits>
#include <vector>

#include "catch.hpp"

TEST_CASE("a view with a stride is an Eigen map of the same elements", "[adapt]") {
    std::vector<float> data(3 * 5);
    for (std::size_t i = 0; i < data.size(); ++i) {
        data[i] = static_cast<float>(i);
    }
    fpq::matrix_view<float> const v{data.data(), 3, 4, 5};
    auto m = fpq::to_eigen(v);
    CHECK(m.rows() == 3);
    CHECK(m.cols() == 4);
    CHECK(m(2, 3) == v(2, 3));
    m(1, 2) = -1.0F;
    CHECK(data[7] == -1.0F);
    fpq::matrix_view<float const> const c = v;
    CHECK(fpq::to_eigen(c).row(2).sum() == 10.0F + 11.0F + 12.0F + 13.0F);
    static_assert(!std::is_assignable_v<decltype(fpq::to_eigen(c)(0, 0)), float>);
}

TEST_CASE("a row-major Eigen matrix and its blocks are views", "[adapt]") {
    fpq::eigen_matrix<float> m(3, 4);
    m.setRandom();
    auto const v = fpq::from_eigen(m);
    CHECK(v.rows == 3);
    CHECK(v.cols == 4);
    CHECK(v.stride == 4);
    CHECK(&v(2, 1) == &m(2, 1));
    auto block = m.block(1, 1, 2, 2);
    auto const b = fpq::from_eigen(block);
    CHECK(b.stride == 4);
    CHECK(&b(1, 1) == &m(2, 2));
    fpq::eigen_matrix<double> const constant = fpq::eigen_matrix<double>::Ones(2, 2);
    static_assert(
        std::is_same_v<decltype(fpq::from_eigen(constant)), fpq::matrix_view<double const>>);
}

TEST_CASE("a column-major Eigen matrix is the view of its transpose", "[adapt]") {
    Eigen::MatrixXf m(3, 4);
    m.setRandom();
    auto const v = fpq::from_eigen_transposed(m);
    CHECK(v.rows == 4);
    CHECK(v.cols == 3);
    for (Eigen::Index i = 0; i < 3; ++i) {
        for (Eigen::Index j = 0; j < 4; ++j) {
            CHECK(&v(static_cast<std::size_t>(j), static_cast<std::size_t>(i)) == &m(i, j));
        }
    }
}
