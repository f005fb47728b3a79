// SPDX-License-Identifier: Apache-2.0
// Floor 7. A scale per channel of what linears read, folded: the columns of their weights times the
// scales, and what makes the channels divided by them. The model computes what it did before; no
// client needs to know.
#pragma once

#include <cmath>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "fpq/backend/cpu/cpu.hpp"
#include "fpq/core/half.hpp"
#include "fpq/core/hosted/error.hpp"
#include "fpq/core/hosted/parallel.hpp"
#include "fpq/graph/fold.hpp"
#include "fpq/graph/graph.hpp"
#include "fpq/io/safetensors/dtype.hpp"
#include "fpq/model/layer.hpp"

namespace fpq {

/// x as a tensor of BF16, F16 or any other type (exactly) holds it.
[[nodiscard]] inline float as_stored(dtype type, float x) noexcept {
    return type == dtype::bf16 ? round_to_bf16(x) : type == dtype::f16 ? round_to_fp16(x) : x;
}

namespace detail {

/// Divides `value`, which stays as it is stored, and gives the scale that the quotient stands for:
/// with value / scale rounded to `type`, scale becomes value / that, so that nothing is lost to
/// `type`. A quotient that `type` cannot hold as a number other than 0 leaves value and scale 1.
inline void divide_stored(dtype type, float& value, float& scale) noexcept {
    if (value == 0.0F) {
        return;
    }
    float const divided = as_stored(type, value / scale);
    float const settled = value / divided;
    if (divided == 0.0F || !std::isfinite(divided) || !std::isfinite(settled)) {
        scale = 1.0F;
        return;
    }
    value = divided;
    scale = settled;
}

}  // namespace detail

/// Folds one scale for each channel of fold_target_of(graph, at): columns of every linear that
/// reads the tap are multiplied; the norm, or rows and their bias, divided. Norm and bias are
/// rounded to `stored`, and the scales changed by as much as that rounding. Returns those that were
/// folded. Powers of two change no bit of what the model computes, others its last bits.
/// Throws fpq::error (usage) for a tap without a target, or another number of scales.
inline std::vector<float> fold_scales(cpu const& b, model_graph const& graph,
                                      decoder_layer<cpu>& layer, tap at, std::vector<float> scales,
                                      dtype stored) {
    std::optional<fold_target> const target = fold_target_of(graph, at);
    if (!target || scales.size() != target->channels) {
        fail_usage("scales of a tap", "fold_scales",
                   target ? std::to_string(target->channels) : "a tap whose channels can be scaled",
                   std::to_string(scales.size()));
    }
    if (target->norm) {
        cpu::vector& norm = layer.norm(*target->norm);
        for (std::size_t c = 0; c < scales.size(); ++c) {
            detail::divide_stored(stored, norm[c], scales[c]);
        }
    } else {
        linear_weights<cpu>& made_by = layer.linears[target->row];
        if (!made_by.bias.empty()) {
            for (std::size_t c = 0; c < scales.size(); ++c) {
                detail::divide_stored(stored, made_by.bias[target->first_row + c], scales[c]);
            }
        }
        cpu::view const rows = made_by.weight.view().rows_at(target->first_row, scales.size());
        parallel_for(rows.rows, 16, b.threads, [&](std::size_t begin, std::size_t end) {
            for (std::size_t c = begin; c < end; ++c) {
                for (std::size_t j = 0; j < rows.cols; ++j) {
                    rows(c, j) /= scales[c];
                }
            }
        });
    }
    for (std::size_t r = 0; r < layer.linears.size(); ++r) {
        if (graph.family().linears[r].input != at) {
            continue;
        }
        cpu::view const w = layer.linears[r].weight.view();
        parallel_for(w.rows, 16, b.threads, [&](std::size_t begin, std::size_t end) {
            for (std::size_t i = begin; i < end; ++i) {
                for (std::size_t j = 0; j < w.cols; ++j) {
                    w(i, j) *= scales[fold_channel(graph.config(), at, j)];
                }
            }
        });
    }
    return scales;
}

}  // namespace fpq
