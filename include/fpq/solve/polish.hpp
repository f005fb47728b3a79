// SPDX-License-Identifier: Apache-2.0
// Floor 4. Coordinate descent on the codes of a chunk of rows, scales fixed: re-rounds each code
// given all the others. Run after GPTQ it removes what the one-way sweep could not see; run after
// RTN it is a solver of its own. The damped
// objective of a row never increases: a row that a pass made worse (by float rounding) is put back.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "fpq/core/hosted/parallel.hpp"
#include "fpq/core/view.hpp"
#include "fpq/format/block.hpp"
#include "fpq/format/pack.hpp"
#include "fpq/format/packed.hpp"
#include "fpq/linalg/hessian.hpp"
#include "fpq/linalg/matmul.hpp"
#include "fpq/quant/observer.hpp"
#include "fpq/quant/packed_matrix.hpp"
#include "fpq/solve/codec.hpp"
#include "fpq/solve/dead_columns.hpp"
#include "fpq/solve/options.hpp"

namespace fpq {

namespace detail {

struct polish_input {
    matrix_view<float const> w;  // (rows of the layer, n), dead columns already zeroed
    matrix_view<float const> h;  // (n, n) symmetric, not damped
    float damping;
    quant_format format;
    scale_grid const* grid;
    int passes;
};

/// Rows that one thread polishes at a time.
inline constexpr std::size_t polish_rows = 256;

/// A chunk of rows in original column order.
struct polish_state {
    std::size_t row0 = 0;
    std::size_t rows = 0;
    std::vector<std::uint8_t>* codes = nullptr;  // (rows, n)
    std::vector<float> errors;                   // (rows, n): w - q
    std::vector<float> slope;                    // (rows, n): errors (H + damping I)
};

inline constexpr std::size_t polish_block = 64;

/// slope = errors (H + damping I); objective[r] = errors . slope, summed in double.
inline void polish_slope(polish_input const& in, polish_state& s, std::vector<double>& objective) {
    std::size_t const n = in.h.rows;
    s.slope.resize(s.rows * n);
    product(product_shape::nn, s.rows, n, n, 1.0F, static_cast<float const*>(s.errors.data()), n,
            in.h.data, in.h.stride, s.slope.data(), n, false);
    objective.assign(s.rows, 0.0);
    for (std::size_t r = 0; r < s.rows; ++r) {
        double sum = 0;
        for (std::size_t i = r * n; i < (r + 1) * n; ++i) {
            s.slope[i] += in.damping * s.errors[i];
            sum += static_cast<double>(s.slope[i]) * static_cast<double>(s.errors[i]);
        }
        objective[r] = sum;
    }
}

/// Re-rounds columns [c0, c0 + width) of row r; writes the changes of the errors to `change`.
template <class Codec>
bool polish_row_block(Codec, polish_input const& in, polish_state& s, std::size_t r, std::size_t c0,
                      std::size_t width, float* change) {
    std::size_t const n = in.h.rows;
    std::size_t const group = in.format.group_of(n);
    std::size_t const groups = in.format.groups(n);
    float* const slope = s.slope.data() + r * n + c0;
    float* const error = s.errors.data() + r * n + c0;
    std::uint8_t* const codes = s.codes->data() + r * n + c0;
    bool changed = false;
    for (std::size_t k = 0; k < width; ++k) {
        change[k] = 0;
        float const curvature = in.h(c0 + k, c0 + k) + in.damping;
        if (!(curvature > 0.0F)) {
            continue;
        }
        std::size_t const g = (s.row0 + r) * groups + (c0 + k) / group;
        float const step = in.grid->value[g];
        std::uint8_t const zero = zero_at(*in.grid, g);
        float const w = in.w(s.row0 + r, c0 + k);
        // The best value with all others fixed is w - (error - slope / curvature).
        float const target = (w - error[k]) + slope[k] / curvature;
        std::uint8_t const code = Codec::encode(target, step, zero);
        if (code == codes[k]) {
            continue;
        }
        float const delta = (w - Codec::decode(code, step, zero)) - error[k];
        // A gain that rounding could have made up is no gain.
        if (!(delta * (2.0F * slope[k] + delta * curvature) < -1e-5F * delta * delta * curvature)) {
            continue;
        }
        codes[k] = code;
        error[k] += delta;
        change[k] = delta;
        changed = true;
        float const* const row = in.h.row(c0 + k) + c0;
        for (std::size_t j = 0; j < width; ++j) {
            slope[j] += delta * row[j];
        }
        slope[k] += delta * in.damping;
    }
    return changed;
}

/// One pass over all columns; rows with `frozen` set keep their codes. Returns whether any changed.
template <class Codec>
bool polish_pass(Codec codec, polish_input const& in, polish_state& s,
                 std::vector<std::uint8_t> const& frozen) {
    std::size_t const n = in.h.rows;
    std::vector<float> change(s.rows * polish_block);
    bool any = false;
    for (std::size_t c0 = 0; c0 < n; c0 += polish_block) {
        std::size_t const width = std::min(polish_block, n - c0);
        bool changed = false;
        for (std::size_t r = 0; r < s.rows; ++r) {
            float* const row = change.data() + r * polish_block;
            if (frozen[r] != 0) {
                std::fill_n(row, polish_block, 0.0F);
            } else {
                changed |= polish_row_block(codec, in, s, r, c0, width, row);
            }
        }
        std::size_t const next = c0 + width;
        if (changed && next < n) {
            product(product_shape::nn, s.rows, n - next, width, 1.0F,
                    static_cast<float const*>(change.data()), polish_block, in.h.row(c0) + next,
                    in.h.stride, s.slope.data() + next, n, true);
        }
        any |= changed;
    }
    return any;
}

/// Up to in.passes passes; returns the chunk's damped objective, sum of errors (H + damping I)
/// errors^T. Cost of a pass: 3 rows n^2 operations.
template <class Codec>
double polish_chunk(Codec codec, polish_input const& in, polish_state& s) {
    std::size_t const n = in.h.rows;
    std::vector<double> best;
    std::vector<double> now;
    std::vector<std::uint8_t> frozen(s.rows, 0);
    polish_slope(in, s, best);
    for (int pass = 0; pass < in.passes; ++pass) {
        auto const old_codes = *s.codes;
        auto const old_errors = s.errors;
        if (!polish_pass(codec, in, s, frozen)) {
            break;
        }
        polish_slope(in, s, now);
        for (std::size_t r = 0; r < s.rows; ++r) {
            if (now[r] <= best[r]) {
                best[r] = now[r];
                continue;
            }
            std::copy_n(old_codes.data() + r * n, n, s.codes->data() + r * n);
            std::copy_n(old_errors.data() + r * n, n, s.errors.data() + r * n);
            frozen[r] = 1;
        }
    }
    double sum = 0;
    for (double const b : best) {
        sum += b;
    }
    return sum;
}

/// The scales of a quantized matrix as the codecs read them.
inline scale_grid grid_of(packed_matrix const& q) {
    packed_view const view = q.view();
    scale_grid grid;
    grid.rows = q.rows;
    grid.groups = q.format.groups(q.cols);
    grid.bytes = q.scales;
    grid.zeros = q.zeros;
    grid.value.resize(q.rows * grid.groups);
    for (std::size_t r = 0; r < q.rows; ++r) {
        for (std::size_t g = 0; g < grid.groups; ++g) {
            grid.value[r * grid.groups + g] = view.step(r, g);
        }
    }
    return grid;
}

/// What a chunk of polished rows leaves.
struct polish_sums {
    double damped = 0;   // tr(E (H + damping I) E^T)
    double squared = 0;  // tr(E E^T)
};

/// Polishes rows [row0, row0 + count) of q in place.
template <class Codec>
polish_sums polish_packed_rows(Codec codec, polish_input const& in, std::size_t row0,
                               std::size_t count, packed_matrix& q) {
    std::size_t const n = in.h.rows;
    std::size_t const group = in.format.group_of(n);
    std::size_t const row_bytes = in.format.row_bytes(n);
    int const bits = element_bits(in.format.element);
    std::vector<std::uint8_t> codes(count * n);
    polish_state state{row0, count, &codes, std::vector<float>(count * n), {}};
    for (std::size_t r = 0; r < count; ++r) {
        std::uint8_t const* const packed = q.codes.data() + (row0 + r) * row_bytes;
        for (std::size_t j = 0; j < n; ++j) {
            std::size_t const g = (row0 + r) * in.grid->groups + j / group;
            std::uint8_t const code = packed_code(bits, packed, j);
            codes[r * n + j] = code;
            state.errors[r * n + j] =
                in.w(row0 + r, j) - Codec::decode(code, in.grid->value[g], zero_at(*in.grid, g));
        }
    }
    polish_sums sums;
    sums.damped = polish_chunk(codec, in, state);
    for (float const e : state.errors) {
        sums.squared += static_cast<double>(e) * static_cast<double>(e);
    }
    for (std::size_t r = 0; r < count; ++r) {
        pack_row(bits, codes.data() + r * n, n, q.codes.data() + (row0 + r) * row_bytes);
    }
    return sums;
}

}  // namespace detail

/// Improves `solved`, the codes of w (out, in) by any method, by up to `passes` passes of
/// coordinate descent on the output error under h with solved.report.damping; its relative error is
/// updated. Dead columns count as 0 in w when `zero_dead` is set, as GPTQ has them. The same bytes
/// at any thread count. Throws fpq::error (usage) when shapes disagree. Cost: 3 m n^2 operations a
/// pass.
inline void polish(matrix_view<float const> w, hessian const& h, int passes, bool zero_dead,
                   int threads, solve_result& solved) {
    packed_matrix& q = solved.weight;
    detail::require_shape(h.size() == w.cols && q.rows == w.rows && q.cols == w.cols, "polish",
                          "a Hessian of " + std::to_string(w.cols) + " and codes of w",
                          std::to_string(h.size()));
    if (passes <= 0 || w.size() == 0) {
        return;
    }
    std::vector<float> storage;
    auto const live = zero_dead ? detail::without_dead_columns(w, h.diagonal(),
                                                               solved.report.dead_columns, storage)
                                : w;
    scale_grid const grid = detail::grid_of(q);
    detail::polish_input const in{live,     h.view(), static_cast<float>(solved.report.damping),
                                  q.format, &grid,    passes};
    std::vector<detail::polish_sums> sums((w.rows + detail::polish_rows - 1) / detail::polish_rows);
    detail::visit_codec(q.format, [&](auto codec) {
        parallel_for(sums.size(), 1, threads, [&](std::size_t begin, std::size_t end) {
            for (std::size_t t = begin; t < end; ++t) {
                std::size_t const row0 = t * detail::polish_rows;
                std::size_t const count = std::min(detail::polish_rows, w.rows - row0);
                sums[t] = detail::polish_packed_rows(codec, in, row0, count, q);
            }
        });
    });
    detail::polish_sums total;
    for (detail::polish_sums const& s : sums) {
        total.damped += s.damped;
        total.squared += s.squared;
    }
    double const miss = std::max(0.0, total.damped - solved.report.damping * total.squared);
    solved.report.relative_error = solved.report.energy > 0 ? miss / solved.report.energy : 0.0;
}

}  // namespace fpq
