// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Launchers that score positions by a model's logits and, where there is one, by those
// of a reference: negative log-likelihood of the next token, KL(reference || model), same top
// token. The vocabulary goes by tiles; no more than one tile of logits a model is in memory. Part
// "forward".
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "fpq/core/half.hpp"
#include "fpq/cuda/api/buffer.hpp"
#include "fpq/cuda/api/status.hpp"
#include "fpq/cuda/api/vocabulary.hpp"
#include "fpq/cuda/forward/score_state.hpp"

namespace fpq::cuda {

class linear_algebra;  // fpq/cuda/gptq/linear_algebra.hpp

/// Logits of a stretch of the vocabulary, tokens [first, first + cols), at `rows` positions.
struct score_tile_args {
    void const* logits = nullptr;     // (rows, cols), row i at i * stride values
    void const* reference = nullptr;  // the same of the reference, or null
    std::size_t stride = 0;
    float_type type = float_type::fp32;  // of both: fp32 or bf16
    std::size_t rows = 0;
    std::size_t first = 0;
    std::size_t cols = 0;
    std::int32_t const* targets = nullptr;  // (rows) next tokens; a negative one: none
    score_state* states = nullptr;          // (rows)
};

/// Takes one tile into the states; the tile with `first` 0 comes first and makes them new.
/// e^x in float32 (about 2^-21 of relative error), sums of a thread's values in float32, all others
/// in double, in a fixed order.
status launch_score_tile(score_tile_args const& args, cudaStream_t stream);

/// out (rows) from the states after the last tile. `reference`: there was one.
status launch_score_finish(score_state const* states, std::int32_t const* targets, std::size_t rows,
                           bool reference, position_score* out, cudaStream_t stream);

/// Normed hidden states and the head they are multiplied by.
struct score_model {
    bf16 const* hidden = nullptr;  // (rows, cols)
    bf16 const* head = nullptr;    // (vocab, cols)
    std::size_t cols = 0;
};

struct score_args {
    score_model model;
    score_model reference;  // hidden null: none
    std::size_t rows = 0;
    std::size_t vocab = 0;
    std::int32_t const* targets = nullptr;  // (rows), as above
    position_score* out = nullptr;          // (rows)
    float_type logits = float_type::fp32;   // how products are stored: fp32, or bf16 for half the
                                            //   traffic
    std::size_t tile_rows = 4096;           // of logits that are held at once; sums do not depend
    std::size_t tile_cols = 8192;           //   on tile_rows, cuBLAS' products may
};

/// Memory of launch_score, kept from call to call: (tile_rows, tile_cols) logits a model.
struct score_workspace {
    device_buffer<unsigned char> logits;
    device_buffer<score_state> states;
};

/// Scores `rows` positions; the head's products by cuBLAS, bf16 with float32 sums. Asynchronous but
/// for the workspace's growth.
status launch_score(linear_algebra& libraries, cudaStream_t stream, score_args const& args,
                    score_workspace& workspace);

}  // namespace fpq::cuda
