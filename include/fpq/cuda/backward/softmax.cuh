// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Backward kernels behind a softmax: of attention's scores, and of logits with their
// labels. A block a row, which is read from memory as often as it is needed.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fpq/core/bits.hpp"
#include "fpq/core/half.hpp"
#include "fpq/cuda/api/backward.hpp"
#include "fpq/cuda/backward/row_sums.cuh"

namespace fpq::cuda {

/// Grid: queries in x, heads in y.
__global__ void __launch_bounds__(backward_threads)
    attention_scores_kernel(attention_scores_args const a) {
    std::size_t const keys = a.first + a.queries;
    std::size_t const begin = (std::size_t{blockIdx.y} * a.queries + blockIdx.x) * keys;
    std::size_t const visible = a.first + blockIdx.x + 1;
    float const* const scores = a.scores + begin;
    float const* const dp = a.dp + begin;
    float most = -3.402823466e+38F;
    for (std::size_t j = threadIdx.x; j < visible; j += backward_threads) {
        most = fmaxf(most, scores[j]);
    }
    most = joined_in_block(most, larger_value{});
    float sum = 0;
    float dot = 0;
    for (std::size_t j = threadIdx.x; j < visible; j += backward_threads) {
        float const e = __expf(a.scale * (scores[j] - most));
        sum += e;
        dot += e * dp[j];
    }
    sum = joined_in_block(sum, add_values{});
    dot = joined_in_block(dot, add_values{});
    float const inverse = 1.0F / sum;
    float const mean = dot * inverse;
    for (std::size_t j = threadIdx.x; j < keys; j += backward_threads) {
        float p = 0;
        float ds = 0;
        if (j < visible) {
            p = __expf(a.scale * (scores[j] - most)) * inverse;
            ds = a.scale * p * (dp[j] - mean);
        }
        a.p[begin + j] = to_bf16(p);
        a.ds[begin + j] = to_bf16(ds);
    }
}

/// Logits of a stretch whose probabilities one warp adds up.
inline constexpr std::uint32_t label_stretch = 1024;
inline constexpr std::uint32_t most_stretches = 1024;  // a vocabulary of 2^20

/// Where the sum of e^(logit - most) passes goal, from token `begin` of a stretch on, of which
/// `before` lies before; the last token of the stretch where rounding lets it pass none. One warp.
__device__ inline std::uint32_t drawn_in_stretch(float const* logits, std::uint32_t begin,
                                                 std::uint32_t end, float most, double before,
                                                 double goal) {
    std::uint32_t const lane = threadIdx.x % 32;
    for (std::uint32_t first = begin; first < end; first += 32) {
        std::uint32_t const j = first + lane;
        double sum = j < end ? static_cast<double>(__expf(logits[j] - most)) : 0.0;
        FPQ_UNROLL
        for (int distance = 1; distance < 32; distance *= 2) {
            double const lower = __shfl_up_sync(0xFFFFFFFFu, sum, distance);
            sum += lane >= static_cast<std::uint32_t>(distance) ? lower : 0.0;
        }
        std::uint32_t const passed = __ballot_sync(0xFFFFFFFFu, before + sum > goal && j < end);
        if (passed != 0) {
            return first + static_cast<std::uint32_t>(__ffs(static_cast<int>(passed)) - 1);
        }
        before += __shfl_sync(0xFFFFFFFFu, sum, 31);
    }
    return end - 1;
}

/// Grid: one block a row.
__global__ void __launch_bounds__(backward_threads)
    cross_entropy_kernel(cross_entropy_args const a) {
    __shared__ double stretches[most_stretches];
    __shared__ std::int32_t chosen;
    std::size_t const row = blockIdx.x;
    auto const vocab = static_cast<std::uint32_t>(a.vocab);
    float const* const logits = a.logits + row * a.vocab;
    bf16* const gradient = a.gradient + row * a.vocab;
    bool const draws = a.uniform != nullptr;
    if (!draws && a.labels[row] < 0) {
        for (std::uint32_t j = threadIdx.x; j < vocab; j += backward_threads) {
            gradient[j] = to_bf16(0.0F);
        }
        if (threadIdx.x == 0) {
            a.nll[row] = a.square[row] = 0;
        }
        return;
    }
    float most = -3.402823466e+38F;
    for (std::uint32_t j = threadIdx.x; j < vocab; j += backward_threads) {
        most = fmaxf(most, logits[j]);
    }
    most = joined_in_block(most, larger_value{});
    std::uint32_t const count = (vocab + label_stretch - 1) / label_stretch;
    for (std::uint32_t s = threadIdx.x / 32; s < count; s += backward_threads / 32) {
        std::uint32_t const end = min(vocab, (s + 1) * label_stretch);
        float sum = 0;
        for (std::uint32_t j = s * label_stretch + threadIdx.x % 32; j < end; j += 32) {
            sum += __expf(logits[j] - most);
        }
        double const whole = joined_in_warp(static_cast<double>(sum), add_values{});
        if (threadIdx.x % 32 == 0) {
            stretches[s] = whole;
        }
    }
    __syncthreads();
    double total = 0;
    for (std::uint32_t s = 0; s < count; ++s) {
        total += stretches[s];
    }
    if (threadIdx.x < 32) {
        std::int32_t label = draws ? 0 : a.labels[row];
        if (draws) {
            double const goal = static_cast<double>(a.uniform[row]) * total;
            double before = 0;
            std::uint32_t s = 0;
            while (s + 1 < count && !(before + stretches[s] > goal)) {
                before += stretches[s++];
            }
            label = static_cast<std::int32_t>(drawn_in_stretch(logits, s * label_stretch,
                                                               min(vocab, (s + 1) * label_stretch),
                                                               most, before, goal));
        }
        if (threadIdx.x == 0) {
            chosen = label;
        }
    }
    __syncthreads();
    auto const label = static_cast<std::uint32_t>(chosen);
    auto const inverse = static_cast<float>(1.0 / total);
    float square = 0;
    for (std::uint32_t j = threadIdx.x; j < vocab; j += backward_threads) {
        float const g = __expf(logits[j] - most) * inverse - (j == label ? 1.0F : 0.0F);
        square += g * g;
        gradient[j] = to_bf16(g);
    }
    square = joined_in_block(square, add_values{});
    if (threadIdx.x == 0) {
        a.labels[row] = chosen;
        a.square[row] = square;
        a.nll[row] = static_cast<float>(log(total) + static_cast<double>(most) -
                                        static_cast<double>(logits[label]));
    }
}

}  // namespace fpq::cuda
