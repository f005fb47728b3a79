// SPDX-License-Identifier: Apache-2.0
// Floor 6. The quantization verbs of the CPU: what happens to the inputs of linears and to weights
// around the solvers.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "fpq/backend/cpu/cpu.hpp"
#include "fpq/backend/scale_args.hpp"
#include "fpq/core/half.hpp"
#include "fpq/core/hosted/parallel.hpp"
#include "fpq/format/quant_args.hpp"
#include "fpq/quant/error_stats.hpp"
#include "fpq/quant/fake_quantize.hpp"
#include "fpq/quant/packed_matrix.hpp"
#include "fpq/quant/quantize.hpp"
#include "fpq/transform/transform.hpp"

namespace fpq {

/// max |x|; NaN counts as nothing.
inline float amax(cpu const& b, cpu::const_view x) {
    constexpr std::size_t chunk = 32;
    std::vector<float> largest((x.rows + chunk - 1) / chunk, 0.0F);
    parallel_for(x.rows, chunk, b.threads, [&](std::size_t begin, std::size_t end) {
        float most = 0.0F;
        for (std::size_t i = begin; i < end; ++i) {
            float const* const row = x.row(i);
            for (std::size_t j = 0; j < x.cols; ++j) {
                most = std::max(most, std::fabs(row[j]));
            }
        }
        largest[begin / chunk] = most;
    });
    float most = 0.0F;
    for (float const one : largest) {
        most = std::max(most, one);
    }
    return most;
}

/// max |x| of each of `windows` windows, one below the other.
inline std::vector<float> window_amax(cpu const& b, cpu::const_view x, std::size_t windows) {
    std::vector<float> out(windows);
    std::size_t const tokens = x.rows / windows;
    for (std::size_t w = 0; w < windows; ++w) {
        out[w] = amax(b, x.rows_at(w * tokens, tokens));
    }
    return out;
}

/// x = x M, block by block.
inline void transform_inputs(cpu const& b, block_transform const& t, cpu::view x) {
    t.apply_to_inputs(x, b.threads);
}

/// w = w M^-T.
inline void transform_weights(cpu const& b, block_transform const& t, cpu::tensor& w) {
    t.apply_to_weights(w.view(), b.threads);
}

/// x = what a client's linear reads: dynamic group scales under a given global scale.
inline void fake_quantize(cpu const& b, quant_args const& args, float global_scale, cpu::view x) {
    fake_quantize_rows(x, args.format, observer_of(args, global_scale), b.threads);
}

/// The host has changed what a solver gave.
inline void changed_on_host(cpu const&, packed_matrix const&) noexcept {}

/// w = the decoded q, rounded to bf16 as a client that multiplies in bf16 sees it. Returns how far
/// the decoded values, before that rounding, are from what w held.
inline error_stats decode_weights(cpu const& b, packed_view const& q, cpu::view w,
                                  local_loss& local) {
    std::vector<float> decoded(w.rows * w.cols);
    dequantize_into(q, as_view(decoded.data(), w.rows, w.cols), b.threads);
    error_stats const error =
        measure_error(w, as_view(static_cast<float const*>(decoded.data()), w.rows, w.cols));
    local =
        measure_local_loss(w, as_view(static_cast<float const*>(decoded.data()), w.rows, w.cols),
                           q.format.group_of(w.cols));
    parallel_for(w.rows, 32, b.threads, [&](std::size_t begin, std::size_t end) {
        for (std::size_t i = begin; i < end; ++i) {
            for (std::size_t j = 0; j < w.cols; ++j) {
                w(i, j) = round_to_bf16(decoded[i * w.cols + j]);
            }
        }
    });
    return error;
}

}  // namespace fpq
