// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Definitions of the launchers in api/backward.hpp: checks, then the kernel.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>

#include "fpq/cuda/api/backward.hpp"
#include "fpq/cuda/backward/rows.cuh"
#include "fpq/cuda/backward/softmax.cuh"
#include "fpq/cuda/forward/checks.hpp"

namespace fpq::cuda {

namespace detail {

/// Rows that are wide enough, and given.
inline status check_matrices(char const* who, std::size_t rows, std::size_t cols,
                             std::initializer_list<bf16_rows> matrices) noexcept {
    if (status s = check_rows(who, rows, cols); !s.ok() || rows == 0) {
        return s;
    }
    for (bf16_rows const& m : matrices) {
        if (m.data == nullptr) {
            return refuse(who, "device pointers", "null");
        }
        if (m.stride < cols) {
            return refuse_in(who, "stride", "cols or more", static_cast<long long>(m.stride));
        }
    }
    return {};
}

/// Blocks for kernels that take a value a thread.
inline dim3 grid_of_values(std::size_t rows, std::size_t cols) noexcept {
    return {static_cast<unsigned>((cols + backward_threads - 1) / backward_threads),
            static_cast<unsigned>(std::min<std::size_t>(rows, 65535))};
}

}  // namespace detail

status launch_rms_norm_backward(bf16_rows const& x, float const* weight, float eps,
                                std::size_t rows, std::size_t cols, bf16_rows const& dy,
                                bf16_rows const& dx, cudaStream_t stream) {
    char const* const who = "launch_rms_norm_backward";
    if (status s = detail::check_matrices(who, rows, cols, {x, dy, dx}); !s.ok() || rows == 0) {
        return s;
    }
    if (status s = check_given(who, {weight}); !s.ok()) {
        return s;
    }
    rms_norm_backward_kernel<<<static_cast<unsigned>(rows), backward_threads, 0, stream>>>(
        x, weight, eps, static_cast<std::uint32_t>(cols), dy, dx);
    return after_launch(who);
}

status launch_silu_mul_backward(bf16_rows const& dy, bf16_rows const& gate, bf16_rows const& up,
                                std::size_t rows, std::size_t cols, cudaStream_t stream) {
    char const* const who = "launch_silu_mul_backward";
    if (status s = detail::check_matrices(who, rows, cols, {dy, gate, up}); !s.ok() || rows == 0) {
        return s;
    }
    silu_mul_backward_kernel<<<detail::grid_of_values(rows, cols), backward_threads, 0, stream>>>(
        dy, gate, up, rows, static_cast<std::uint32_t>(cols));
    return after_launch(who);
}

status launch_rotate_back(rotate_back_args const& args, cudaStream_t stream) {
    char const* const who = "launch_rotate_back";
    if (args.head_dim == 0 || args.head_dim % 2 != 0 || args.head_dim > 64 * rotate_pairs) {
        return refuse_in(who, "head_dim", "an even number up to 256",
                         static_cast<long long>(args.head_dim));
    }
    std::size_t const cols = args.heads * args.head_dim;
    if (status s = detail::check_matrices(who, args.tokens, cols, {args.d});
        !s.ok() || args.tokens == 0) {
        return s;
    }
    if (status s = check_given(who, {args.cos, args.sin}); !s.ok()) {
        return s;
    }
    if (args.length == 0) {
        return refuse_in(who, "length", "1 or more", 0LL);
    }
    if (args.norm != nullptr) {
        if (status s = detail::check_matrices(who, args.tokens, cols, {args.x}); !s.ok()) {
            return s;
        }
    }
    constexpr std::size_t heads_a_block = backward_threads / 32;
    auto const blocks =
        static_cast<unsigned>((args.tokens * args.heads + heads_a_block - 1) / heads_a_block);
    rotate_back_kernel<<<blocks, backward_threads, 0, stream>>>(args);
    return after_launch(who);
}

status launch_mean_squares(bf16_rows const& x, std::size_t rows, std::size_t cols, float* out,
                           cudaStream_t stream) {
    char const* const who = "launch_mean_squares";
    if (status s = detail::check_matrices(who, rows, cols, {x}); !s.ok() || rows == 0) {
        return s;
    }
    if (status s = check_given(who, {out}); !s.ok()) {
        return s;
    }
    mean_squares_kernel<<<static_cast<unsigned>(rows), backward_threads, 0, stream>>>(
        x, static_cast<std::uint32_t>(cols), out);
    return after_launch(who);
}

status launch_weigh_rows(bf16_rows const& x, float const* weights, std::size_t rows,
                         std::size_t cols, bf16_rows const& y, cudaStream_t stream) {
    char const* const who = "launch_weigh_rows";
    if (status s = detail::check_matrices(who, rows, cols, {x, y}); !s.ok() || rows == 0) {
        return s;
    }
    if (status s = check_given(who, {weights}); !s.ok()) {
        return s;
    }
    weigh_rows_kernel<<<detail::grid_of_values(rows, cols), backward_threads, 0, stream>>>(
        x, weights, rows, static_cast<std::uint32_t>(cols), y);
    return after_launch(who);
}

status launch_attention_scores_backward(attention_scores_args const& args, cudaStream_t stream) {
    char const* const who = "launch_attention_scores_backward";
    if (args.heads > 65535) {
        return refuse_in(who, "heads", "up to 65535", static_cast<long long>(args.heads));
    }
    if (status s = check_rows(who, args.heads * args.queries, args.first + args.queries);
        !s.ok() || args.heads * args.queries == 0) {
        return s;
    }
    if (status s = check_given(who, {args.scores, args.dp, args.p, args.ds}); !s.ok()) {
        return s;
    }
    dim3 const grid(static_cast<unsigned>(args.queries), static_cast<unsigned>(args.heads));
    attention_scores_kernel<<<grid, backward_threads, 0, stream>>>(args);
    return after_launch(who);
}

status launch_cross_entropy_backward(cross_entropy_args const& args, cudaStream_t stream) {
    char const* const who = "launch_cross_entropy_backward";
    if (status s = check_rows(who, args.rows, args.vocab); !s.ok() || args.rows == 0) {
        return s;
    }
    constexpr std::size_t most = std::size_t{label_stretch} * most_stretches;
    if (args.vocab > most) {
        return refuse_in(who, "vocab", "up to 1048576", static_cast<long long>(args.vocab));
    }
    if (status s =
            check_given(who, {args.logits, args.labels, args.gradient, args.nll, args.square});
        !s.ok()) {
        return s;
    }
    cross_entropy_kernel<<<static_cast<unsigned>(args.rows), backward_threads, 0, stream>>>(args);
    return after_launch(who);
}

}  // namespace fpq::cuda
