// SPDX-License-Identifier: Apache-2.0
// Floor 4. GPTQ under tr(H_O dW H_I dW^T): H_I of the inputs, H_O = sum over tokens of g g^T with g
// the gradient of the model's loss at the linear's output. It is GPTQ on vec(W) with the Hessian
// H_O x H_I, rows outer and columns inner (tested), without that matrix. Sketch A of YAQA
// (arXiv 2505.22988) with the rounding of GPTQ; where H_O does not fit, GPTQ under token-weighted
// H_I alone, as GuidedQuant (arXiv 2505.07004).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "fpq/core/hosted/parallel.hpp"
#include "fpq/core/view.hpp"
#include "fpq/linalg/hessian.hpp"
#include "fpq/linalg/kronecker_form.hpp"
#include "fpq/quant/quantize.hpp"
#include "fpq/solve/coupled_sweep.hpp"
#include "fpq/solve/gptq.hpp"
#include "fpq/solve/gptq_factor.hpp"
#include "fpq/solve/options.hpp"
#include "fpq/solve/rtn.hpp"

namespace fpq {

/// Bytes that the output side takes beside H_O itself while a layer of m outputs and n inputs is
/// solved: the factor (and doubles to make it, up to 4096 rows), the errors of all rows; then the
/// coupling, errors and slopes of a descent, which come after the factor is gone.
constexpr std::size_t two_sided_bytes(std::size_t m, std::size_t n) noexcept {
    std::size_t const factor = m * m * (m <= 4096 ? 12 : 4) + m * n * 4;
    std::size_t const descent = m * m * 4 + m * n * 12;
    return std::max(factor, descent);
}

/// The factor of H_O, rows in storage order, damped by rel_damp of its mean diagonal. Throws as
/// basic_gptq_factor::make does, by `name`.
inline gptq_factor row_factor(hessian const& h_o, double rel_damp, int threads,
                              std::string_view name) {
    return gptq_factor::make(h_o.view(), quant_order::natural, rel_damp, threads, name);
}

namespace detail {

/// The codes of all rows; returns the damped objective, dead rows and columns with the 1 that the
/// factors have on their diagonals.
template <class Scalar>
double solve_coupled(sweep_input<Scalar> const& in, basic_gptq_factor<Scalar> const& rows,
                     int threads, packed_matrix& out) {
    coupled_rows_state<Scalar> shared(rows, in.factor->size());
    std::vector<double> loss(shared.chunks);
    visit_codec(in.format, [&](auto codec) {
        // Chunks are handed out in order, so those that one waits for have been begun.
        parallel_for(shared.chunks, 1, threads, [&](std::size_t begin, std::size_t end) {
            for (std::size_t c = begin; c < end; ++c) {
                try {
                    sweep_state<Scalar> state;
                    coupled_chunk(codec, in, c, state, shared);
                    loss[c] = state.loss;
                    pack_codes(state.codes.data(), state.row0, state.rows, out);
                } catch (...) {
                    // Nobody may wait for a chunk that is not begun any more.
                    for (std::size_t other = 0; other < shared.chunks; ++other) {
                        shared.publish(other, in.factor->size());
                    }
                    throw;
                }
            }
        });
    });
    double total = 0;
    for (double const one : loss) {
        total += one;
    }
    return total;
}

}  // namespace detail

/// The report's relative error and energy under the two-sided objective, not damped, of the codes
/// as they are. Cost: 4 m n (m + n) operations.
inline void two_sided_report(matrix_view<float const> w, hessian const& h_i, hessian const& h_o,
                             int threads, solve_result& solved) {
    double const whole = kronecker_form(w, h_o.view(), h_i.view(), threads);
    auto const error = detail::weight_error(w, solved.weight, threads);
    double const miss =
        kronecker_form(as_view(error.data(), w.rows, w.cols), h_o.view(), h_i.view(), threads);
    solved.report.energy = whole;
    solved.report.relative_error = whole > 0 ? std::max(0.0, miss) / whole : 0.0;
    solved.report.objective = solve_objective::two_sided;
}

/// w (out, in) rounded under both second moments: h_i (in, in), token-weighted or not, by
/// `columns`, h_o (out, out) by `rows` (row_factor). Scales as gptq. With a diagonal h_o: the bytes
/// of gptq. The same bytes at any thread count. The report is of the two-sided objective. Throws
/// fpq::error: usage when shapes disagree, threads are not stated or `rows` are not in storage
/// order; input for a non-finite weight (by `name`). Cost, a multiplication and an addition counted
/// as two: m n^2 + m^2 n and the report's 4 m n (m + n). Memory: two_sided_bytes.
template <class Scalar>
[[nodiscard]] solve_result gptq_two_sided(matrix_view<float const> w, hessian const& h_i,
                                          basic_gptq_factor<Scalar> const& columns,
                                          hessian const& h_o, basic_gptq_factor<Scalar> const& rows,
                                          quant_format const& format, solve_options const& options,
                                          std::string_view name) {
    detail::require_shape(h_i.size() == w.cols && h_o.size() == w.rows && rows.size() == w.rows,
                          "gptq_two_sided",
                          "second moments of " + std::to_string(w.cols) + " and " +
                              std::to_string(w.rows) + ", factored",
                          std::to_string(h_i.size()) + " and " + std::to_string(h_o.size()) +
                              ", factor of " + std::to_string(rows.size()));
    if (!std::is_sorted(rows.order().begin(), rows.order().end())) {
        fail_usage("gptq_two_sided", name, "a row factor in storage order", "another order");
    }
    detail::gptq_start<Scalar> start(w, columns, format, options, name);
    detail::solve_coupled(start.input(options), rows, options.threads, start.result.weight);
    solve_result result = start.finish();
    result.report.row_damping = rows.damping();
    two_sided_report(w, h_i, h_o, options.threads, result);
    return result;
}

/// The same with factors of its own, or gptq under h_i where two_sided_bytes is more than `budget`
/// bytes: the report's objective says which (`guided`).
[[nodiscard]] inline solve_result gptq_two_sided(matrix_view<float const> w, hessian const& h_i,
                                                 hessian const& h_o, double rel_damp_out,
                                                 std::size_t budget, quant_format const& format,
                                                 solve_options const& options,
                                                 std::string_view name) {
    detail::require_shape(
        h_i.size() == w.cols && h_o.size() == w.rows, "gptq_two_sided",
        "second moments of " + std::to_string(w.cols) + " and " + std::to_string(w.rows),
        std::to_string(h_i.size()) + " and " + std::to_string(h_o.size()));
    gptq_factor const columns = factor(h_i, options, name);
    if (two_sided_bytes(w.rows, w.cols) > budget) {
        solve_result result = gptq(w, h_i, columns, format, options, name);
        result.report.objective = solve_objective::guided;
        return result;
    }
    gptq_factor const rows = row_factor(h_o, rel_damp_out, options.threads, name);
    return gptq_two_sided(w, h_i, columns, h_o, rows, format, options, name);
}

}  // namespace fpq
