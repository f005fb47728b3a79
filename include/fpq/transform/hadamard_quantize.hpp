// SPDX-License-Identifier: Apache-2.0
// Floor 3. Block Hadamard and quantization in one pass: a strip of a row is rotated into a buffer
// that stays in the first cache and quantized from there. w itself is not changed.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/core/hosted/parallel.hpp"
#include "fpq/core/view.hpp"
#include "fpq/quant/kernels/hadamard_rows.hpp"
#include "fpq/quant/kernels/quantize_rows.hpp"
#include "fpq/quant/quantize.hpp"
#include "fpq/transform/hadamard.hpp"

namespace fpq {

namespace detail {

#if FPQ_X86_KERNELS
/// Strips of rows through e2m1_strips; false: not with these options, or not such a width.
template <std::size_t Group>
bool quantize_hadamard_strips(matrix_view<float const> w, std::size_t block,
                              quant_format const& format, observer_options const& options,
                              packed_matrix& q, int threads) {
    kernels::e2m1_strips<Group> const strips(format, options,
                                             {.factor = kernels::hadamard_factor(block)});
    constexpr std::size_t most = 4096;  // values of a strip: 16 KiB
    if (!strips.usable() || block > most || w.cols % Group != 0) {
        return false;
    }
    std::size_t const chunks = (w.cols + most - 1) / most;
    simd_level const level = active_simd_level();
    parallel_for(w.rows * chunks, 16, threads, [&](std::size_t begin, std::size_t end) {
        std::vector<float> rotated(std::min(w.cols, most));
        for (std::size_t k = begin; k < end; ++k) {
            std::size_t const i = k / chunks;
            std::size_t const first = k % chunks * most;
            std::size_t const count = std::min(w.cols - first, most);
            kernels::hadamard_sums(level, w.row(i) + first, rotated.data(), count, block);
            strips.run(
                rotated.data(), count, q.codes.data() + i * format.row_bytes(w.cols) + first / 2,
                q.scales.data() + i * format.groups(w.cols) + first / Group, w.row(i) + first);
        }
    });
    return true;
}
#endif

}  // namespace detail

/// q = quantize(w H), H the Hadamard matrix of `block` on every block of columns: the bytes of
/// rotating w by hadamard_in_place first. w (rows, cols), cols a multiple of block.
/// Errors: fpq::error (usage) when block is no power of two or does not divide cols.
inline void quantize_hadamard_into(matrix_view<float const> w, std::size_t block,
                                   quant_format const& format, observer_options const& asked,
                                   packed_matrix& q, int threads) {
    observer_options const options = settled(format, asked);
    if (!is_power_of_two(block) || w.cols % block != 0) {
        fail_usage("Hadamard block size", "quantize_hadamard",
                   "a power of two that divides " + std::to_string(w.cols), std::to_string(block));
    }
    resize_packed(q, format, w.rows, w.cols, options.global_scale);
    if (w.size() == 0) {
        return;
    }
#if FPQ_X86_KERNELS
    if (options.rule == scale_rule::minmax && active_simd_level() == simd_level::avx512) {
        if (format == nvfp4 &&
            detail::quantize_hadamard_strips<16>(w, block, format, options, q, threads)) {
            return;
        }
        if (format == mxfp4 &&
            detail::quantize_hadamard_strips<32>(w, block, format, options, q, threads)) {
            return;
        }
    }
#endif
    std::vector<float> rotated(w.size());
    parallel_for(w.rows, 8, threads, [&](std::size_t begin, std::size_t end) {
        for (std::size_t i = begin; i < end; ++i) {
            kernels::hadamard_blocks(active_simd_level(), w.row(i), rotated.data() + i * w.cols,
                                     w.cols, block);
        }
    });
    quantize_into(as_view<float const>(rotated.data(), w.rows, w.cols), format, options, q,
                  threads);
}

/// quantize_hadamard_into a new matrix.
inline packed_matrix quantize_hadamard(matrix_view<float const> w, std::size_t block,
                                       quant_format const& format, observer_options const& options,
                                       int threads) {
    packed_matrix q;
    quantize_hadamard_into(w, block, format, options, q, threads);
    return q;
}

}  // namespace fpq
