// SPDX-License-Identifier: Apache-2.0
// Floor 2. Weights to packed codes and back, given or finding the scales. Rounding to nearest
// only: solvers that choose codes otherwise are floor 4.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <type_traits>
#include <vector>

#include "fpq/core/hosted/parallel.hpp"
#include "fpq/core/view.hpp"
#include "fpq/format/pack.hpp"
#include "fpq/format/packed.hpp"
#include "fpq/quant/fake_quantize.hpp"
#include "fpq/quant/kernels/dequantize_rows.hpp"
#include "fpq/quant/kernels/group_lanes.hpp"
#include "fpq/quant/kernels/quantize_rows.hpp"
#include "fpq/quant/kernels/row_codes.hpp"
#include "fpq/quant/kernels/row_scales.hpp"
#include "fpq/quant/observer.hpp"
#include "fpq/quant/packed_matrix.hpp"

namespace fpq {

namespace detail {

/// Rows whose codes are one unit of work.
inline constexpr std::size_t rows_a_chunk = 8;

/// Storage for w with the scales of `grid`; the codes are to come.
inline packed_matrix with_scales(matrix_view<float const> w, quant_format const& format,
                                 scale_grid const& grid, float global_scale) {
    packed_matrix q = make_packed(format, w.rows, w.cols, global_scale);
    std::copy(grid.bytes.begin(), grid.bytes.end(), q.scales.begin());
    std::copy(grid.zeros.begin(), grid.zeros.end(), q.zeros.begin());
    return q;
}

/// Zero points of row i, or null.
inline std::uint8_t const* zeros_of_row(packed_matrix const& q, std::size_t groups,
                                        std::size_t i) noexcept {
    bool const one = q.format.grain == granularity::tensor;
    return q.zeros.empty() ? nullptr : q.zeros.data() + (one ? 0 : i * groups);
}

/// Rows [begin, end) of w as float: w itself, or a copy in `wide`.
template <class T>
matrix_view<float const> widen_rows(matrix_view<T const> w, std::size_t begin, std::size_t end,
                                    std::vector<float>& wide) {
    if constexpr (std::is_same_v<T, float>) {
        static_cast<void>(wide);
        return w.rows_at(begin, end - begin);
    } else {
        wide.resize((end - begin) * w.cols);
        for (std::size_t i = begin; i < end; ++i) {
            kernels::widen_at(active_simd_level(), w.row(i), w.cols,
                              wide.data() + (i - begin) * w.cols);
        }
        return as_view<float const>(wide.data(), end - begin, w.cols);
    }
}

}  // namespace detail

/// Codes of w (rows, cols) under given scales: encode_element(fl(w / s)), s = grid.value;
/// asymmetric INT: clamp(rne(fl(w / s)) + zero). Negative zeros keep their sign.
/// `grid` was found for the same format, shape and global scale.
inline packed_matrix encode_with(matrix_view<float const> w, quant_format const& format,
                                 scale_grid const& grid, float global_scale, int threads) {
    packed_matrix q = detail::with_scales(w, format, grid, global_scale);
    parallel_for(w.rows, detail::rows_a_chunk, threads, [&](std::size_t begin, std::size_t end) {
        kernels::row_codes codes(format, w.cols);
        for (std::size_t i = begin; i < end; ++i) {
            codes.encode(w.row(i), grid.value.data() + i * grid.groups,
                         detail::zeros_of_row(q, grid.groups, i),
                         q.codes.data() + i * format.row_bytes(w.cols));
        }
    });
    return q;
}

namespace reference {

/// The plain loop of fpq::encode_with, on one thread.
inline packed_matrix encode_with(matrix_view<float const> w, quant_format const& format,
                                 scale_grid const& grid, float global_scale) {
    packed_matrix q = detail::with_scales(w, format, grid, global_scale);
    std::vector<std::uint8_t> codes(w.cols);
    for (std::size_t i = 0; i < w.rows; ++i) {
        std::uint8_t const* const zeros = detail::zeros_of_row(q, grid.groups, i);
        for (std::size_t g = 0; g < grid.groups; ++g) {
            std::size_t const first = g * format.group_of(w.cols);
            encode_group(format.element, format.symmetric, w.row(i) + first,
                         format.group_length(w.cols, g), grid.value[i * grid.groups + g],
                         zeros == nullptr ? 0 : zeros[g], codes.data() + first);
        }
        pack_row(element_bits(format.element), codes.data(), w.cols,
                 q.codes.data() + i * format.row_bytes(w.cols));
    }
    return q;
}

/// find_scales, then encode_with: the plain loops that every kernel equals bit for bit.
inline packed_matrix quantize(matrix_view<float const> w, quant_format const& format,
                              observer_options const& options) {
    scale_grid const grid = reference::find_scales(w, format, options);
    return reference::encode_with(w, format, grid, options.global_scale);
}

}  // namespace reference

/// quantize_into with its tables made before, for many matrices of one format and rule; threads may
/// share it.
class quantizer {
public:
    /// options.column_weight outlives the object.
    quantizer(quant_format const& format, observer_options const& options)
        : format_(format), options_(settled(format, options)) {
        if (options_.rule != scale_rule::minmax) {
            scales_.emplace(format, options_);
        }
    }

