// SPDX-License-Identifier: Apache-2.0
// Floor 4. Coordinate descent on a whole layer: independent rows chunk by chunk on all threads, or
// coupled rows one chunk after the other, each against the newest state of all others.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "fpq/core/hosted/parallel.hpp"
#include "fpq/core/view.hpp"
#include "fpq/linalg/hessian.hpp"
#include "fpq/linalg/matmul.hpp"
#include "fpq/quant/packed_matrix.hpp"
#include "fpq/solve/codec.hpp"
#include "fpq/solve/dead_columns.hpp"
#include "fpq/solve/descent.hpp"
#include "fpq/solve/options.hpp"
#include "fpq/solve/row_coupling.hpp"

namespace fpq {

/// What a descent works towards: the output error tr(E H_I E^T), or with `coupling` the two-sided
/// objective tr(H_O E H_I E^T). Both damped: H_I by solved.report.damping, H_O as the coupling is.
struct descent_goal {
    hessian const& input;                    // H_I
    row_coupling const* coupling = nullptr;  // of H_O; null: rows are independent
    bool zero_dead = true;                   // dead columns count as 0 in w, as GPTQ has them
};

namespace detail {

/// What a descent leaves.
struct descent_sums {
    double damped = 0;   // tr(E (H + damping I) E^T), weighted by rows where they are coupled
    double squared = 0;  // tr(E E^T)
};

/// Independent rows: a chunk is one thread's work from first pass to last.
template <class Codec, class Visit>
descent_sums descend_rows(Codec codec, Visit const& visit, descent_input const& in, int passes,
                          int threads, packed_matrix& q) {
    std::size_t const rows = in.w.rows;
    std::vector<descent_sums> sums((rows + descent_rows - 1) / descent_rows);
    parallel_for(sums.size(), 1, threads, [&](std::size_t begin, std::size_t end) {
        for (std::size_t t = begin; t < end; ++t) {
            std::size_t const row0 = t * descent_rows;
            std::size_t const count = std::min(descent_rows, rows - row0);
            descent_state s = unpack_chunk(codec, in, q, row0, count);
            sums[t].damped = descend_chunk(visit, in, passes, s);
            for (float const e : s.errors) {
                sums[t].squared += static_cast<double>(e) * static_cast<double>(e);
            }
            pack_chunk(in, s, q);
        }
    });
    descent_sums total;
    for (descent_sums const& s : sums) {
        total.damped += s.damped;
        total.squared += s.squared;
    }
    return total;
}

/// Coupled rows. g (rows of the layer, n) is E (H_I + damping I), fresh where chunks change.
template <class Visit>
class coupled_descent {
public:
    coupled_descent(Visit const& visit, descent_input const& in, int threads,
                    std::vector<descent_state>& chunks)
        : visit_(visit),
          in_(in),
          threads_(threads),
          chunks_(chunks),
          g_(in.w.rows * in.h.rows),
          stopped_(chunks.size(), 0) {
        for (descent_state& s : chunks_) {
            errors_times_h(in_, s, g_of(s), threads_);
        }
    }

    /// One pass over all rows; returns whether anything changed.
    bool pass() {
        bool any = false;
        for (std::size_t c = 0; c < chunks_.size(); ++c) {
            any = (stopped_[c] == 0 && descend(c)) || any;
        }
        return any;
    }

private:
    [[nodiscard]] float* g_of(descent_state const& s) noexcept {
        return g_.data() + s.row0 * in_.h.rows;
    }

