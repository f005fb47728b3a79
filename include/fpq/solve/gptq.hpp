// SPDX-License-Identifier: Apache-2.0
// Floor 4. GPTQ with static groups: scales first, on the original weights in their original groups;
// then the columns are rounded one by one, each error fed forward to the columns still to come
// (Frantar et al., arXiv 2210.17323; static activation order and the FP4 formats as in MR-GPTQ,
// arXiv 2509.23202). Never falls back to rounding to nearest.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fpq/core/hosted/parallel.hpp"
#include "fpq/core/view.hpp"
#include "fpq/format/pack.hpp"
#include "fpq/linalg/hessian.hpp"
#include "fpq/linalg/quadratic_form.hpp"
#include "fpq/quant/observer.hpp"
#include "fpq/quant/packed_matrix.hpp"
#include "fpq/solve/dead_columns.hpp"
#include "fpq/solve/gptq_factor.hpp"
#include "fpq/solve/options.hpp"
#include "fpq/solve/rtn.hpp"
#include "fpq/solve/sweep.hpp"

namespace fpq {

namespace detail {

/// The sweep's column weights in original order: diag(H) or the innovation variances.
template <class Scalar>
std::vector<float> scale_weights(basic_gptq_factor<Scalar> const& factor, bool innovation) {
    std::vector<float> out = factor.diagonal();
    if (innovation) {
        for (std::size_t k = 0; k < out.size(); ++k) {
            out[factor.order()[k]] = static_cast<float>(factor.innovation()[k]);
        }
    }
    return out;
}

/// What one chunk adds to the report.
struct chunk_sums {
    double damped = 0;   // tr(E (H + damping I) E^T)
    double squared = 0;  // tr(E E^T)
};

/// Unpacked codes (count, cols) into rows [row0, row0 + count) of `out`.
inline void pack_codes(std::uint8_t const* codes, std::size_t row0, std::size_t count,
                       packed_matrix& out) {
    std::size_t const row_bytes = out.format.row_bytes(out.cols);
    int const bits = element_bits(out.format.element);
    for (std::size_t r = 0; r < count; ++r) {
        pack_row(bits, codes + r * out.cols, out.cols, out.codes.data() + (row0 + r) * row_bytes);
    }
}

/// Sweeps rows [row0, row0 + count); packs their codes into `out`.
template <class Codec, class Scalar>
chunk_sums solve_chunk(Codec codec, sweep_input<Scalar> const& in, std::size_t row0,
                       std::size_t count, packed_matrix& out) {
    std::size_t const n = in.factor->size();
    sweep_state<Scalar> state;
    sweep_chunk(codec, in, row0, count, state);
    chunk_sums sums{state.loss, state.squared};
    for (std::size_t k = 0; k < n && in.factor->dead_columns() > 0; ++k) {
        for (std::size_t r = 0; r < count && in.factor->dead(in.factor->order()[k]); ++r) {
            double const e = static_cast<double>(state.errors[k * sweep_rows + r]);
            sums.damped -= e * e;  // the 1 that a dead column has on its diagonal
        }
    }
    pack_codes(state.codes.data(), row0, count, out);
    return sums;
}

/// All chunks; returns their sums in chunk order.
template <class Scalar>
chunk_sums solve_rows(sweep_input<Scalar> const& in, int threads, packed_matrix& out) {
    std::size_t const rows = in.w.rows;
    std::vector<chunk_sums> sums((rows + sweep_rows - 1) / sweep_rows);
    visit_codec(in.format, [&](auto codec) {
        parallel_for(sums.size(), 1, threads, [&](std::size_t begin, std::size_t end) {
            for (std::size_t t = begin; t < end; ++t) {
                std::size_t const row0 = t * sweep_rows;
                sums[t] = solve_chunk(codec, in, row0, std::min(sweep_rows, rows - row0), out);
            }
        });
    });
    chunk_sums total;
    for (chunk_sums const& s : sums) {
        total.damped += s.damped;
        total.squared += s.squared;
    }
    return total;
}

/// What every form of GPTQ begins with: the scales, found on the original weights, and room for the
/// codes.
template <class Scalar>
class gptq_start {
public:
    gptq_start(matrix_view<float const> w, basic_gptq_factor<Scalar> const& factor,
               quant_format const& format, solve_options const& options, std::string_view name)
        : factor_(factor) {
        require_threads(options, name);
        require_shape(factor.size() == w.cols, "gptq", "a factor of " + std::to_string(w.cols),
                      std::to_string(factor.size()));
        require_finite_weight(w, name);
        live_ = options.zero_dead_columns
                    ? without_dead_columns(w, factor.diagonal(), factor.dead_columns(), storage_)
                    : w;
        auto const weight = scale_weights(factor, options.weight_by_innovation);
        observer_options const observer = weighted_observer(options, weight);
        grid_ = find_scales(live_, format, observer, options.threads);
        resize_packed(result.weight, format, w.rows, w.cols, observer.global_scale);
    }
    gptq_start(gptq_start const&) = delete;
    gptq_start& operator=(gptq_start const&) = delete;

