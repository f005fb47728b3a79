// SPDX-License-Identifier: Apache-2.0
// Floor 2. Finds the scales of a matrix: one stored scale a group, before any rounding of weights.
// The search inside a group is scale_search.hpp; this file only walks the groups.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "fpq/core/hosted/parallel.hpp"
#include "fpq/core/view.hpp"
#include "fpq/format/block.hpp"
#include "fpq/quant/kernels/sweep_batches.hpp"
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

/// fpq::find_scales, with the kernels or by the plain loops alone.
inline scale_grid find_scales(matrix_view<float const> w, quant_format const& format,
                              observer_options const& options, int threads, bool plain) {
    scale_grid grid;
    grid.rows = w.rows;
    grid.groups = format.groups(w.cols);
    std::size_t const each = format.scale_bytes_each();
    std::size_t const count = w.size() == 0 ? 0 : format.scale_count(w.rows, w.cols);
    grid.bytes.resize(count * each);
    grid.zeros.resize(format.symmetric ? 0 : count);
    grid.value.resize(w.cols == 0 ? 0 : w.rows * grid.groups);
    auto const store = [&](std::size_t index, group_scale const& s) {
        grid.bytes[index * each] = static_cast<std::uint8_t>(s.stored & 0xFFu);
        if (each == 2) {
            grid.bytes[index * each + 1] = static_cast<std::uint8_t>(s.stored >> 8);
        }
        if (!format.symmetric) {
            grid.zeros[index] = s.zero;
        }
    };
    if (count == 0) {
        return grid;
    }
    if (format.grain == granularity::tensor) {
        scale_search search(format, options, plain);
        search.load(w, 0, w.cols);
        group_scale const s = search.find();
        store(0, s);
        grid.value.assign(w.rows, s.value);
        return grid;
    }
    std::size_t const group = format.group_of(w.cols);
    scale_search const prototype(format, options, plain);  // copies share its table
    kernels::sweep_batches const batches(format, options, plain);
    parallel_for(w.rows, 4, threads, [&](std::size_t begin, std::size_t end) {
        scale_search search = prototype;
        for (std::size_t i = begin; i < end; ++i) {
            std::size_t const row = i * grid.groups;
            for (std::size_t g = 0; g < grid.groups; ++g) {
                // Sixteen groups at once where a kernel can; it says which ones it leaves to us.
                unsigned left = 1;
                std::size_t taken = 1;
                if (batches.take(w.cols, g)) {
                    left = batches.run(w.row(i), g, grid.bytes.data() + row + g,
                                       grid.value.data() + row + g);
                    taken = kernels::sweep_batches::groups;
                }
                for (; left != 0; left &= left - 1) {
                    std::size_t const at = g + static_cast<std::size_t>(std::countr_zero(left));
                    std::size_t const first = at * group;
                    search.load(w.rows_at(i, 1), first, std::min(group, w.cols - first));
                    group_scale const s = search.find();
                    store(row + at, s);
                    grid.value[row + at] = s.value;
                }
                g += taken - 1;
            }
        }
    });
    return grid;
}

}  // namespace detail

/// One scale a group of w (rows, cols), each from its own group alone.
/// Numeric contract: float32 arithmetic in a fixed order; the result does not depend on `threads`.
/// NaN is ignored when the maximum is taken and an infinite maximum saturates the scale: scales are
/// always finite and non-zero (negative only for symmetric INT sweeps with signed_end).
/// options.column_weight is empty or has `cols` values. Cost: one pass for minmax; about 100
/// candidates a group for mse, 5 to 40 for sweep. Allocates the result and a buffer a thread.
inline scale_grid find_scales(matrix_view<float const> w, quant_format const& format,
                              observer_options const& options, int threads = 1) {
    return detail::find_scales(w, format, options, threads, false);
}

namespace reference {

/// The plain loops of fpq::find_scales.
inline scale_grid find_scales(matrix_view<float const> w, quant_format const& format,
                              observer_options const& options, int threads = 1) {
    return detail::find_scales(w, format, options, threads, true);
}

}  // namespace reference

}  // namespace fpq
