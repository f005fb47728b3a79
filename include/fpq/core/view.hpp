// SPDX-License-Identifier: Apache-2.0
// Floor 0. A row-major matrix that somebody else owns: pointer, rows, columns, stride. It never
// allocates or checks, and is usable in device code.
#pragma once

#include <cstddef>
#include <type_traits>

#include "fpq/core/config.hpp"

namespace fpq {

/// Row-major (rows, cols) view; row i starts at data + i * stride (stride in elements, >= cols).
template <class T>
struct matrix_view {
    T* data = nullptr;
    std::size_t rows = 0;
    std::size_t cols = 0;
    std::size_t stride = 0;  // elements from one row to the next

    FPQ_HD constexpr T* row(std::size_t i) const noexcept { return data + i * stride; }
    FPQ_HD constexpr T& operator()(std::size_t i, std::size_t j) const noexcept {
        return data[i * stride + j];
    }
    FPQ_HD constexpr std::size_t size() const noexcept { return rows * cols; }

    /// Rows [begin, begin + count) of the same matrix.
    FPQ_HD constexpr matrix_view rows_at(std::size_t begin, std::size_t count) const noexcept {
        return {data + begin * stride, count, cols, stride};
    }
    /// Columns [begin, begin + count) of the same matrix.
    FPQ_HD constexpr matrix_view cols_at(std::size_t begin, std::size_t count) const noexcept {
        return {data + begin, rows, count, stride};
    }

    FPQ_HD constexpr operator matrix_view<T const>() const noexcept requires(!std::is_const_v<T>) {
        return {data, rows, cols, stride};
    }
};

/// A dense view: stride = cols.
template <class T>
FPQ_HD constexpr matrix_view<T> as_view(T* data, std::size_t rows, std::size_t cols) noexcept {
    return {data, rows, cols, cols};
}

}  // namespace fpq
