// SPDX-License-Identifier: Apache-2.0
// Floor 4. Round to nearest behind the solvers' signature: each value to the nearest code under
// scales found beforehand. Errors are not fed forward (gptq.hpp does that).
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fpq/core/view.hpp"
#include "fpq/linalg/hessian.hpp"
#include "fpq/linalg/quadratic_form.hpp"
#include "fpq/quant/quantize.hpp"
#include "fpq/solve/options.hpp"

namespace fpq {

namespace detail {

/// The observer of the options with its column weights filled in where the options ask for it.
inline observer_options weighted_observer(solve_options const& options,
                                          std::vector<float> const& weight) {
    observer_options out = options.observer;
    if (options.weight_by_diagonal && out.rule == scale_rule::sweep && out.column_weight.empty()) {
        out.column_weight = weight;
    }
    return out;
}

/// dW = W - decode(Q) over the whole layer.
inline std::vector<float> weight_error(matrix_view<float const> w, packed_matrix const& q,
                                       int threads) {
    std::vector<float> out = dequantize(q.view(), threads);
    for (std::size_t i = 0; i < w.rows; ++i) {
        for (std::size_t j = 0; j < w.cols; ++j) {
            out[i * w.cols + j] = w(i, j) - out[i * w.cols + j];
        }
    }
    return out;
}

}  // namespace detail

/// w (out, in) rounded to the nearest codes of `format`. With a Hessian (or null), the sweep
/// observer weights by its diagonal and the report has the relative error at the output.
/// Throws fpq::error: usage when shapes disagree or options.threads is not stated, input for a
/// non-finite weight (by `name`).
[[nodiscard]] inline solve_result rtn(matrix_view<float const> w, hessian const* h,
                                      quant_format const& format, solve_options const& options,
                                      std::string_view name) {
    detail::require_threads(options, name);
    detail::require_finite_weight(w, name);
    std::vector<float> weight;
    if (h != nullptr) {
        detail::require_shape(h->size() == w.cols, "rtn", "a Hessian of " + std::to_string(w.cols),
                              std::to_string(h->size()));
        weight = h->diagonal();
    }
    observer_options const observer = detail::weighted_observer(options, weight);
    solve_result result;
    scale_grid const grid = find_scales(w, format, observer, options.threads);
    result.weight = encode_with(w, format, grid, observer.global_scale, options.threads);
    if (h != nullptr && w.rows > 0) {
        auto const error = detail::weight_error(w, result.weight, options.threads);
        double const whole = quadratic_form(w, h->view(), options.threads);
        double const miss =
            quadratic_form(as_view(error.data(), w.rows, w.cols), h->view(), options.threads);
        result.report.relative_error = whole > 0 ? miss / whole : 0.0;
        result.report.energy = whole;
        for (float const d : weight) {
            result.report.dead_columns += d > 0.0F ? 0 : 1;
        }
    }
    return result;
}

}  // namespace fpq
