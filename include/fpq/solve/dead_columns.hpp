// SPDX-License-Identifier: Apache-2.0
// Floor 4. Columns that no token ever excited: solvers may round them as they like, and zero them.
#pragma once

#include <cstddef>
#include <vector>

#include "fpq/core/view.hpp"

namespace fpq::detail {

/// w with 0 in the columns whose diagonal of H is 0; w itself when `dead`, their number, is 0.
/// `storage` keeps the copy.
inline matrix_view<float const> without_dead_columns(matrix_view<float const> w,
                                                     std::vector<float> const& diagonal,
                                                     std::size_t dead,
                                                     std::vector<float>& storage) {
    if (dead == 0) {
        return w;
    }
    storage.resize(w.rows * w.cols);
    for (std::size_t i = 0; i < w.rows; ++i) {
        for (std::size_t j = 0; j < w.cols; ++j) {
            storage[i * w.cols + j] = diagonal[j] > 0.0F ? w(i, j) : 0.0F;
        }
    }
    return as_view(static_cast<float const*>(storage.data()), w.rows, w.cols);
}

}  // namespace fpq::detail
