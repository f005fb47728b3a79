// SPDX-License-Identifier: Apache-2.0
// Floor 4. Coordinate descent on a chunk of rows: the cached slope of the objective, the walk over
// blocks of columns, and the guard that nothing gets worse. What one visit of a row's block does is
// the caller's: polish.hpp re-rounds codes, joint.hpp scales and codes. Rows may be coupled
// (row_coupling.hpp); then a chunk is descended row by row with the newest others.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "fpq/core/view.hpp"
#include "fpq/format/block.hpp"
#include "fpq/format/pack.hpp"
#include "fpq/format/packed.hpp"
#include "fpq/format/stored_scale.hpp"
#include "fpq/linalg/matmul.hpp"
#include "fpq/quant/packed_matrix.hpp"
#include "fpq/solve/row_coupling.hpp"

namespace fpq::detail {

/// Rows of a chunk; columns whose changes reach the columns to come in one product; coupled rows
/// whose changes reach the rows to come in one product.
inline constexpr std::size_t descent_rows = 256;
inline constexpr std::size_t descent_block = 64;
inline constexpr std::size_t descent_row_block = 32;

struct descent_input {
    matrix_view<float const> w;  // (rows of the layer, n), dead columns already zeroed
    matrix_view<float const> h;  // (n, n) symmetric, not damped
    float damping;
    quant_format format;
    float global_scale;
    std::size_t block;             // columns of a block: whole groups where scales change
    row_coupling const* coupling;  // null: rows are independent
};

/// A chunk of rows in original column order.
struct descent_state {
    std::size_t row0 = 0;
    std::size_t rows = 0;
    std::vector<std::uint8_t> codes;  // (rows, n)
    std::vector<group_scale> scales;  // (rows, groups)
    std::vector<float> errors;        // (rows, n): w - q
    std::vector<float> slope;         // (rows, n): half the derivative of a row's objective
};

/// The chunk [row0, row0 + count) of q.
template <class Codec>
descent_state unpack_chunk(Codec, descent_input const& in, packed_matrix const& q, std::size_t row0,
                           std::size_t count) {
    std::size_t const n = in.h.rows;
    std::size_t const group = in.format.group_of(n);
    std::size_t const groups = in.format.groups(n);
    std::size_t const each = in.format.scale_bytes_each();
    int const bits = element_bits(in.format.element);
    packed_view const view = q.view();
    descent_state s{row0,
                    count,
                    std::vector<std::uint8_t>(count * n),
                    std::vector<group_scale>(count * groups),
                    std::vector<float>(count * n),
                    {}};
    for (std::size_t r = 0; r < count; ++r) {
        for (std::size_t g = 0; g < groups; ++g) {
            std::size_t const at = view.scale_index(row0 + r, g);
            std::uint8_t const* const bytes = view.scales + at * each;
            auto const stored =
                static_cast<std::uint16_t>(each == 1 ? bytes[0] : bytes[0] | (bytes[1] << 8));
            s.scales[r * groups + g] = decode_group_scale(
                in.format.scale, stored, view.zeros == nullptr ? std::uint8_t{0} : view.zeros[at],
                in.global_scale);
        }
        std::uint8_t const* const packed = q.codes.data() + (row0 + r) * in.format.row_bytes(n);
        for (std::size_t j = 0; j < n; ++j) {
            group_scale const& scale = s.scales[r * groups + j / group];
            std::uint8_t const code = packed_code(bits, packed, j);
            s.codes[r * n + j] = code;
            s.errors[r * n + j] = in.w(row0 + r, j) - Codec::decode(code, scale.value, scale.zero);
        }
    }
    return s;
}

/// The chunk's codes into q, and its scales unless the whole tensor shares one.
inline void pack_chunk(descent_input const& in, descent_state const& s, packed_matrix& q) {
    std::size_t const n = in.h.rows;
    std::size_t const groups = in.format.groups(n);
    std::size_t const each = in.format.scale_bytes_each();
    int const bits = element_bits(in.format.element);
    for (std::size_t r = 0; r < s.rows; ++r) {
        pack_row(bits, s.codes.data() + r * n, n,
                 q.codes.data() + (s.row0 + r) * in.format.row_bytes(n));
        for (std::size_t g = 0; g < groups && in.format.grain != granularity::tensor; ++g) {
            group_scale const& scale = s.scales[r * groups + g];
            std::size_t const at = (s.row0 + r) * groups + g;
            q.scales[at * each] = static_cast<std::uint8_t>(scale.stored & 0xFFU);
            if (each == 2) {
                q.scales[at * each + 1] = static_cast<std::uint8_t>(scale.stored >> 8);
            }
            if (!q.zeros.empty()) {
                q.zeros[at] = scale.zero;
            }
        }
    }
}

/// c (rows, n) = or += a (rows, depth) b (depth, n): in one piece on this thread, or in tiles of
/// columns on several. A chunk of coupled rows is all the work there is at a time.
inline void chunk_product(descent_input const& in, std::size_t rows, std::size_t n,
                          std::size_t depth, float const* a, std::size_t lda, float const* b,
                          std::size_t ldb, float* c, std::size_t ldc, bool add, int threads) {
    std::size_t const tile = in.coupling == nullptr ? n : tile_cols;
    parallel_for(n, tile, threads, [&](std::size_t begin, std::size_t end) {
        product(product_shape::nn, rows, end - begin, depth, 1.0F, a, lda, b + begin, ldb,
                c + begin, ldc, add);
    });
}

/// g (rows, n) = errors (H + damping I).
inline void errors_times_h(descent_input const& in, descent_state const& s, float* g, int threads) {
    std::size_t const n = in.h.rows;
    chunk_product(in, s.rows, n, n, s.errors.data(), n, in.h.data, in.h.stride, g, n, false,
                  threads);
    for (std::size_t i = 0; i < s.rows * n; ++i) {
        g[i] += in.damping * s.errors[i];
    }
}

/// Row r's change of columns [c0, c0 + width) reaches the slopes of the coupled rows below it that
/// are to come before `last`, in the same columns. `spread` (width): change (H + damping I) there.
inline void spread_change(descent_input const& in, descent_state& s, std::size_t r,
                          std::size_t last, std::size_t c0, std::size_t width, float const* change,
                          float* spread) {
    std::size_t const n = in.h.rows;
    std::fill_n(spread, width, 0.0F);
    for (std::size_t k = 0; k < width; ++k) {
        if (change[k] == 0.0F) {
            continue;
        }
        float const* const row = in.h.row(c0 + k) + c0;
        for (std::size_t j = 0; j < width; ++j) {
            spread[j] += change[k] * row[j];
        }
        spread[k] += change[k] * in.damping;
    }
    auto const coupling = in.coupling->view();
    for (std::size_t below = r + 1; below < last; ++below) {
        float const factor = coupling(s.row0 + below, s.row0 + r);
        float* const slope = s.slope.data() + below * n + c0;
        for (std::size_t j = 0; j < width; ++j) {
            slope[j] += factor * spread[j];
        }
    }
}

/// Visits columns [c0, c0 + width) of all rows; those with `frozen` set keep what they have.
/// change (rows, in.block) gets the changes of the errors. Returns whether there are any.
template <class Visit>
bool visit_block(Visit const& visit, descent_input const& in, descent_state& s,
                 std::vector<std::uint8_t> const& frozen, std::size_t c0, std::size_t width,
                 std::vector<float>& change) {
    std::size_t const n = in.h.rows;
    std::vector<float> spread(in.coupling == nullptr ? 0 : descent_row_block * in.block);
    bool changed = false;
    for (std::size_t first = 0; first < s.rows; first += descent_row_block) {
        std::size_t const last = std::min(s.rows, first + descent_row_block);
        std::fill(spread.begin(), spread.end(), 0.0F);
        bool here = false;
        for (std::size_t r = first; r < last; ++r) {
            float* const row = change.data() + r * in.block;
            std::fill_n(row, width, 0.0F);
            if (frozen[r] != 0 || !visit(in, s, r, c0, width, row)) {
                continue;
            }
            here = true;
            if (in.coupling != nullptr) {
                spread_change(in, s, r, last, c0, width, row,
                              spread.data() + (r - first) * in.block);
            }
        }
        changed = changed || here;
        if (here && in.coupling != nullptr && last < s.rows) {
            auto const coupling = in.coupling->view();
            product(product_shape::nn, s.rows - last, width, last - first, 1.0F,
                    coupling.row(s.row0 + last) + s.row0 + first, coupling.stride,
                    static_cast<float const*>(spread.data()), in.block,
                    s.slope.data() + last * n + c0, n, true);
        }
    }
    return changed;
}

/// One pass over all columns. Returns whether anything changed.
template <class Visit>
bool descent_pass(Visit const& visit, descent_input const& in, descent_state& s,
                  std::vector<std::uint8_t> const& frozen, int threads) {
    std::size_t const n = in.h.rows;
    std::vector<float> change(s.rows * in.block);
    std::vector<float> mixed(in.coupling == nullptr ? 0 : change.size());
    bool any = false;
    for (std::size_t c0 = 0; c0 < n; c0 += in.block) {
        std::size_t const width = std::min(in.block, n - c0);
        if (!visit_block(visit, in, s, frozen, c0, width, change)) {
            continue;
        }
        any = true;
        std::size_t const next = c0 + width;
        if (next >= n) {
            break;
        }
        float const* reach = change.data();
        if (in.coupling != nullptr) {  // what the chunk's rows changed, as each row sees it
            auto const coupling = in.coupling->view();
            product(product_shape::nn, s.rows, width, s.rows, 1.0F, coupling.row(s.row0) + s.row0,
                    coupling.stride, static_cast<float const*>(change.data()), in.block,
                    mixed.data(), in.block, false);
            reach = mixed.data();
        }
        chunk_product(in, s.rows, n - next, width, reach, in.block, in.h.row(c0) + next,
                      in.h.stride, s.slope.data() + next, n, true, threads);
    }
    return any;
}

/// Up to `passes` passes over a chunk of independent rows; returns its damped objective, the sum
/// of errors (H + damping I) errors^T. A row that a pass made worse, by float rounding, is put back
/// and left alone.
template <class Visit>
double descend_chunk(Visit const& visit, descent_input const& in, int passes, descent_state& s) {
    std::size_t const n = in.h.rows;
    std::size_t const groups = in.format.groups(n);
    std::vector<double> best(s.rows);
    std::vector<std::uint8_t> frozen(s.rows, 0);
    auto const objective = [&](std::size_t r) {
        double sum = 0;
        for (std::size_t i = r * n; i < (r + 1) * n; ++i) {
            sum += static_cast<double>(s.slope[i]) * static_cast<double>(s.errors[i]);
        }
        return sum;
    };
    s.slope.resize(s.rows * n);
    errors_times_h(in, s, s.slope.data(), 1);
    for (std::size_t r = 0; r < s.rows; ++r) {
        best[r] = objective(r);
    }
    for (int pass = 0; pass < passes; ++pass) {
        auto const old_codes = s.codes;
        auto const old_scales = s.scales;
        auto const old_errors = s.errors;
        if (!descent_pass(visit, in, s, frozen, 1)) {
            break;
        }
        errors_times_h(in, s, s.slope.data(), 1);
        for (std::size_t r = 0; r < s.rows; ++r) {
            double const now = objective(r);
            if (now <= best[r]) {
                best[r] = now;
                continue;
            }
            std::copy_n(old_codes.data() + r * n, n, s.codes.data() + r * n);
            std::copy_n(old_scales.data() + r * groups, groups, s.scales.data() + r * groups);
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
