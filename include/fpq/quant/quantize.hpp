// SPDX-License-Identifier: Apache-2.0
// Floor 2. Weights to packed codes and back, given or finding the scales. Rounding to nearest
// only: solvers that choose codes otherwise are floor 4.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "fpq/core/hosted/parallel.hpp"
#include "fpq/core/view.hpp"
#include "fpq/format/pack.hpp"
#include "fpq/format/packed.hpp"
#include "fpq/quant/kernels/dequantize_rows.hpp"
#include "fpq/quant/kernels/quantize_rows.hpp"
#include "fpq/quant/observer.hpp"
#include "fpq/quant/packed_matrix.hpp"

namespace fpq {

namespace detail {

/// Index of the stored scale of (row, g) in a scale_grid.
inline std::size_t scale_index(quant_format const& format, std::size_t groups, std::size_t row,
                               std::size_t g) noexcept {
    return format.grain == granularity::tensor ? 0 : row * groups + g;
}

/// Rows whose quantization is one unit of work.
inline constexpr std::size_t rows_a_chunk = 8;

/// fpq::encode_with by encode(w, count, s, zero, codes) of one group and pack(codes, row) of a row,
/// into q, which has the right size.
template <class Encode, class Pack>
void encode_rows(matrix_view<float const> w, quant_format const& format, scale_grid const& grid,
                 int threads, Encode const& encode, Pack const& pack, packed_matrix& q) {
    std::copy(grid.bytes.begin(), grid.bytes.end(), q.scales.begin());
    std::copy(grid.zeros.begin(), grid.zeros.end(), q.zeros.begin());
    std::size_t const group = format.group_of(w.cols);
    parallel_for(w.rows, rows_a_chunk, threads, [&](std::size_t begin, std::size_t end) {
        std::vector<std::uint8_t> codes(w.cols);
        for (std::size_t i = begin; i < end; ++i) {
            for (std::size_t g = 0; g < grid.groups; ++g) {
                std::size_t const first = g * group;
                int const zero =
                    format.symmetric ? 0 : grid.zeros[scale_index(format, grid.groups, i, g)];
                encode(w.row(i) + first, std::min(group, w.cols - first),
                       grid.value[i * grid.groups + g], zero, codes.data() + first);
            }
            pack(codes.data(), q.codes.data() + i * format.row_bytes(w.cols));
        }
    });
}

/// encode_rows by the lanes of this processor.
inline void encode_by_lanes(matrix_view<float const> w, quant_format const& format,
                            scale_grid const& grid, int threads, packed_matrix& q) {
    auto const encode_lanes = kernels::encode_lanes_at(active_simd_level());
    kernels::encode_rule const symmetric = kernels::encode_rule_of(format.element);
    encode_rows(
        w, format, grid, threads,
        [&](float const* x, std::size_t n, float s, int zero, std::uint8_t* codes) {
            std::size_t const whole = n / 16 * 16;
            encode_lanes(x, whole, s,
                         format.symmetric
                             ? symmetric
                             : kernels::encode_rule_of_asymmetric(format.element, zero),
                         codes);
            encode_group(format.element, format.symmetric, x + whole, n - whole, s, zero,
                         codes + whole);
        },
        [&](std::uint8_t const* codes, std::uint8_t* row) {
            kernels::pack_codes(element_bits(format.element), codes, w.cols, row);
        },
        q);
}

}  // namespace detail

namespace reference {

/// The plain loop of fpq::encode_with.
inline packed_matrix encode_with(matrix_view<float const> w, quant_format const& format,
                                 scale_grid const& grid, float global_scale, int threads = 1) {
    packed_matrix q = make_packed(format, w.rows, w.cols, global_scale);
    detail::encode_rows(
        w, format, grid, threads,
        [&](float const* x, std::size_t n, float s, int zero, std::uint8_t* codes) {
            encode_group(format.element, format.symmetric, x, n, s, zero, codes);
        },
        [&](std::uint8_t const* codes, std::uint8_t* row) {
            pack_row(element_bits(format.element), codes, w.cols, row);
        },
        q);
    return q;
}

}  // namespace reference

/// Codes of w (rows, cols) under given scales: encode_element(fl(w / s)), s = grid.value;
/// asymmetric INT: clamp(rne(fl(w / s)) + zero). Negative zeros keep their sign.
/// `grid` was found for the same format, shape and global scale.
inline packed_matrix encode_with(matrix_view<float const> w, quant_format const& format,
                                 scale_grid const& grid, float global_scale, int threads = 1) {
    packed_matrix q = make_packed(format, w.rows, w.cols, global_scale);
    detail::encode_by_lanes(w, format, grid, threads, q);
    return q;
}

namespace reference {

/// find_scales, then encode_with: the plain loops that every kernel equals bit for bit.
inline packed_matrix quantize(matrix_view<float const> w, quant_format const& format,
                              observer_options const& options, int threads = 1) {
    scale_grid const grid = reference::find_scales(w, format, options, threads);
    return reference::encode_with(w, format, grid, options.global_scale, threads);
}

}  // namespace reference

/// Codes and scales of w (rows, cols), any width, float, bf16 or fp16; weights are expected to be
/// finite. The bytes are those of reference::quantize on the weights as float, at any simd_level.
/// Example: packed_matrix q = quantize(w, nvfp4, {.global_scale = nvfp_global_scale(amax, true)});
template <class T>
void quantize_into(matrix_view<T const> w, quant_format const& format,
                   observer_options const& options, packed_matrix& q, int threads = 1) {
    resize_packed(q, format, w.rows, w.cols, options.global_scale);
    if (w.size() == 0 || kernels::quantize_minmax(w, format, options, threads, q)) {
        return;
    }
    std::vector<float> wide;
    matrix_view<float const> x{};
    if constexpr (std::is_same_v<T, float>) {
        x = w;
    } else {
        wide.resize(w.size());
        parallel_for(w.rows, detail::rows_a_chunk, threads,
                     [&](std::size_t begin, std::size_t end) {
                         for (std::size_t i = begin; i < end; ++i) {
                             std::transform(w.row(i), w.row(i) + w.cols, wide.data() + i * w.cols,
                                            [](T v) { return to_float(v); });
                         }
                     });
        x = as_view<float const>(wide.data(), w.rows, w.cols);
    }
    detail::encode_by_lanes(x, format, find_scales(x, format, options, threads), threads, q);
}

/// quantize_into a new matrix.
inline packed_matrix quantize(matrix_view<float const> w, quant_format const& format,
                              observer_options const& options, int threads = 1) {
    packed_matrix q;
    quantize_into(w, format, options, q, threads);
    return q;
}
inline packed_matrix quantize(matrix_view<bf16 const> w, quant_format const& format,
                              observer_options const& options, int threads = 1) {
    packed_matrix q;
    quantize_into(w, format, options, q, threads);
    return q;
}
inline packed_matrix quantize(matrix_view<fp16 const> w, quant_format const& format,
                              observer_options const& options, int threads = 1) {
    packed_matrix q;
    quantize_into(w, format, options, q, threads);
    return q;
}

namespace reference {

/// The plain loop: one table, one product a value.
inline void dequantize_into(packed_view const& q, matrix_view<float> out, int threads = 1) {
    int const bits = element_bits(q.format.element);
    std::array<float, 256> table{};
    for (std::size_t code = 0; code < (std::size_t{1} << bits); ++code) {
        table[code] = q.format.symmetric
                          ? decode_element(q.format.element, static_cast<std::uint8_t>(code))
                          : static_cast<float>(code);
    }
    std::size_t const group = q.format.group_of(q.cols);
    std::size_t const groups = q.format.groups(q.cols);
    parallel_for(q.rows, detail::rows_a_chunk, threads, [&](std::size_t begin, std::size_t end) {
        std::vector<std::uint8_t> codes(q.cols);
        for (std::size_t i = begin; i < end; ++i) {
            unpack_row(bits, q.codes + i * q.format.row_bytes(q.cols), q.cols, codes.data());
            for (std::size_t g = 0; g < groups; ++g) {
                float const s = q.step(i, g);
                float const zero =
                    q.format.symmetric ? 0.0F : static_cast<float>(q.zeros[q.scale_index(i, g)]);
                std::size_t const last = std::min(q.cols, (g + 1) * group);
                for (std::size_t j = g * group; j < last; ++j) {
                    out(i, j) = (table[codes[j]] - zero) * s;
                }
            }
        }
    });
}

}  // namespace reference

/// out (rows, cols) = the decoded values: fl(element * fl(scale / global)), or
/// fl((code - zero) * s), the same bits at any simd_level. Allocates one row of codes a thread.
inline void dequantize_into(packed_view const& q, matrix_view<float> out, int threads = 1) {
    kernels::dequantize_rows(q, out, threads);
}
/// The same, each value then rounded to bf16 (nearest, ties to even).
inline void dequantize_into(packed_view const& q, matrix_view<bf16> out, int threads = 1) {
    kernels::dequantize_rows(q, out, threads);
}

/// The decoded values, (rows, cols) row-major.
inline std::vector<float> dequantize(packed_view const& q, int threads = 1) {
    std::vector<float> out(q.rows * q.cols);
    dequantize_into(q, as_view(out.data(), q.rows, q.cols), threads);
    return out;
}

}  // namespace fpq
