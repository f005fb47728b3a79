// SPDX-License-Identifier: Apache-2.0
// Floor 7. Rounding to nearest straight from the mapped file: rows in the type they are stored in,
// a few at a time, through the kernels of floor 2. The same bytes as rtn_method makes of a float32
// layer; what is held is one linear's codes. For every run that needs no inputs.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <vector>

#include "fpq/core/bits.hpp"
#include "fpq/core/half.hpp"
#include "fpq/core/hosted/error.hpp"
#include "fpq/core/hosted/parallel.hpp"
#include "fpq/core/view.hpp"
#include "fpq/io/safetensors/checkpoint.hpp"
#include "fpq/io/safetensors/dtype.hpp"
#include "fpq/quant/error_stats.hpp"
#include "fpq/quant/observer_options.hpp"
#include "fpq/quant/packed_matrix.hpp"
#include "fpq/quant/quantize.hpp"
#include "fpq/quant/saturate.hpp"

namespace fpq {

namespace detail {

/// Largest bit pattern of an array of floats without their signs. Patterns of finite floats are
/// ordered as their magnitudes, and those of infinities and NaN lie above.
template <class Int>
Int largest_pattern(std::span<std::byte const> bytes) noexcept {
    constexpr std::size_t width = 16;  // fixed, which compilers vectorize
    std::size_t const count = bytes.size() / sizeof(Int);
    Int best[width] = {};
    std::size_t i = 0;
    for (; i + width <= count; i += width) {
        Int x[width];
        std::memcpy(x, bytes.data() + i * sizeof(Int), sizeof x);
        for (std::size_t j = 0; j < width; ++j) {
            Int const size = x[j] & std::numeric_limits<Int>::max();
            best[j] = best[j] < size ? size : best[j];
        }
    }
    for (; i < count; ++i) {
        best[0] = std::max<Int>(best[0],
                                load_word<Int>(bytes.data(), i) & std::numeric_limits<Int>::max());
    }
    return *std::max_element(best, best + width);
}

/// max |w| of a BF16, F16 or F32 tensor, which must be finite: else fpq::error (input) by name.
inline float finite_amax(tensor_ref const& t, int threads) {
    constexpr std::size_t piece = std::size_t{4} << 20;
    if (t.type != dtype::bf16 && t.type != dtype::f16 && t.type != dtype::f32) {
        fail_input("wrong type of tensor", tensor_place(t), "BF16, F16 or F32", dtype_name(t.type));
    }
    std::vector<float> found((t.bytes.size() + piece - 1) / piece, 0.0F);
    parallel_for(t.bytes.size(), piece, threads, [&](std::size_t begin, std::size_t end) {
        auto const part = t.bytes.subspan(begin, end - begin);
        float amax = 0.0F;
        if (t.type == dtype::f32) {
            amax = bits_of<float>(largest_pattern<std::int32_t>(part));
        } else {
            auto const bits = static_cast<std::uint16_t>(largest_pattern<std::int16_t>(part));
            amax = t.type == dtype::bf16 ? to_float(bf16{bits}) : to_float(fp16{bits});
        }
        if (!is_finite(amax)) {
            require_finite(t, part);
        }
        found[begin / piece] = amax;
    });
    return found.empty() ? 0.0F : *std::max_element(found.begin(), found.end());
}

/// Adds sum (w * unit)^2 and sum ((w - d) * unit)^2. `unit` is a power of two that keeps squares
/// away from the ends of float; sums of 256 values in float, the rest in double.
template <class T>
void add_error(T const* w, float const* d, std::size_t n, float unit, error_stats& stats) noexcept {
    constexpr std::size_t width = 16;
    constexpr std::size_t block = 256;
    for (std::size_t first = 0; first < n; first += block) {
        std::size_t const last = std::min(n, first + block);
        float signal[width] = {};
        float noise[width] = {};
        std::size_t i = first;
        for (; i + width <= last; i += width) {
            for (std::size_t j = 0; j < width; ++j) {
                float const a = to_float(w[i + j]) * unit;
                float const e = a - d[i + j] * unit;
                signal[j] += a * a;
                noise[j] += e * e;
            }
        }
        for (; i < last; ++i) {
            float const a = to_float(w[i]) * unit;
            float const e = a - d[i] * unit;
            signal[0] += a * a;
            noise[0] += e * e;
        }
        for (std::size_t j = 0; j < width; ++j) {
            stats.signal += static_cast<double>(signal[j]);
            stats.noise += static_cast<double>(noise[j]);
        }
    }
}

/// What rounding cost, as a whole and where it cost most.
struct rounding_loss {
    error_stats error;
    local_loss local;
    float unit = 1.0F;  ///< signal and noise are those of weights times this
};

/// Quantizes w into q, a few rows at a time so that they stay in cache for the comparison with
/// what they decode to; returns signal and noise in units of amax's power of two.
template <class T>
rounding_loss round_rows(matrix_view<T const> w, quant_format const& format,
                         observer_options const& options, float amax, int threads,
                         packed_matrix& q) {
    constexpr std::size_t rows_a_job = 512;
    constexpr std::size_t rows_at_once = 16;
    resize_packed(q, format, w.rows, w.cols, options.global_scale);
    float const unit = amax > 0.0F ? exp2_int(std::clamp(-floor_log2(amax), -126, 126)) : 1.0F;
    std::size_t const code_bytes = format.row_bytes(w.cols);
    std::size_t const groups = format.groups(w.cols);
    std::size_t const scale_row = groups * format.scale_bytes_each();
    quantizer const work(format, options);
    std::vector<rounding_loss> sums((w.rows + rows_a_job - 1) / rows_a_job);
    parallel_for(w.rows, rows_a_job, threads, [&](std::size_t begin, std::size_t end) {
        packed_matrix part;
        std::vector<float> decoded(std::min(rows_at_once, w.rows) * w.cols);
        for (std::size_t r = begin; r < end; r += rows_at_once) {
            std::size_t const rows = std::min(rows_at_once, end - r);
            work.into(w.rows_at(r, rows), part, 1);
            if (amax >= largest_safe_maximum) {
                saturate_to_finite(part);
            }
            std::copy(part.codes.begin(), part.codes.end(), q.codes.data() + r * code_bytes);
            std::copy(part.scales.begin(), part.scales.end(), q.scales.data() + r * scale_row);
            if (!part.zeros.empty()) {
                std::copy(part.zeros.begin(), part.zeros.end(), q.zeros.data() + r * groups);
            }
            dequantize_into(part.view(), as_view(decoded.data(), rows, w.cols), 1);
            for (std::size_t i = 0; i < rows; ++i) {
                rounding_loss& sum = sums[begin / rows_a_job];
                float const* const values = decoded.data() + i * w.cols;
                error_stats row;
                add_error(w.row(r + i), values, w.cols, unit, row);
                sum.error.add(row);
                sum.local.add_row(
                    [from = w.row(r + i)](std::size_t j) { return to_float(from[j]); }, values,
                    w.cols, format.group_of(w.cols), row);
            }
        }
    });
    rounding_loss total;
    total.unit = unit;
    for (rounding_loss const& s : sums) {
        total.error.add(s.error);
        total.local.add(s.local);
    }
    return total;
}

/// round_rows on the tensor as it lies in the file, or on a copy where it is not aligned.
inline rounding_loss round_tensor(tensor_ref const& t, std::size_t rows, std::size_t cols,
                                  quant_format const& format, observer_options const& options,
                                  float amax, int threads, packed_matrix& q) {
    auto const as = [&](auto type) {
        using word = decltype(type);
        auto const* data = reinterpret_cast<word const*>(t.bytes.data());
        std::vector<word> copy;
        if (reinterpret_cast<std::uintptr_t>(data) % alignof(word) != 0) {
            copy.resize(t.bytes.size() / sizeof(word));
            std::memcpy(copy.data(), t.bytes.data(), t.bytes.size());
            data = copy.data();
        }
        return round_rows(as_view(data, rows, cols), format, options, amax, threads, q);
    };
    return t.type == dtype::f32 ? as(0.0F) : t.type == dtype::bf16 ? as(bf16{}) : as(fp16{});
}

}  // namespace detail

}  // namespace fpq
