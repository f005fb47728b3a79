// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Which W4A16 path serves a problem, with which grid and workspace: a pure function of
// shapes, tested without a GPU.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fpq/core/float_type.hpp"
#include "fpq/cuda/gemm/w4a16_args.hpp"
#include "fpq/cuda/gemm/w4a16_tiles_map.hpp"
#include "fpq/format/block.hpp"
#include "fpq/format/scale_layout.hpp"

namespace fpq::cuda {

/// out (m, n) = alpha * x (m, k) * w (n, k)^T + bias (n); w in NVFP4 or MXFP4.
struct w4a16_problem {
    quant_format format = nvfp4;
    scale_order scales = scale_order::row_major;
    float_type activations = float_type::bf16;
    float_type out = float_type::bf16;
    std::size_t m = 0;
    std::size_t n = 0;
    std::size_t k = 0;
};

/// stream: weights through registers once per 16 tokens. tiles: warpgroup MMA, weights decoded once
/// per 128 tokens, sm_90a. dequantize_gemm: weights to 16 bits in the workspace, then cuBLASLt.
/// reference: one thread an output, any shape.
enum class w4a16_path : std::uint8_t { stream, tiles, dequantize_gemm, reference };

/// What the chooser may know beyond the shapes.
struct w4a16_means {
    int multiprocessors = 0;
    bool aligned = true;  // codes start on 16 bytes, scales on 4
    bool blas = false;    // a cuBLASLt handle was given
    bool tiles = false;   // the device and the build have warpgroup MMA
};

/// The choice. Grid of the streaming kernel: (ctas, windows, token_blocks); of the tiles:
/// (windows, token_blocks, ctas).
struct w4a16_plan {
    w4a16_path path = w4a16_path::reference;
    int token_tiles = 1;  // tiles of 8 tokens a CTA holds: 1 or 2; of the tiles path 4, 8 or 16
    bool single = false;  // the stream path's kernel for one token; k is a multiple of 64
    int token_blocks = 1;
    int windows = 1;
    int chunks_per_window = 1;  // of 128 columns; of the tiles path of 256
    int ctas = 1;
    // The workspace: for stream, counters (zeroed by the caller once) and partial sums; for tiles,
    // counters, the activations in the kernel's order and partial sums; for dequantize_gemm, two
    // factors, the weights in 16 bits and cuBLASLt's own scratch.
    std::size_t head_bytes = 0;
    std::size_t body_bytes = 0;
    std::size_t workspace_bytes = 0;  // in all
};

/// Scratch offered to cuBLASLt, in bytes; what its documentation advises for Hopper.
inline constexpr std::size_t w4a16_blas_scratch = std::size_t{32} << 20;

/// Above this many tokens, and with cuBLASLt, dequantizing once is cheaper than streaming the
/// weights again for each 16 tokens.
inline constexpr std::size_t w4a16_stream_tokens = 64;

/// From so many tokens on, and up to so many when there is cuBLASLt, the tiles are the fastest path
/// or within 4 % of it at the sizes measured on an H200 (docs/performance-cuda.md).
inline constexpr std::size_t w4a16_tiles_least = 17;
inline constexpr std::size_t w4a16_tiles_most = 512;

/// Fills the plan of the tiles path: the least tile of 32, 64 or 128 tokens, and as many splits of
/// k as leave no multiprocessor with two CTAs.
constexpr void plan_tiles(w4a16_plan& plan, w4a16_problem const& p, int multiprocessors) noexcept {
    plan.path = w4a16_path::tiles;
    plan.token_tiles = p.m <= 32 ? 4 : p.m <= 64 ? 8 : 16;
    auto const tokens = static_cast<unsigned>(8 * plan.token_tiles);
    plan.token_blocks = static_cast<int>((p.m + tokens - 1) / tokens);
    plan.ctas = static_cast<int>((p.n + w4a16_tiles::rows - 1) / w4a16_tiles::rows);
    int const tiles = plan.token_blocks * plan.ctas;
    int const blocks = static_cast<int>((p.k + w4a16_tiles::block - 1) / w4a16_tiles::block);
    int windows = multiprocessors / tiles;
    windows = windows < blocks ? windows : blocks;
    windows = windows < w4a16_tiles::most_splits ? windows : w4a16_tiles::most_splits;
    bool const counted =
        static_cast<std::size_t>(tiles) * w4a16_tiles::groups * 2 * sizeof(unsigned) <=
        w4a16_tiles::head_bytes;
    windows = windows > 1 && counted ? windows : 1;
    plan.chunks_per_window = (blocks + windows - 1) / windows;
    plan.windows = (blocks + plan.chunks_per_window - 1) / plan.chunks_per_window;
    std::size_t const outputs = std::size_t{tokens} * w4a16_tiles::rows;  // of a tile
    plan.head_bytes = w4a16_tiles::head_bytes;
    plan.body_bytes = static_cast<std::size_t>(plan.token_blocks * blocks) * 512 * tokens;
    plan.workspace_bytes =
        plan.head_bytes + plan.body_bytes +
        (plan.windows > 1 ? static_cast<std::size_t>(plan.windows * tiles) * outputs * 4 : 0);
}

/// Chooses path and grid. The windows of k are as many as keep every multiprocessor busy, so the
/// order of additions depends on the shapes and the device, never on timing.
constexpr w4a16_plan choose_w4a16(w4a16_problem const& p, w4a16_means const& with) noexcept {
    w4a16_plan plan;
    bool const can_stream = with.aligned && p.k % 32 == 0;
    // cuBLASLt multiplies one 16-bit type into itself or into fp32.
    bool const blas = with.blas && (p.out == float_type::fp32 || p.out == p.activations);
    int const sms = with.multiprocessors > 0 ? with.multiprocessors : 1;
    if (with.tiles && with.aligned && p.k % 64 == 0 && p.m >= w4a16_tiles_least &&
        (!blas || p.m <= w4a16_tiles_most)) {
        plan_tiles(plan, p, sms);
        return plan;
    }
    if (blas && (p.m > w4a16_stream_tokens || !can_stream)) {
        plan.path = w4a16_path::dequantize_gemm;
        plan.head_bytes = 256;
        plan.body_bytes = round_up(p.n * p.k * 2, 256);
        plan.workspace_bytes = plan.head_bytes + plan.body_bytes + w4a16_blas_scratch;
        return plan;
    }
    if (!can_stream) {
        return plan;
    }
    plan.path = w4a16_path::stream;
    plan.token_tiles = p.m <= 8 ? 1 : 2;
    plan.single = p.m == 1 && p.k % 64 == 0;
    auto const block = static_cast<std::size_t>(8 * plan.token_tiles);
    plan.token_blocks = static_cast<int>((p.m + block - 1) / block);
    int const chunks = static_cast<int>((p.k + 127) / 128);
    int const tiles = static_cast<int>((p.n + 15) / 16);
    int const held = w4a16_stream::window_chunks;
    int windows = (chunks + held - 1) / held;
    // Few rows: more windows, down to 8 chunks each, until there is a CTA for each multiprocessor.
    while (tiles * plan.token_blocks * windows * 2 <= sms && chunks / (windows * 2) >= 8) {
        windows *= 2;
    }
    plan.chunks_per_window = (chunks + windows - 1) / windows;
    plan.windows = (chunks + plan.chunks_per_window - 1) / plan.chunks_per_window;
    int const share = sms / plan.windows > 0 ? sms / plan.windows : 1;
    plan.ctas = tiles < share ? tiles : share;
    if (plan.windows > 1) {
        plan.head_bytes =
            round_up(static_cast<std::size_t>(plan.ctas) * plan.token_blocks * 4, 256);
        plan.body_bytes = plan.windows * p.m * p.n * sizeof(float);
        plan.workspace_bytes = plan.head_bytes + plan.body_bytes;
    }
    return plan;
}

}  // namespace fpq::cuda
