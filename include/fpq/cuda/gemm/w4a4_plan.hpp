// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Which tile and how many splits of k serve a W4A4 problem: a pure function of shapes,
// tested without a GPU.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fpq/core/float_type.hpp"
#include "fpq/format/block.hpp"
#include "fpq/format/scale_layout.hpp"

namespace fpq::cuda {

/// out (m, n) = alpha * A (m, k) * B (n, k)^T + bias (n); A and B in the same format, NVFP4 or
/// MXFP4, k a multiple of its group.
struct w4a4_problem {
    quant_format format = nvfp4;
    float_type out = float_type::bf16;
    std::size_t m = 0;
    std::size_t n = 0;
    std::size_t k = 0;
};

/// The choice. Rows of a CTA's tile are 16, 64 or 128, its columns 128; grid (n_tiles, m_tiles,
/// splits).
struct w4a4_plan {
    int tile_m = 128;
    unsigned m_tiles = 0;
    unsigned n_tiles = 0;
    unsigned k_tiles_per_split = 0;  // k tiles are 128 wide
    unsigned splits = 1;
    std::size_t counter_bytes = 0;    // first in the workspace; zeroed by the caller once
    std::size_t workspace_bytes = 0;  // in all
};

/// Chooses tile and splits. k is split while there are no more CTAs than multiprocessors and each
/// half keeps at least four k tiles, so the order of additions depends on shapes and device alone.
constexpr w4a4_plan choose_w4a4(w4a4_problem const& p, int multiprocessors) noexcept {
    w4a4_plan plan;
    plan.tile_m = p.m <= 16 ? 16 : p.m <= 64 ? 64 : 128;
    plan.m_tiles = static_cast<unsigned>((p.m + plan.tile_m - 1) / plan.tile_m);
    plan.n_tiles = static_cast<unsigned>((p.n + 127) / 128);
    auto const k_tiles = static_cast<unsigned>((p.k + 127) / 128);
    auto const wanted = static_cast<std::size_t>(multiprocessors > 0 ? multiprocessors : 1);
    std::size_t const ctas = static_cast<std::size_t>(plan.m_tiles) * plan.n_tiles;
    unsigned splits = 1;
    while (ctas * splits <= wanted && k_tiles / (splits * 2) >= 4) {
        splits *= 2;
    }
    plan.k_tiles_per_split = (k_tiles + splits - 1) / splits;
    plan.splits = (k_tiles + plan.k_tiles_per_split - 1) / plan.k_tiles_per_split;
    if (plan.splits > 1) {
        plan.counter_bytes = round_up(ctas * sizeof(unsigned), 256);
        plan.workspace_bytes = plan.counter_bytes + plan.splits * p.m * p.n * sizeof(float);
    }
    return plan;
}

}  // namespace fpq::cuda