    /// Valid while this object lives.
    [[nodiscard]] sweep_input<Scalar> input(solve_options const& options) const noexcept {
        return {live_, result.weight.format, &grid_, &factor_, options.block};
    }
    /// The codes with their scales, and what the report knows of the factor.
    [[nodiscard]] solve_result finish() {
        result.weight.scales = std::move(grid_.bytes);
        result.weight.zeros = std::move(grid_.zeros);
        result.report.damping_retries = factor_.retries();
        result.report.damping = factor_.damping();
        result.report.dead_columns = factor_.dead_columns();
        return std::move(result);
    }

    solve_result result;

private:
    basic_gptq_factor<Scalar> const& factor_;
    std::vector<float> storage_;
    matrix_view<float const> live_;
    scale_grid grid_;
};

}  // namespace detail

/// GPTQ with a factor made before (shared by layers with the same input). w (out, in), h the
/// Hessian that the factor came from (for the report).
/// Scales: options.observer on w; sweep weighted as options say. Codes: floor 1's rounding of the
/// fed-forward targets, float32. The same bytes at any thread count.
/// relative_error comes from the sweep's own losses, less the damping (exact up to float32
/// rounding of the targets), over tr(W H W^T).
/// Throws fpq::error: usage when shapes disagree or options.threads is not stated, input for a
/// non-finite weight (by `name`).
/// Cost: 2 m n^2 operations, half of them for the report's denominator.
template <class Scalar>
[[nodiscard]] solve_result gptq(matrix_view<float const> w, hessian const& h,
                                basic_gptq_factor<Scalar> const& factor, quant_format const& format,
                                solve_options const& options, std::string_view name) {
    detail::require_shape(h.size() == w.cols, "gptq", "a Hessian of " + std::to_string(w.cols),
                          std::to_string(h.size()));
    detail::gptq_start<Scalar> start(w, factor, format, options, name);
    auto const sums =
        detail::solve_rows(start.input(options), options.threads, start.result.weight);
    solve_result result = start.finish();

    double const whole = w.rows > 0 ? quadratic_form(w, h.view(), options.threads) : 0.0;
    double const miss = std::max(0.0, sums.damped - factor.damping() * sums.squared);
    result.report.relative_error = whole > 0 ? miss / whole : 0.0;
    result.report.energy = whole;
    return result;
}

/// GPTQ with a factor of its own.
[[nodiscard]] inline solve_result gptq(matrix_view<float const> w, hessian const& h,
                                       quant_format const& format, solve_options const& options,
                                       std::string_view name) {
    detail::require_shape(h.size() == w.cols, "gptq", "a Hessian of " + std::to_string(w.cols),
                          std::to_string(h.size()));
    gptq_factor const own = factor(h, options, name);
    return gptq(w, h, own, format, options, name);
}

}  // namespace fpq
