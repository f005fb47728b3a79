// SPDX-License-Identifier: Apache-2.0
// The matrix view: addressing, strides, parts, and the conversion to a view of const.
#include "fpq/core/view.hpp"

#include <type_traits>
#include <vector>

#include "catch.hpp"

namespace {

constexpr int sum_of_corner() {
    int data[] = {1, 2, 3, 4, 5, 6};
    fpq::matrix_view<int> const m = fpq::as_view(data, 2, 3);
    m(1, 2) = 60;
    return m(0, 0) + *m.row(1) + data[5];
}
static_assert(sum_of_corner() == 65);
static_assert(std::is_trivially_copyable_v<fpq::matrix_view<float>>);
static_assert(std::is_convertible_v<fpq::matrix_view<float>, fpq::matrix_view<float const>> &&
              !std::is_convertible_v<fpq::matrix_view<float const>, fpq::matrix_view<float>>);

}  // namespace

TEST_CASE("a view addresses rows by its stride and columns by one", "[core]") {
    std::vector<float> data(5 * 8);
    for (std::size_t i = 0; i < data.size(); ++i) {
        data[i] = static_cast<float>(i);
    }
    fpq::matrix_view<float> const m{data.data(), 5, 6, 8};
    CHECK(m.size() == 30);
    CHECK(m(3, 4) == 28.0F);
    CHECK(m.row(2) == data.data() + 16);
    CHECK(m.rows_at(1, 2)(1, 5) == 21.0F);
    CHECK(m.rows_at(1, 2).rows == 2);
    CHECK(m.cols_at(2, 3)(4, 0) == 34.0F);
    CHECK(m.cols_at(2, 3).cols == 3);
    CHECK(m.rows_at(1, 3).cols_at(2, 2)(2, 1) == 27.0F);
    m(0, 0) = -1.0F;
    fpq::matrix_view<float const> const fixed = m;
    CHECK(fixed(0, 0) == -1.0F);
    CHECK(fixed.stride == 8);
    CHECK(fpq::as_view(data.data(), 5, 8).stride == 8);
}

TEST_CASE("a default view is empty", "[core]") {
    fpq::matrix_view<float> const m;
    CHECK(m.data == nullptr);
    CHECK(m.size() == 0);
}
