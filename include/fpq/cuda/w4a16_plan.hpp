// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Which W4A16 path serves a problem, with which grid and workspace: a pure function of
// shapes, tested without a GPU.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fpq/cuda/types.hpp"
#include "fpq/cuda/w4a16_args.hpp"
#include "fpq/format/scale_layout.hpp"

namespace fpq::cuda {

/// out (m, n) = alpha * x (m, k) * w (n, k)^T + bias (n); w in NVFP4 or MXFP4.
struct w4a16_problem {
    block_format format = block_format::nvfp4;
    scale_order scales = scale_order::row_major;
    float_type activations = float_type::bf16;
    float_type out = float_type::bf16;
    std::size_t m = 0;
    std::size_t n = 0;
    std::size_t k = 0;
};

/// stream: weights through registers once per 16 tokens. dequantize_gemm: weights to 16 bits in the
/// workspace, then cuBLASLt. reference: one thread an output, any shape.
enum class w4a16_path : std::uint8_t { stream, dequantize_gemm, reference };

/// What the chooser may know beyond the shapes.
struct w4a16_means {
    int multiprocessors = 0;
    bool aligned = true;  // codes start on 16 bytes
    bool blas = false;    // a cuBLASLt handle was given
};

/// The choice. Grid of the streaming kernel: (ctas, windows, token_blocks).
struct w4a16_plan {
    w4a16_path path = w4a16_path::reference;
    int token_tiles = 1;  // tiles of 8 tokens a CTA holds: 1 or 2
    int token_blocks = 1;
    int windows = 1;
    int chunks_per_window = 1;
    int ctas = 1;
    // The workspace: for stream, counters (zeroed by the caller once) and partial sums; for
    // dequantize_gemm, two factors, the weights in 16 bits and cuBLASLt's own scratch.
    std::size_t head_bytes = 0;
    std::size_t body_bytes = 0;
    std::size_t workspace_bytes = 0;  // in all
};

/// Scratch offered to cuBLASLt, in bytes; what its documentation advises for Hopper.
inline constexpr std::size_t w4a16_blas_scratch = std::size_t{32} << 20;

/// Above this many tokens, and with cuBLASLt, dequantizing once is cheaper than streaming the
/// weights again for each 16 tokens.
inline constexpr std::size_t w4a16_stream_tokens = 64;

/// Chooses path and grid. The windows of k are as many as keep every multiprocessor busy, so the
/// order of additions depends on the shapes and the device, never on timing.
constexpr w4a16_plan choose_w4a16(w4a16_problem const& p, w4a16_means const& with) noexcept {
    w4a16_plan plan;
    bool const can_stream = with.aligned && p.k % 32 == 0;
    // cuBLASLt multiplies one 16-bit type into itself or into fp32.
    bool const blas = with.blas && (p.out == float_type::fp32 || p.out == p.activations);
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
    auto const block = static_cast<std::size_t>(8 * plan.token_tiles);
    plan.token_blocks = static_cast<int>((p.m + block - 1) / block);
    int const chunks = static_cast<int>((p.k + 127) / 128);
    int const tiles = static_cast<int>((p.n + 15) / 16);
    int const sms = with.multiprocessors > 0 ? with.multiprocessors : 1;
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
