// SPDX-License-Identifier: Apache-2.0
// Floor 2. Finds the scales of a matrix: one stored scale a group, before any rounding of weights.
// The search inside a group is scale_search.hpp; this file only walks the groups.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "fpq/core/hosted/parallel.hpp"
#include "fpq/core/view.hpp"
#include "fpq/format/block.hpp"
#include "fpq/quant/kernels/plain_groups.hpp"
#include "fpq/quant/kernels/row_scales.hpp"
#include "fpq/quant/observer_options.hpp"
#include "fpq/quant/scale_search.hpp"
#include "fpq/quant/stored_scale.hpp"

namespace fpq {

/// The scales of a (rows, cols) matrix.
struct scale_grid {
    std::size_t rows = 0;
    std::size_t groups = 0;           // a row; 1 for granularity channel and tensor
    std::vector<std::uint8_t> bytes;  // as stored: scale_count x scale_bytes_each, little-endian
    std::vector<std::uint8_t> zeros;  // asymmetric INT: one a stored scale; else empty
    std::vector<float> value;         // (rows, groups): fl(scale / global_scale)
};

namespace detail {

/// Arrays for the scales of w; values where there is something to scale.
inline scale_grid make_scale_grid(matrix_view<float const> w, quant_format const& format) {
    scale_grid grid;
    grid.rows = w.rows;
    grid.groups = format.groups(w.cols);
    std::size_t const count = w.size() == 0 ? 0 : format.scale_count(w.rows, w.cols);
    grid.bytes.resize(count * format.scale_bytes_each());
    grid.zeros.resize(format.symmetric ? 0 : count);
    grid.value.resize(w.cols == 0 ? 0 : w.rows * grid.groups);
    return grid;
}

/// The one scale of granularity tensor.
inline void find_tensor_scale(matrix_view<float const> w, scale_search search, scale_grid& grid) {
    search.load(w, 0, w.cols);
    group_scale const s = search.find();
    kernels::put_scale(s, grid.bytes.size(), grid.bytes.data(),
                       grid.zeros.empty() ? nullptr : grid.zeros.data());
    std::fill(grid.value.begin(), grid.value.end(), s.value);
}

/// The arrays of `grid` from row `i` on.
inline kernels::scale_rows rows_from(scale_grid& grid, quant_format const& format, std::size_t i) {
    std::size_t const at = i * grid.groups;
    return {grid.bytes.data() + at * format.scale_bytes_each(),
            grid.zeros.empty() ? nullptr : grid.zeros.data() + at, grid.value.data() + at};
}

}  // namespace detail

/// One scale a group of w (rows, cols), each from its own group alone.
/// Numeric contract: float32 arithmetic in a fixed order; the result does not depend on `threads`.
/// NaN is ignored when the maximum is taken and an infinite maximum saturates the scale: scales are
/// always finite and non-zero (negative only for symmetric INT sweeps with signed_end).
/// options.column_weight is empty or has `cols` values. Cost: one pass for minmax; about 100
/// candidates a group for mse, 5 to 40 for sweep. Allocates the result and a buffer a thread.
inline scale_grid find_scales(matrix_view<float const> w, quant_format const& format,
                              observer_options const& options, int threads) {
    scale_grid grid = detail::make_scale_grid(w, format);
    if (grid.bytes.empty()) {
        return grid;
    }
    if (format.grain == granularity::tensor) {
        detail::find_tensor_scale(w, scale_search(format, options), grid);
        return grid;
    }
    kernels::row_scales const scales(format, options);
    parallel_for(
        w.rows, scales.rows_a_chunk(w.cols), threads, [&](std::size_t begin, std::size_t end) {
            scales.find(w.rows_at(begin, end - begin), detail::rows_from(grid, format, begin));
        });
    return grid;
}

namespace reference {

/// The plain loops of fpq::find_scales, on one thread.
inline scale_grid find_scales(matrix_view<float const> w, quant_format const& format,
                              observer_options const& options) {
    scale_grid grid = detail::make_scale_grid(w, format);
    if (grid.bytes.empty()) {
        return grid;
    }
    scale_search search(format, options, true);
    if (format.grain == granularity::tensor) {
        detail::find_tensor_scale(w, search, grid);
        return grid;
    }
    std::size_t const each = format.scale_bytes_each();
    for (std::size_t i = 0; i < w.rows; ++i) {
        kernels::scale_rows const row = detail::rows_from(grid, format, i);
        for (std::size_t g = 0; g < grid.groups; ++g) {
            search.load(w.rows_at(i, 1), g * format.group_of(w.cols),
                        format.group_length(w.cols, g));
            group_scale const s = search.find();
            kernels::put_scale(s, each, row.bytes + g * each,
                               row.zeros == nullptr ? nullptr : row.zeros + g);
            row.values[g] = s.value;
        }
    }
    return grid;
}

}  // namespace reference

}  // namespace fpq
