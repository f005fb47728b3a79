// SPDX-License-Identifier: Apache-2.0
// Floor 2. Quantize and dequantize in place, without codes: what a client's activation quantizer
// does to the inputs of a linear. Scales are dynamic, from each group of each row as it comes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "fpq/core/hosted/parallel.hpp"
#include "fpq/core/hosted/simd_level.hpp"
#include "fpq/core/view.hpp"
#include "fpq/quant/kernels/row_scales.hpp"
#include "fpq/quant/kernels/snap_lanes.hpp"
#include "fpq/quant/observer.hpp"
#include "fpq/quant/rounding.hpp"
#include "fpq/quant/scale_search.hpp"

namespace fpq {

namespace detail {

/// The grid of a group's values over its step.
inline grid_rule grid_of(quant_format const& format, int zero) noexcept {
    return format.symmetric ? rule_of(format.element) : rule_of_asymmetric(format.element, zero);
}

/// x (n) = its decoded values under a step.
inline void snap_group(grid_rule const& rule, float step, float* x, std::size_t n) noexcept {
    for (std::size_t i = 0; i < n; ++i) {
        x[i] =
            (rule.integer ? snap<true>(x[i] / step, rule) : snap<false>(x[i] / step, rule)) * step;
    }
}

/// snap_group by the kernel of a level, its tail by the loop. n: any.
inline void snap_group_fast(simd_level level, grid_rule const& rule, float step, float* x,
                            std::size_t n) noexcept {
    std::size_t const whole = n / 8 * 8;
    kernels::snap_group_at(level)(x, whole, step, rule);
    snap_group(rule, step, x + whole, n - whole);
}

}  // namespace detail

/// x (rows, cols) = dequantize(quantize(x)), group by group; equal to that pair bit for bit up to
/// the sign of zeros. The global scale is given (options.global_scale: static, from calibration),
/// the group scales are dynamic; granularity tensor takes one scale from all of x.
/// Rows are independent otherwise: a token's result does not depend on its neighbours.
inline void fake_quantize_rows(matrix_view<float> x, quant_format const& format,
                               observer_options const& options, int threads) {
    if (x.size() == 0) {
        return;
    }
    simd_level const level = active_simd_level();
    if (format.grain == granularity::tensor) {
        scale_search search(format, options);
        search.load(x, 0, x.cols);
        group_scale const s = search.find();
        grid_rule const rule = detail::grid_of(format, s.zero);
        parallel_for(x.rows, 8, threads, [&](std::size_t begin, std::size_t end) {
            for (std::size_t i = begin; i < end; ++i) {
                detail::snap_group_fast(level, rule, s.value, x.row(i), x.cols);
            }
        });
        return;
    }
    std::size_t const groups = format.groups(x.cols);
    kernels::row_scales const scales(format, options);
    grid_rule const symmetric = rule_of(format.element);
    parallel_for(
        x.rows, scales.rows_a_chunk(x.cols), threads, [&](std::size_t begin, std::size_t end) {
            std::size_t const count = (end - begin) * groups;
            std::vector<std::uint8_t> stored(count * format.scale_bytes_each());
            std::vector<std::uint8_t> zeros(format.symmetric ? 0 : count);
            std::vector<float> steps(count);
            scales.find(x.rows_at(begin, end - begin),
                        {stored.data(), zeros.empty() ? nullptr : zeros.data(), steps.data()});
            for (std::size_t k = 0; k < count; ++k) {
                std::size_t const g = k % groups;
                grid_rule const rule =
                    zeros.empty() ? symmetric : detail::grid_of(format, zeros[k]);
                detail::snap_group_fast(level, rule, steps[k],
                                        x.row(begin + k / groups) + g * format.group_of(x.cols),
                                        format.group_length(x.cols, g));
            }
        });
}

namespace reference {

/// The plain loops of fpq::fake_quantize_rows, on one thread.
inline void fake_quantize_rows(matrix_view<float> x, quant_format const& format,
                               observer_options const& options) {
    scale_grid const grid = reference::find_scales(x, format, options);
    for (std::size_t i = 0; i < x.rows; ++i) {
        for (std::size_t g = 0; g < grid.groups; ++g) {
            std::size_t const k = format.grain == granularity::tensor ? 0 : i * grid.groups + g;
            detail::snap_group(detail::grid_of(format, format.symmetric ? 0 : grid.zeros[k]),
                               grid.value[i * grid.groups + g],
                               x.row(i) + g * format.group_of(x.cols),
                               format.group_length(x.cols, g));
        }
    }
}

}  // namespace reference

}  // namespace fpq
