// SPDX-License-Identifier: Apache-2.0
// Floor 6. The backward verb of the head on the CPU: labels, cross entropy, and the gradient at
// what the head reads. Logits are held for a few rows at a time, the head's rows are widened a tile
// of the vocabulary at a time.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>

#include "fpq/backend/cpu/cpu.hpp"
#include "fpq/backend/cpu/elementwise.hpp"
#include "fpq/backend/cpu/forward.hpp"
#include "fpq/backend/cpu/sample.hpp"
#include "fpq/backend/cpu/score.hpp"
#include "fpq/backend/labels.hpp"
#include "fpq/backend/score.hpp"
#include "fpq/core/hosted/error.hpp"
#include "fpq/core/hosted/parallel.hpp"
#include "fpq/linalg/matmul.hpp"

namespace fpq {

namespace detail {

/// n logits become the gradient of -log softmax(logits)[label]: softmax - onehot(label), or 0
/// without a label. Terms in float32, their sum in float64. Throws fpq::error (numeric) when they
/// are not finite.
inline label_score cross_entropy_backward(float* logits, std::size_t n, std::int32_t label) {
    if (label == no_label) {
        std::fill_n(logits, n, 0.0F);
        return {};
    }
    auto const at = static_cast<std::size_t>(label);
    float const shift = largest(logits, n);
    double const lse = log_sum_exp(logits, n, shift);
    if (!std::isfinite(lse)) {
        fail_numeric("backward pass", "logits", "finite values", "NaN or infinity");
    }
    label_score out;
    out.nll = static_cast<float>(lse - static_cast<double>(logits[at]));
    auto const inverse = static_cast<float>(std::exp(static_cast<double>(shift) - lse));
    static_cast<void>(exp_and_sum(logits, n, 1.0F, shift));
    for (std::size_t j = 0; j < n; ++j) {
        logits[j] *= inverse;
    }
    logits[at] -= 1.0F;
    out.square = sum_of_squares(logits, n);
    return out;
}

/// dx (tokens, hidden) = d (tokens, vocab) table: tiles of the vocabulary in their order, each
/// widened once.
inline void multiply_table(cpu const& b, cpu::const_view d, cpu::table const& table, cpu::view dx) {
    cpu::tensor wide(vocab_tile, table.cols());
    for (std::size_t begin = 0; begin < table.rows(); begin += vocab_tile) {
        std::size_t const count = std::min(vocab_tile, table.rows() - begin);
        for_each_row(b, count,
                     [&](std::size_t i) { table.copy_row(begin + i, wide.view().row(i)); });
        cpu::const_view const rows = wide.view().rows_at(0, count);
        parallel_for(d.rows, row_chunk, b.threads, [&](std::size_t first, std::size_t last) {
            matmul_nn(d.rows_at(first, last - first).cols_at(begin, count), rows,
                      dx.rows_at(first, last - first), 1, begin != 0);
        });
    }
}

}  // namespace detail

/// dx (tokens, hidden) = gradient of sum over tokens of -log softmax(x head^T)[label] at x, what
/// the head reads. labels[t], a token or no_label, is drawn and returned when `draw` is not null.
/// scores[t] says what came of it. Throws fpq::error (numeric) when logits are not finite.
inline void head_backward(cpu const& b, cpu::const_view x, cpu::table const& head,
                          label_draw const* draw, std::span<std::int32_t> labels,
                          std::span<label_score> scores, cpu::view dx, cpu::score_workspace& held) {
    constexpr std::size_t most = detail::logit_rows;
    auto const fit = [&](cpu::tensor& t) {
        if (t.cols() != head.rows() || t.rows() == 0) {
            t = make(b, most, head.rows());
        }
        return t.view();
    };
    for (std::size_t begin = 0; begin < x.rows; begin += most) {
        std::size_t const count = std::min(most, x.rows - begin);
        cpu::view const d = fit(held.logits).rows_at(0, count);
        logits(b, x.rows_at(begin, count), head, d);
        if (draw != nullptr) {
            cpu::view const drawn_from = fit(held.reference).rows_at(0, count);
            copy(b, d, drawn_from);
            draw_tokens(b, drawn_from, draw->seed, draw->stream + begin, draw->step,
                        labels.subspan(begin, count));
        }
        parallel_for(count, 8, b.threads, [&](std::size_t first, std::size_t last) {
            for (std::size_t i = first; i < last; ++i) {
                scores[begin + i] =
                    detail::cross_entropy_backward(d.row(i), d.cols, labels[begin + i]);
            }
        });
        detail::multiply_table(b, d, head, dx.rows_at(begin, count));
    }
}

}  // namespace fpq
