// SPDX-License-Identifier: Apache-2.0
// Floor 4. Coordinate descent on the codes of a chunk of rows, scales fixed: re-rounds each code
// given all the others. Run after GPTQ it removes what the one-way sweep could not see. The damped
// objective of a row never increases: a row that a pass made worse (by float rounding) is put back.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "fpq/core/view.hpp"
#include "fpq/format/block.hpp"
#include "fpq/linalg/matmul.hpp"
#include "fpq/quant/observer.hpp"
#include "fpq/solve/codec.hpp"

namespace fpq::detail {

struct polish_input {
    matrix_view<float const> w;  // (rows of the layer, n), dead columns already zeroed
    matrix_view<float const> h;  // (n, n) symmetric, not damped
    float damping;
    quant_format format;
    scale_grid const* grid;
    int passes;
};

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

}  // namespace fpq::detail
