// SPDX-License-Identifier: Apache-2.0
// Floor 2. Quantize and dequantize in place, without codes: what a client's activation quantizer
// does to the inputs of a linear. Scales are dynamic, from each group of each row as it comes.
#pragma once

#include <algorithm>
#include <cstddef>

#include "fpq/core/hosted/parallel.hpp"
#include "fpq/core/view.hpp"
#include "fpq/quant/observer.hpp"
#include "fpq/quant/packed_matrix.hpp"
#include "fpq/quant/quantize.hpp"
#include "fpq/quant/rounding.hpp"

namespace fpq {

namespace detail {

/// x (n) = its decoded values under `s`.
inline void snap_group(quant_format const& format, group_scale const& s, float* x,
                       std::size_t n) noexcept {
    grid_rule const rule =
        format.symmetric ? rule_of(format.element) : rule_of_asymmetric(format.element, s.zero);
    if (rule.integer) {
        for (std::size_t i = 0; i < n; ++i) {
            x[i] = snap<true>(x[i] / s.value, rule) * s.value;
        }
    } else {
        for (std::size_t i = 0; i < n; ++i) {
            x[i] = snap<false>(x[i] / s.value, rule) * s.value;
        }
    }
}

}  // namespace detail

namespace reference {

/// fpq::fake_quantize_rows group by group: the plain loop.
inline void fake_quantize_rows(matrix_view<float> x, quant_format const& format,
                               observer_options const& options) {
    if (x.size() == 0) {
        return;
    }
    std::size_t const group = format.group_of(x.cols);
    scale_search search(format, options, true);
    for (std::size_t i = 0; i < x.rows; ++i) {
        for (std::size_t first = 0; first < x.cols; first += group) {
            std::size_t const count = std::min(group, x.cols - first);
            bool const whole = format.grain == granularity::tensor;
            search.load(whole ? x : x.rows_at(i, 1), first, count);
            if (whole) {
                group_scale const s = search.find();
                for (std::size_t r = 0; r < x.rows; ++r) {
                    detail::snap_group(format, s, x.row(r), x.cols);
                }
                return;
            }
            detail::snap_group(format, search.find(), x.row(i) + first, count);
        }
    }
}

}  // namespace reference

/// x (rows, cols) = dequantize(quantize(x)), a few rows at a time; equal to that pair and to the
/// group by group loop, bit for bit up to the sign of zeros. The global scale is given
/// (options.global_scale: static, from calibration), the group scales are dynamic; granularity
/// tensor takes one scale from all of x. Rows are independent otherwise: a token's result does not
/// depend on its neighbours.
inline void fake_quantize_rows(matrix_view<float> x, quant_format const& format,
                               observer_options const& options, int threads = 1) {
    constexpr std::size_t rows_at_once = 16;
    if (x.size() == 0) {
        return;
    }
    if (format.grain == granularity::tensor) {
        scale_search search(format, options);
        search.load(x, 0, x.cols);
        group_scale const s = search.find();
        for (std::size_t i = 0; i < x.rows; ++i) {
            detail::snap_group(format, s, x.row(i), x.cols);
        }
        return;
    }
    parallel_for(x.rows, rows_at_once, threads, [&](std::size_t begin, std::size_t end) {
        packed_matrix part;
        matrix_view<float> const rows = x.rows_at(begin, end - begin);
        quantize_into(matrix_view<float const>(rows), format, options, part, 1);
        dequantize_into(part.view(), rows, 1);
    });
}

}  // namespace fpq