    /// See quantize_into.
    template <class T>
    void into(matrix_view<T const> w, packed_matrix& q, int threads) const {
        resize_packed(q, format_, w.rows, w.cols, options_.global_scale);
        if (w.size() == 0 || kernels::quantize_minmax(w, format_, options_, threads, q)) {
            return;
        }
        if (format_.grain != granularity::tensor) {
            if (scales_) {
                rows_into(w, *scales_, q, threads);
            } else {
                rows_into(w, kernels::row_scales(format_, options_), q, threads);
            }
            return;
        }
        std::vector<float> wide;  // one group: all of w
        matrix_view<float const> const x = detail::widen_rows(w, 0, w.rows, wide);
        scale_grid const grid = find_scales(x, format_, options_, threads);
        q = encode_with(x, format_, grid, options_.global_scale, threads);
    }

private:
    /// Each thread finds the scales of some rows, then their codes.
    template <class T>
    void rows_into(matrix_view<T const> w, kernels::row_scales const& scales, packed_matrix& q,
                   int threads) const {
        std::size_t const groups = format_.groups(w.cols);
        std::size_t const scale_bytes = groups * format_.scale_bytes_each();
        std::size_t const chunk = kernels::row_scales::rows_a_chunk(w.cols);
        parallel_for(w.rows, chunk, threads, [&](std::size_t begin, std::size_t end) {
            std::vector<float> wide;
            matrix_view<float const> const x = detail::widen_rows(w, begin, end, wide);
            std::vector<float> values(x.rows * groups);
            scales.find(
                x, {q.scales.data() + begin * scale_bytes,
                    q.zeros.empty() ? nullptr : q.zeros.data() + begin * groups, values.data()});
            kernels::row_codes codes(format_, w.cols);
            for (std::size_t i = begin; i < end; ++i) {
                codes.encode(x.row(i - begin), values.data() + (i - begin) * groups,
                             detail::zeros_of_row(q, groups, i),
                             q.codes.data() + i * format_.row_bytes(w.cols));
            }
        });
    }

    quant_format format_;
    observer_options options_;
    std::optional<kernels::row_scales> scales_;  // minmax has its own kernels
};

/// Codes and scales of w (rows, cols), any width, float, bf16 or fp16; weights are expected to be
/// finite. The bytes are those of reference::quantize on the weights as float, at any simd_level.
/// Example: packed_matrix q = quantize(w, nvfp4, {.global_scale = nvfp_global_scale(amax, true)},
/// 1);
template <class T>
void quantize_into(matrix_view<T const> w, quant_format const& format,
                   observer_options const& options, packed_matrix& q, int threads) {
    quantizer(format, options).into(w, q, threads);
}

/// quantize_into a new matrix.
inline packed_matrix quantize(matrix_view<float const> w, quant_format const& format,
                              observer_options const& options, int threads) {
    packed_matrix q;
    quantize_into(w, format, options, q, threads);
    return q;
}
inline packed_matrix quantize(matrix_view<bf16 const> w, quant_format const& format,
                              observer_options const& options, int threads) {
    packed_matrix q;
    quantize_into(w, format, options, q, threads);
    return q;
}
inline packed_matrix quantize(matrix_view<fp16 const> w, quant_format const& format,
                              observer_options const& options, int threads) {
    packed_matrix q;
    quantize_into(w, format, options, q, threads);
    return q;
}

namespace reference {

/// The plain loop, on one thread: one table, one product a value.
inline void dequantize_into(packed_view const& q, matrix_view<float> out) {
    int const bits = element_bits(q.format.element);
    std::array<float, 256> table{};
    for (std::size_t code = 0; code < (std::size_t{1} << bits); ++code) {
        table[code] = q.format.symmetric
                          ? decode_element(q.format.element, static_cast<std::uint8_t>(code))
                          : static_cast<float>(code);
    }
    std::size_t const group = q.format.group_of(q.cols);
    std::vector<std::uint8_t> codes(q.cols);
    for (std::size_t i = 0; i < q.rows; ++i) {
        unpack_row(bits, q.codes + i * q.format.row_bytes(q.cols), q.cols, codes.data());
        for (std::size_t g = 0; g < q.format.groups(q.cols); ++g) {
            float const s = q.step(i, g);
            float const zero =
                q.format.symmetric ? 0.0F : static_cast<float>(q.zeros[q.scale_index(i, g)]);
            std::size_t const last = std::min(q.cols, (g + 1) * group);
            for (std::size_t j = g * group; j < last; ++j) {
                out(i, j) = (table[codes[j]] - zero) * s;
            }
        }
    }
}

}  // namespace reference

/// out (rows, cols) = the decoded values: fl(element * fl(scale / global)), or
/// fl((code - zero) * s), the same bits at any simd_level. Allocates one row of codes a thread.
inline void dequantize_into(packed_view const& q, matrix_view<float> out, int threads) {
    kernels::dequantize_rows(q, out, threads);
}
/// The same, each value then rounded to bf16 (nearest, ties to even).
inline void dequantize_into(packed_view const& q, matrix_view<bf16> out, int threads) {
    kernels::dequantize_rows(q, out, threads);
}

/// The decoded values, (rows, cols) row-major.
inline std::vector<float> dequantize(packed_view const& q, int threads) {
    std::vector<float> out(q.rows * q.cols);
    dequantize_into(q, as_view(out.data(), q.rows, q.cols), threads);
    return out;
}

}  // namespace fpq
