// SPDX-License-Identifier: Apache-2.0
// Floor 2. How far a quantized matrix is from the original: mean squared error, SQNR, and what
// went wrong where (flushed to zero, saturated, sign lost). Sums in double.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "fpq/core/bits.hpp"
#include "fpq/core/view.hpp"
#include "fpq/format/packed.hpp"

namespace fpq {

/// Sums over one comparison; add() merges two of them.
struct error_stats {
    std::size_t count = 0;
    double signal = 0.0;         // sum of original^2
    double noise = 0.0;          // sum of (original - decoded)^2
    double largest = 0.0;        // max |original - decoded|
    std::size_t flushed = 0;     // non-zero originals that decode to 0
    std::size_t sign_flips = 0;  // originals and decoded values of opposite sign
    std::size_t saturated = 0;   // codes at an end of the grid (measure_packed only)

    /// Mean squared error; 0 of nothing.
    [[nodiscard]] double mse() const noexcept {
        return count == 0 ? 0.0 : noise / static_cast<double>(count);
    }
    /// 10 log10(signal / noise); +infinity without noise.
    [[nodiscard]] double sqnr_db() const noexcept {
        return noise == 0.0 ? std::numeric_limits<double>::infinity()
                            : 10.0 * std::log10(signal / noise);
    }
    /// noise / signal; 0 without noise.
    [[nodiscard]] double relative() const noexcept { return noise == 0.0 ? 0.0 : noise / signal; }

    void add(error_stats const& o) noexcept {
        count += o.count;
        signal += o.signal;
        noise += o.noise;
        largest = o.largest > largest ? o.largest : largest;
        flushed += o.flushed;
        sign_flips += o.sign_flips;
        saturated += o.saturated;
    }
};

/// What sums over a whole matrix hide: a large value hides the loss of all small ones.
struct local_loss {
    std::size_t blocks = 0;         ///< with a value other than 0
    std::size_t zeroed_blocks = 0;  ///< of these, decoded to 0 as a whole
    double worst_row_db = std::numeric_limits<double>::infinity();  ///< least SQNR of a row

    [[nodiscard]] double zeroed_share() const noexcept {
        return blocks == 0 ? 0.0 : static_cast<double>(zeroed_blocks) / static_cast<double>(blocks);
    }
    void add(local_loss const& o) noexcept {
        blocks += o.blocks;
        zeroed_blocks += o.zeroed_blocks;
        worst_row_db = o.worst_row_db < worst_row_db ? o.worst_row_db : worst_row_db;
    }
    /// One row of `cols` values in blocks of `group`; at(j) is the original's value j.
    template <class At>
    void add_row(At const& at, float const* decoded, std::size_t cols, std::size_t group,
                 error_stats const& error) noexcept {
        for (std::size_t first = 0; first < cols; first += group) {
            std::size_t const last = first + group < cols ? first + group : cols;
            bool before = false;
            bool after = false;
            for (std::size_t j = first; j < last && !after; ++j) {
                after = decoded[j] != 0.0F;
            }
            for (std::size_t j = first; j < last && !after && !before; ++j) {
                before = at(j) != 0.0F;
            }
            blocks += before || after ? 1U : 0U;
            zeroed_blocks += before ? 1U : 0U;
        }
        if (error.signal > 0.0) {
            double const db = error.sqnr_db();
            worst_row_db = db < worst_row_db ? db : worst_row_db;
        }
    }
};

/// Compares `decoded` with `original`, both (rows, cols).
inline error_stats measure_error(matrix_view<float const> original,
                                 matrix_view<float const> decoded) noexcept {
    error_stats stats;
    stats.count = original.size();
    for (std::size_t i = 0; i < original.rows; ++i) {
        for (std::size_t j = 0; j < original.cols; ++j) {
            double const a = static_cast<double>(original(i, j));
            double const b = static_cast<double>(decoded(i, j));
            double const d = a - b;
            stats.signal += a * a;
            stats.noise += d * d;
            stats.largest = std::fabs(d) > stats.largest ? std::fabs(d) : stats.largest;
            stats.flushed += a != 0.0 && b == 0.0 ? 1U : 0U;
            stats.sign_flips += a * b < 0.0 ? 1U : 0U;
        }
    }
    return stats;
}

/// local_loss of a whole matrix.
inline local_loss measure_local_loss(matrix_view<float const> original,
                                     matrix_view<float const> decoded, std::size_t group) noexcept {
    local_loss out;
    for (std::size_t i = 0; i < original.rows; ++i) {
        out.add_row([row = original.row(i)](std::size_t j) { return row[j]; }, decoded.row(i),
                    original.cols, group,
                    measure_error(original.rows_at(i, 1), decoded.rows_at(i, 1)));
    }
    return out;
}

/// measure_error against the decoded `q`, and the codes that lie at an end of their grid.
inline error_stats measure_packed(matrix_view<float const> original, packed_view const& q) {
    error_stats stats;
    int const bits = element_bits(q.format.element);
    float const high =
        q.format.symmetric ? element_max(q.format.element) : static_cast<float>((1 << bits) - 1);
    float const low = !q.format.symmetric            ? 0.0F
                      : is_integer(q.format.element) ? -high - 1.0F
                                                     : -high;
    std::size_t const group = q.format.group_of(q.cols);
    for (std::size_t i = 0; i < q.rows; ++i) {
        std::uint8_t const* const row = q.codes + i * q.format.row_bytes(q.cols);
        for (std::size_t j = 0; j < q.cols; ++j) {
            std::uint8_t const code = packed_code(bits, row, j);
            float const element = q.format.symmetric ? decode_element(q.format.element, code)
                                                     : static_cast<float>(code);
            std::size_t const k = q.scale_index(i, j / group);
            float const zero = q.format.symmetric ? 0.0F : static_cast<float>(q.zeros[k]);
            float const value = (element - zero) * q.step(i, j / group);
            stats.add(measure_error({&original(i, j), 1, 1, 1}, {&value, 1, 1, 1}));
            stats.saturated += element >= high || element <= low ? 1U : 0U;
        }
    }
    return stats;
}

}  // namespace fpq
