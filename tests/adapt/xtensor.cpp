// SPDX-License-Identifier: Apache-2.0
// fpq/adapt/xtensor.hpp: the same memory under two names; column-major storage is refused.
#include "fpq/adapt/xtensor.hpp"

#include <vector>

#include "catch.hpp"
#include "fpq/core/hosted/error.hpp"

TEST_CASE("a view with a stride is an xtensor adaptor of the same elements", "[adapt]") {
    std::vector<float> data(3 * 5);
    for (std::size_t i = 0; i < data.size(); ++i) {
        data[i] = static_cast<float>(i);
    }
    fpq::matrix_view<float> const v{data.data(), 3, 4, 5};
    auto x = fpq::to_xtensor(v);
    CHECK(x.shape(0) == 3);
    CHECK(x.shape(1) == 4);
    CHECK(x(2, 3) == v(2, 3));
    x(1, 2) = -1.0F;
    CHECK(data[7] == -1.0F);
    fpq::matrix_view<float const> const c = v;
    CHECK(fpq::to_xtensor(c)(1, 2) == -1.0F);
    float sum = 0;
    for (float const value : fpq::to_xtensor(c)) {
        sum += value;
    }
    CHECK(sum == 0 + 1 + 2 + 3 + 5 + 6 - 1 + 8 + 10 + 11 + 12 + 13);
    CHECK(fpq::to_xtensor(fpq::matrix_view<float>{data.data(), 0, 4, 5}).size() == 0);
}

TEST_CASE("row-major xtensor containers are views, also with one row or column", "[adapt]") {
    xt::xtensor<float, 2> x = {{1, 2, 3}, {4, 5, 6}};
    auto const v = fpq::from_xtensor(x);
    CHECK(v.rows == 2);
    CHECK(v.cols == 3);
    CHECK(v.stride == 3);
    CHECK(&v(1, 2) == &x(1, 2));
    xt::xtensor<float, 2> row = {{1, 2, 3}};
    CHECK(fpq::from_xtensor(row)(0, 2) == 3);
    xt::xtensor<float, 2> column = {{1}, {2}, {3}};
    CHECK(fpq::from_xtensor(column)(2, 0) == 3);
    xt::xarray<float> dynamic = {{1, 2}, {3, 4}};
    CHECK(fpq::from_xtensor(dynamic)(1, 0) == 3);
}

TEST_CASE("other layouts and dimensions are refused as usage errors", "[adapt]") {
    xt::xtensor<float, 2, xt::layout_type::column_major> x = {{1, 2, 3}, {4, 5, 6}};
    CHECK_THROWS_AS(fpq::from_xtensor(x), fpq::error);
    xt::xarray<float> cube = xt::xarray<float>::from_shape({2, 2, 2});
    CHECK_THROWS_AS(fpq::from_xtensor(cube), fpq::error);
}
