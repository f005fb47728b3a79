// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Launchers of the part "backward": what of a model's backward pass is no matrix
// product. Gradients are bf16 as activations are, arithmetic is float32, and every sum has one
// order. Meanings are those of the CPU's verbs (backend/cpu/backward), which are the oracle.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "fpq/core/half.hpp"
#include "fpq/cuda/api/forward.hpp"
#include "fpq/cuda/api/status.hpp"

namespace fpq::cuda {

/// dx (rows, cols) = gradient at x of launch_rms_norm, from dy at its output; dx may be dy.
status launch_rms_norm_backward(bf16_rows const& x, float const* weight, float eps,
                                std::size_t rows, std::size_t cols, bf16_rows const& dy,
                                bf16_rows const& dx, cudaStream_t stream);

/// gate and up (rows, cols), as launch_silu_mul is given them, become their gradients, from dy at
/// its output.
status launch_silu_mul_backward(bf16_rows const& dy, bf16_rows const& gate, bf16_rows const& up,
                                std::size_t rows, std::size_t cols, cudaStream_t stream);

/// Heads of tokens whose gradients turn back.
struct rotate_back_args {
    bf16_rows d;  // (tokens, heads * head_dim), in place: at what launch_rope made
    bf16_rows x;  // the same of what it was given; read only where there is a norm
    std::size_t tokens = 0;
    std::size_t heads = 0;
    std::size_t head_dim = 0;     // even, up to 256
    float const* cos = nullptr;   // (positions, head_dim / 2)
    float const* sin = nullptr;   //
    std::size_t length = 0;       // token t is at position t % length
    float const* norm = nullptr;  // (head_dim), or null
    float eps = 0;
};

/// Gradients at heads before launch_rope, from those behind it.
status launch_rotate_back(rotate_back_args const& args, cudaStream_t stream);

/// out[row] = the mean of the squares of a row of x (rows, cols).
status launch_mean_squares(bf16_rows const& x, std::size_t rows, std::size_t cols, float* out,
                           cudaStream_t stream);

/// y (rows, cols) = x with row i times sqrt(weights[i]). y may be x.
status launch_weigh_rows(bf16_rows const& x, float const* weights, std::size_t rows,
                         std::size_t cols, bf16_rows const& y, cudaStream_t stream);

/// Scores of queries [first, first + queries) of `heads` heads against the keys [0, first +
/// queries), and the same of dp = dout v^T.
struct attention_scores_args {
    float const* scores = nullptr;  // (heads, queries, keys): q k^T
    float const* dp = nullptr;      // the same
    bf16* p = nullptr;              // out: probabilities; 0 where a key comes after its query
    bf16* ds = nullptr;             // out: gradients at q k^T
    std::size_t heads = 0;
    std::size_t queries = 0;
    std::size_t first = 0;
    float scale = 0;  // of q k^T
};

/// p = softmax(scale scores, causal); ds = scale p (dp - sum of p dp along the keys).
status launch_attention_scores_backward(attention_scores_args const& args, cudaStream_t stream);

/// Logits of positions and what their labels are.
struct cross_entropy_args {
    float const* logits = nullptr;  // (rows, vocab)
    std::size_t rows = 0;
    std::size_t vocab = 0;
    float const* uniform = nullptr;  // (rows) in [0, 1): a label is drawn by it; or null
    std::int32_t* labels = nullptr;  // (rows): drawn, or given; a negative one: none
    bf16* gradient = nullptr;        // out (rows, vocab): softmax - onehot(label), or 0
    float* nll = nullptr;            // out (rows): -log p(label); NaN where logits are not finite
    float* square = nullptr;         // out (rows): squared norm of the gradient, in float32
};

/// A label is where the sum of probabilities, in the vocabulary's order, passes the uniform number.
status launch_cross_entropy_backward(cross_entropy_args const& args, cudaStream_t stream);

}  // namespace fpq::cuda
