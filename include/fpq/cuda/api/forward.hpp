// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Launchers of the part "forward": what a decoder does beside its linears. Semantics are
// those of the CPU's forward pass; values between the steps are bf16, sums and statistics float32.
// All pointers are device pointers, all matrices row-major; work is queued on `stream`. The same
// call gives the same bits in every run, and a row's (a window's) results do not depend on what
// else is in the batch.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "fpq/core/half.hpp"
#include "fpq/cuda/api/quantize.hpp"
#include "fpq/cuda/api/status.hpp"
#include "fpq/cuda/api/vocabulary.hpp"

namespace fpq::cuda {

/// The residual stream: (rows, cols), dense, bf16 or fp32.
struct stream_matrix {
    void* data = nullptr;
    float_type type = float_type::bf16;
    std::size_t rows = 0;
    std::size_t cols = 0;
};

/// out (count, cols) = rows of table (vocab, cols); a token outside the vocabulary gives NaN.
status launch_embed(std::int32_t const* tokens, bf16 const* table, std::size_t vocab,
                    stream_matrix const& out, cudaStream_t stream);

/// x += added (rows, cols), rounded to x's type.
status launch_add(stream_matrix const& x, bf16 const* added, cudaStream_t stream);

/// out (rows, cols) bf16 = weight * (x * (1 / sqrt(mean(x^2) + eps))); with `added`, first
/// x += added as launch_add does, and x is stored. Refuses cols that are no multiple of 8 or above
/// 16384, and addresses that are not on 16 bytes.
status launch_rms_norm(stream_matrix const& x, bf16 const* added, float const* weight, float eps,
                       bf16* out, cudaStream_t stream);

/// A (rows, cols) bf16 matrix inside another: row i begins at data + i * stride.
struct bf16_rows {
    bf16* data = nullptr;
    std::size_t stride = 0;  // values from row to row
};

/// out (rows, cols) = gate / (1 + e^-gate) * up in float32, rounded once. out may be gate or up.
/// Rows on 16 bytes and cols a multiple of 8 are fast; all are served.
status launch_silu_mul(bf16_rows const& gate, bf16_rows const& up, std::size_t rows,
                       std::size_t cols, bf16_rows const& out, cudaStream_t stream);

/// y (rows, cols) += bias (cols), rounded once.
status launch_add_bias(bf16_rows const& y, std::size_t rows, std::size_t cols, float const* bias,
                       cudaStream_t stream);

/// out (rows, cols; `type`; row i at out + i * out_stride values) = x rounded to nearest. Where
/// `live` (cols) is not null, columns that it has no positive value for become 0.
status launch_convert(float_matrix const& x, float const* live, float_type type, void* out,
                      std::size_t out_stride, cudaStream_t stream);

/// Query and key heads of tokens, and where they turn to.
struct rope_args {
    bf16_rows q;  // (tokens, heads * head_dim), in place
    bf16_rows k;  // (tokens, kv_heads * head_dim), in place
    std::size_t tokens = 0;
    std::size_t heads = 0;
    std::size_t kv_heads = 0;
    std::size_t head_dim = 0;
    float const* cos = nullptr;  // (positions, head_dim / 2), as fpq::rope_table has them
    float const* sin = nullptr;
    std::size_t length = 0;                   // token t is at position t % length of its window,
    std::int32_t const* positions = nullptr;  // or, where not null, at positions[t]
    float const* q_norm = nullptr;            // (head_dim), or null: heads are not normed;
    float const* k_norm = nullptr;            //   both or none
    float eps = 0;
    // Where slots are given, k stays as it is, and token t's keys, rotated, and values go to row
    // slots[t] of these, unless that is negative.
    std::int32_t const* slots = nullptr;  // (tokens)
    bf16_rows v;                          // (tokens, kv_heads * head_dim)
    bf16_rows keys;                       // (rows, kv_heads * head_dim)
    bf16_rows values;
};

/// RMSNorm of every head (where there are weights), then value i with value i + head_dim / 2 by the
/// position's angle; in float32, rounded once. Refuses head_dim that is no multiple of 8 or above
/// 256, and rows that do not begin on 16 bytes. Positions must lie inside the tables.
status launch_rope(rope_args const& args, cudaStream_t stream);

/// Windows of equal length, one below the other, with grouped key and value heads.
struct attention_args {
    bf16_rows q;    // (windows * length, heads * head_dim)
    bf16_rows k;    // (windows * length, kv_heads * head_dim), rotated
    bf16_rows v;    // the same
    bf16_rows out;  // as q; not q, k or v themselves
    std::size_t windows = 0;
    std::size_t length = 0;
    std::size_t heads = 0;
    std::size_t kv_heads = 0;  // divides heads
    std::size_t head_dim = 0;
    std::size_t sliding = 0;  // token i sees the last `sliding` tokens up to itself; 0: all
    float scale = 0;          // of q k^T; 0: 1 / sqrt(head_dim)
};

/// out = softmax(scale q k^T, causal) v. Products of bf16 with float32 sums on the tensor cores
/// (mma.sync, sm_80 and later), probabilities rounded to bf16 before the second, softmax in
/// float32 with a running maximum. Refuses head_dim that is no multiple of 8 or above 256, and rows
/// that do not begin on 16 bytes.
/// Kernels are made for head_dim 64, 80, 96, 128 and 256; others use the next larger one.
status launch_attention(attention_args const& args, cudaStream_t stream);

/// One token of each sequence against the keys and values of its sequence so far.
struct cached_attention_args {
    bf16_rows q;  // (sequences, heads * head_dim)
    bf16_rows k;  // (sequences * capacity, kv_heads * head_dim), rotated, this token's among them;
    bf16_rows v;  //   of a sequence the first `length` rows are read
    bf16_rows out;  // as q, and may be q
    std::size_t sequences = 0;
    std::size_t capacity = 0;  // rows of a sequence
    std::size_t length = 0;    // 1 to capacity
    std::size_t heads = 0;
    std::size_t kv_heads = 0;  // divides heads
    std::size_t head_dim = 0;
    float scale = 0;  // of q k^T; 0: 1 / sqrt(head_dim)
};

/// out = softmax(scale q k^T) v, all in float32, rounded once. The same refusals as those of
/// launch_attention.
status launch_cached_attention(cached_attention_args const& args, cudaStream_t stream);

}  // namespace fpq::cuda