    /// One pass over chunk c. One that made the objective worse, by float rounding, is taken back
    /// and the chunk left alone.
    bool descend(std::size_t c) {
        descent_state& s = chunks_[c];
        std::size_t const n = in_.h.rows;
        std::size_t const m = in_.w.rows;
        auto const coupling = in_.coupling->view();
        s.slope.resize(s.rows * n);
        chunk_product(in_, s.rows, n, m, coupling.row(s.row0), coupling.stride, g_.data(), n,
                      s.slope.data(), n, false, threads_);
        auto const old_codes = s.codes;
        auto const old_scales = s.scales;
        auto const old_errors = s.errors;
        auto const old_slope = s.slope;
        std::vector<std::uint8_t> const frozen(s.rows, 0);
        if (!descent_pass(visit_, in_, s, frozen, threads_)) {
            return false;
        }
        std::vector<float> fresh(s.rows * n);
        errors_times_h(in_, s, fresh.data(), threads_);
        std::vector<float> moved(fresh);  // the change of g
        for (std::size_t i = 0; i < moved.size(); ++i) {
            moved[i] -= g_of(s)[i];
        }
        // The change of the objective is the change of E times the old slope plus the new one.
        chunk_product(in_, s.rows, n, s.rows, coupling.row(s.row0) + s.row0, coupling.stride,
                      moved.data(), n, s.slope.data(), n, false, threads_);
        double rise = 0;
        for (std::size_t r = 0; r < s.rows; ++r) {
            double sum = 0;
            for (std::size_t i = r * n; i < (r + 1) * n; ++i) {
                sum += (static_cast<double>(s.errors[i]) - static_cast<double>(old_errors[i])) *
                       (2 * static_cast<double>(old_slope[i]) + static_cast<double>(s.slope[i]));
            }
            rise += in_.coupling->weight(s.row0 + r) * sum;
        }
        if (rise > 0) {
            s.codes = old_codes;
            s.scales = old_scales;
            s.errors = old_errors;
            stopped_[c] = 1;
            return false;
        }
        std::copy(fresh.begin(), fresh.end(), g_of(s));
        return true;
    }

    Visit const& visit_;
    descent_input const& in_;
    int threads_;
    std::vector<descent_state>& chunks_;
    std::vector<float> g_;
    std::vector<std::uint8_t> stopped_;
};

template <class Codec, class Visit>
void descend_coupled(Codec codec, Visit const& visit, descent_input const& in, int passes,
                     int threads, packed_matrix& q) {
    std::vector<descent_state> chunks;
    for (std::size_t row0 = 0; row0 < in.w.rows; row0 += descent_rows) {
        chunks.push_back(
            unpack_chunk(codec, in, q, row0, std::min(descent_rows, in.w.rows - row0)));
    }
    coupled_descent<Visit> work(visit, in, threads, chunks);
    for (int pass = 0; pass < passes && work.pass(); ++pass) {
    }
    for (descent_state const& s : chunks) {
        pack_chunk(in, s, q);
    }
}

/// The body of polish and joint: visit_of(codec) makes what visits a row's block. The report's
/// relative error is updated for independent rows; for coupled ones two_sided_report
/// (two_sided.hpp) makes it.
template <class VisitOf>
void descend(matrix_view<float const> w, descent_goal const& goal, char const* what,
             std::size_t block, int passes, int threads, solve_result& solved,
             VisitOf const& visit_of) {
    packed_matrix& q = solved.weight;
    require_shape(goal.input.size() == w.cols && q.rows == w.rows && q.cols == w.cols, what,
                  "a Hessian of " + std::to_string(w.cols) + " and codes of w",
                  std::to_string(goal.input.size()));
    require_shape(goal.coupling == nullptr || goal.coupling->size() == w.rows, what,
                  "a coupling of " + std::to_string(w.rows) + " rows",
                  std::to_string(goal.coupling == nullptr ? 0 : goal.coupling->size()));
    if (passes <= 0 || w.size() == 0) {
        return;
    }
    std::vector<float> storage;
    auto const live = goal.zero_dead ? without_dead_columns(w, goal.input.diagonal(),
                                                            solved.report.dead_columns, storage)
                                     : w;
    descent_input const in{
        live,         goal.input.view(), static_cast<float>(solved.report.damping),
        q.format,     q.global_scale,    block,
        goal.coupling};
    visit_codec(q.format, [&](auto codec) {
        auto const visit = visit_of(codec);
        if (goal.coupling != nullptr) {
            descend_coupled(codec, visit, in, passes, threads, q);
            return;
        }
        descent_sums const total = descend_rows(codec, visit, in, passes, threads, q);
        double const miss = std::max(0.0, total.damped - solved.report.damping * total.squared);
        solved.report.relative_error = solved.report.energy > 0 ? miss / solved.report.energy : 0.0;
    });
}

}  // namespace detail

}  // namespace fpq
