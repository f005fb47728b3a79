// SPDX-License-Identifier: Apache-2.0
// Edge. Eigen matrices seen as fpq views and the other way round, without copying. fpq is
// row-major; a column-major Eigen matrix (Eigen's default) is seen as its transpose, and the
// function that does so says it in its name. Views only: nothing here computes or owns.
#pragma once

#include <Eigen/Core>
#include <cstddef>
#include <type_traits>

#include "fpq/core/view.hpp"

namespace fpq {

/// A row-major Eigen matrix of Scalar, its type in this library.
template <class Scalar>
using eigen_matrix = Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// A row-major Eigen map with any distance between rows. Scalar may be const.
template <class Scalar>
using eigen_map = Eigen::Map<
    std::conditional_t<std::is_const_v<Scalar>, eigen_matrix<std::remove_const_t<Scalar>> const,
                       eigen_matrix<Scalar>>,
    Eigen::Unaligned, Eigen::OuterStride<>>;

/// The view as an Eigen expression of the same (rows, cols); shares the memory. Errors: none.
/// Example: `auto mean = fpq::to_eigen(view).rowwise().mean();`
template <class T>
[[nodiscard]] eigen_map<T> to_eigen(matrix_view<T> v) {
    return eigen_map<T>(v.data, static_cast<Eigen::Index>(v.rows),
                        static_cast<Eigen::Index>(v.cols),
                        Eigen::OuterStride<>(static_cast<Eigen::Index>(v.stride)));
}

namespace detail {

template <class Matrix>
auto view_of_eigen(Matrix& m, std::size_t rows, std::size_t cols) {
    using scalar = std::remove_pointer_t<decltype(m.data())>;
    return matrix_view<scalar>{m.data(), rows, cols, static_cast<std::size_t>(m.outerStride())};
}

}  // namespace detail

/// A row-major Eigen matrix, map or block as a view of the same (rows, cols).
/// Column-major storage and rows with gaps between elements do not compile.
template <class Matrix>
[[nodiscard]] auto from_eigen(Matrix& m) {
    static_assert(Matrix::IsRowMajor,
                  "fpq views are row-major: use from_eigen_transposed for column-major storage");
    static_assert(Matrix::InnerStrideAtCompileTime == 1, "the elements of a row must be adjacent");
    return detail::view_of_eigen(m, static_cast<std::size_t>(m.rows()),
                                 static_cast<std::size_t>(m.cols()));
}

/// A column-major Eigen matrix, map or block (rows, cols) as the row-major view (cols, rows) of
/// its transpose: the same memory, read the other way.
template <class Matrix>
[[nodiscard]] auto from_eigen_transposed(Matrix& m) {
    static_assert(!Matrix::IsRowMajor, "row-major storage: use from_eigen");
    static_assert(Matrix::InnerStrideAtCompileTime == 1,
                  "the elements of a column must be adjacent");
    return detail::view_of_eigen(m, static_cast<std::size_t>(m.cols()),
                                 static_cast<std::size_t>(m.rows()));
}

}  // namespace fpq
