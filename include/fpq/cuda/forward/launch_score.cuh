// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Definitions of launch_score_tile, launch_score_finish and launch_score.
#pragma once

#include <cublas_v2.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "fpq/cuda/api/score.hpp"
#include "fpq/cuda/forward/checks.hpp"
#include "fpq/cuda/forward/score.cuh"
#include "fpq/cuda/gptq/linear_algebra.hpp"

namespace fpq::cuda {

namespace detail {

template <class Logit, int Width>
void launch_score_width(score_tile_args const& a, cudaStream_t stream) {
    score_work<Logit> const work{static_cast<Logit const*>(a.logits),
                                 static_cast<Logit const*>(a.reference),
                                 a.stride,
                                 static_cast<std::uint32_t>(a.first),
                                 static_cast<std::uint32_t>(a.cols),
                                 a.targets,
                                 a.states};
    auto const blocks = static_cast<unsigned>(a.rows);
    if (a.reference != nullptr) {
        score_kernel<Logit, Width, true><<<blocks, score_threads, 0, stream>>>(work);
    } else {
        score_kernel<Logit, Width, false><<<blocks, score_threads, 0, stream>>>(work);
    }
}

template <class Logit>
void launch_score_type(score_tile_args const& a, cudaStream_t stream) {
    if (a.cols % 8 == 0 && a.stride % 8 == 0 && on_16_bytes({a.logits, a.reference})) {
        launch_score_width<Logit, 8>(a, stream);
    } else {
        launch_score_width<Logit, 1>(a, stream);
    }
}

/// out (rows, cols) = hidden (rows, n) head (cols, n)^T.
inline status multiply_head(linear_algebra& libraries, bf16 const* hidden, bf16 const* head,
                            std::size_t n, std::size_t rows, std::size_t cols, float_type type,
                            void* out) {
    float const one = 1.0F;
    float const none = 0.0F;
    auto const number = [](std::size_t x) { return static_cast<int>(x); };
    return from_cublas(
        cublasGemmEx(libraries.blas(), CUBLAS_OP_T, CUBLAS_OP_N, number(cols), number(rows),
                     number(n), &one, head, CUDA_R_16BF, number(n), hidden, CUDA_R_16BF, number(n),
                     &none, out, type == float_type::bf16 ? CUDA_R_16BF : CUDA_R_32F, number(cols),
                     CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
        "launch_score: cublasGemmEx");
}

inline status check_score(score_args const& a) {
    char const* const who = "launch_score";
    status s = check_rows(who, a.rows, a.model.cols);
    if (s.ok() && (a.vocab == 0 || a.vocab > 0x7FFFFFFFu)) {
        s = refuse("launch_score: vocab", "1 to 2147483647", static_cast<long long>(a.vocab));
    }
    if (s.ok() && (a.tile_rows == 0 || a.tile_cols == 0)) {
        s = refuse(who, "tiles of a row and a column or more", "none");
    }
    if (s.ok() && a.logits == float_type::fp16) {
        s = unsupported(who, "fp32 or bf16 logits", name_of(a.logits));
    }
    s = first_error(s, check_given(who, {a.model.hidden, a.model.head, a.targets, a.out}));
    if (a.reference.hidden != nullptr) {
        s = first_error(s, check_rows(who, a.rows, a.reference.cols));
        s = first_error(s, check_given(who, {a.reference.head}));
    }
    return s;
}

}  // namespace detail

status launch_score_tile(score_tile_args const& a, cudaStream_t stream) {
    char const* const who = "launch_score_tile";
    if (status s = check_rows(who, a.rows, a.cols); !s.ok() || a.rows == 0) {
        return s;
    }
    if (status s = check_given(who, {a.logits, a.targets, a.states}); !s.ok()) {
        return s;
    }
    if (a.stride < a.cols) {
        return refuse("launch_score_tile: stride", "cols or more",
                      static_cast<long long>(a.stride));
    }
    if (a.first + a.cols > 0x7FFFFFFFu) {
        return refuse("launch_score_tile: first", "a vocabulary up to 2147483647",
                      static_cast<long long>(a.first));
    }
    if (a.type == float_type::fp16) {
        return unsupported(who, "fp32 or bf16 logits", name_of(a.type));
    }
    a.type == float_type::bf16 ? detail::launch_score_type<bf16>(a, stream)
                               : detail::launch_score_type<float>(a, stream);
    return after_launch(who);
}

status launch_score_finish(score_state const* states, std::int32_t const* targets, std::size_t rows,
                           bool reference, position_score* out, cudaStream_t stream) {
    char const* const who = "launch_score_finish";
    if (status s = check_rows(who, rows, 1); !s.ok() || rows == 0) {
        return s;
    }
    if (status s = check_given(who, {states, targets, out}); !s.ok()) {
        return s;
    }
    score_finish_kernel<void><<<static_cast<unsigned>((rows + score_threads - 1) / score_threads),
                                score_threads, 0, stream>>>(states, targets, rows, reference, out);
    return after_launch(who);
}

status launch_score(linear_algebra& libraries, cudaStream_t stream, score_args const& a,
                    score_workspace& workspace) {
    status s = detail::check_score(a);
    if (!s.ok() || a.rows == 0) {
        return s;
    }
    bool const reference = a.reference.hidden != nullptr;
    std::size_t const tile_rows = std::min(a.tile_rows, a.rows);
    std::size_t const tile_cols = std::min(a.tile_cols, a.vocab);
    // On 256 bytes, as cuBLAS likes its matrices.
    std::size_t const bytes = (tile_rows * tile_cols * float_bytes(a.logits) + 255) / 256 * 256;
    s = first_error(ensure(workspace.logits, bytes * (reference ? 2 : 1)),
                    ensure(workspace.states, tile_rows));
    s = s.ok() ? libraries.use(stream) : s;
    void* const logits = workspace.logits.data();
    void* const reference_logits = reference ? workspace.logits.data() + bytes : nullptr;
    for (std::size_t row = 0; row < a.rows && s.ok(); row += tile_rows) {
        score_tile_args tile;
        tile.logits = logits;
        tile.reference = reference_logits;
        tile.type = a.logits;
        tile.rows = std::min(tile_rows, a.rows - row);
        tile.targets = a.targets + row;
        tile.states = workspace.states.data();
        for (std::size_t col = 0; col < a.vocab && s.ok(); col += tile_cols) {
            tile.first = col;
            tile.cols = std::min(tile_cols, a.vocab - col);
            tile.stride = tile.cols;
            auto const multiply = [&](score_model const& m, void* to) {
                return detail::multiply_head(libraries, m.hidden + row * m.cols,
                                             m.head + col * m.cols, m.cols, tile.rows, tile.cols,
                                             a.logits, to);
            };
            s = multiply(a.model, logits);
            if (s.ok() && reference) {
                s = multiply(a.reference, reference_logits);
            }
            s = s.ok() ? launch_score_tile(tile, stream) : s;
        }
        s = s.ok() ? launch_score_finish(tile.states, tile.targets, tile.rows, reference,
                                         a.out + row, stream)
                   : s;
    }
    return s;
}

}  // namespace fpq::cuda
