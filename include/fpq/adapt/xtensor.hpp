// SPDX-License-Identifier: Apache-2.0
// Edge. xtensor containers seen as fpq views and the other way round, without copying. The one
// place that knows xtensor's two include layouts: flat until 0.25, in folders from 0.26 on.
// Two dimensions, row-major. Views only: nothing here computes or owns.
#pragma once

#if __has_include(<xtensor/containers/xadapt.hpp>)
#include <xtensor/containers/xadapt.hpp>
#include <xtensor/containers/xtensor.hpp>
#else
#include <xtensor/xadapt.hpp>
#include <xtensor/xtensor.hpp>
#endif

#include <array>
#include <cstddef>
#include <string>
#include <type_traits>

#include "fpq/core/hosted/error.hpp"
#include "fpq/core/view.hpp"

namespace fpq {

/// The view as an xtensor expression of the same (rows, cols); shares the memory, which must
/// outlive it. Rows may be apart (stride > cols). Errors: none.
/// Example: `auto peak = xt::amax(xt::abs(fpq::to_xtensor(view)))();`
template <class T>
[[nodiscard]] auto to_xtensor(matrix_view<T> v) {
    std::array<std::size_t, 2> const shape{v.rows, v.cols};
    std::array<std::ptrdiff_t, 2> const strides{static_cast<std::ptrdiff_t>(v.stride), 1};
    // xtensor insists on a buffer of as many elements as the shape has, though with strides it
    // reaches further; it never checks an access against that size.
    return xt::adapt(v.data, v.size(), xt::no_ownership(), shape, strides);
}

/// A row-major container of two dimensions (xtensor, xarray, an adaptor) as a view; shares its
/// memory. Throws fpq::error (usage) when it has another number of dimensions or its rows are
/// not stored element by element.
template <class Container>
[[nodiscard]] auto from_xtensor(Container& c) {
    using scalar = std::remove_pointer_t<decltype(c.data())>;
    if (c.dimension() != 2) {
        fail_usage("from_xtensor", "container", "2 dimensions", std::to_string(c.dimension()));
    }
    auto const rows = static_cast<std::size_t>(c.shape(0));
    auto const cols = static_cast<std::size_t>(c.shape(1));
    // xtensor gives dimensions of length one a stride of zero.
    std::ptrdiff_t const inner = cols > 1 ? static_cast<std::ptrdiff_t>(c.strides()[1]) : 1;
    std::ptrdiff_t const outer =
        rows > 1 ? static_cast<std::ptrdiff_t>(c.strides()[0]) : static_cast<std::ptrdiff_t>(cols);
    if (inner != 1 || outer < static_cast<std::ptrdiff_t>(cols)) {
        fail_usage("from_xtensor", "container", "row-major storage",
                   "strides " + std::to_string(outer) + " and " + std::to_string(inner));
    }
    return matrix_view<scalar>{c.data(), rows, cols, static_cast<std::size_t>(outer)};
}

}  // namespace fpq
