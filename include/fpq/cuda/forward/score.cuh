// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Log-softmax by parts: a block walks once over one position's logits of a tile, each
// thread with a running maximum, and joins the threads' parts in a fixed tree.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fpq/core/half.hpp"
#include "fpq/cuda/forward/score_state.hpp"
#include "fpq/cuda/forward/values.cuh"
#include "fpq/cuda/ptx/float_ops.cuh"

namespace fpq::cuda {

inline constexpr int score_threads = 256;

template <class Logit>
struct score_work {
    Logit const* logits;
    Logit const* reference;
    std::size_t stride;
    std::uint32_t first;
    std::uint32_t cols;
    std::int32_t const* targets;
    score_state* states;
};

/// One thread's running part; sums in float32.
struct score_lane {
    float most = bits_of<float>(0xFF800000u);
    std::int32_t index = 0x7FFFFFFF;
    float sum = 0.0F;
    float cross = 0.0F;

    /// Takes x, logits of tokens index + 0.. ; with Cross also e^(x - most) (x - y).
    template <bool Cross, int Width>
    __device__ void take(float const (&x)[Width], float const (&y)[Width], std::int32_t at) {
        float top = x[0];
        FPQ_UNROLL
        for (int i = 1; i < Width; ++i) {
            top = fmaxf(top, x[i]);
        }
        if (top > most) {  // the fewer, the more has been seen
            float const shrink = __expf(most - top);
            sum *= shrink;
            cross *= shrink;
            most = top;
            FPQ_UNROLL
            for (int i = Width - 1; i >= 0; --i) {
                index = x[i] == top ? at + i : index;
            }
        }
        FPQ_UNROLL
        for (int i = 0; i < Width; ++i) {
            float const e = __expf(x[i] - most);
            sum += e;
            if constexpr (Cross) {
                cross = fma_rn(e, x[i] - y[i], cross);
            }
        }
    }
    __device__ score_part part() const {
        score_part out;
        out.most = most;
        out.index = index;
        out.sum = static_cast<double>(sum);
        out.cross = static_cast<double>(cross);
        return out;
    }
};

/// The parts of a warp's lanes joined, in every lane: first the maximum, so that each lane brings
/// its sums there once.
__device__ inline score_part join_warp(score_part part) {
    score_part whole = part;
    FPQ_UNROLL
    for (int distance = 16; distance > 0; distance /= 2) {
        float const most = __shfl_xor_sync(0xFFFFFFFFu, whole.most, distance);
        std::int32_t const index = __shfl_xor_sync(0xFFFFFFFFu, whole.index, distance);
        bool const other = most > whole.most || (most == whole.most && index < whole.index);
        whole.most = other ? most : whole.most;
        whole.index = other ? index : whole.index;
    }
    double const weight = part.weight(whole.most);
    whole.sum *= weight;
    whole.cross *= weight;
    FPQ_UNROLL
    for (int distance = 16; distance > 0; distance /= 2) {
        whole.sum += __shfl_xor_sync(0xFFFFFFFFu, whole.sum, distance);
        whole.cross += __shfl_xor_sync(0xFFFFFFFFu, whole.cross, distance);
    }
    return whole;
}

/// The parts of a block's threads joined, in the first warp.
__device__ inline score_part join_block(score_part part) {
    constexpr int warps = score_threads / 32;
    // Bytes: shared memory takes no type that initialises itself.
    __shared__ alignas(score_part) unsigned char bytes[warps * sizeof(score_part)];
    auto* const of_warps = reinterpret_cast<score_part*>(bytes);
    score_part const joined = join_warp(part);
    __syncthreads();  // of_warps may still be read by the call before
    if (threadIdx.x % 32 == 0) {
        of_warps[threadIdx.x / 32] = joined;
    }
    __syncthreads();
    return threadIdx.x < 32 ? join_warp(threadIdx.x < warps ? of_warps[threadIdx.x] : score_part{})
                            : joined;
}

/// Block i: row i of the tile.
template <class Logit, int Width, bool Reference>
__global__ void __launch_bounds__(score_threads) score_kernel(score_work<Logit> const work) {
    Logit const* const x = work.logits + blockIdx.x * work.stride;
    Logit const* const r = work.reference + (Reference ? blockIdx.x * work.stride : 0);
    score_lane model;
    score_lane reference;
    for (std::uint32_t col = threadIdx.x * Width; col < work.cols; col += score_threads * Width) {
        float a[Width];
        values<Logit, Width>::load(x + col).unpack(a);
        auto const at = static_cast<std::int32_t>(work.first + col);
        if constexpr (Reference) {
            float b[Width];
            values<Logit, Width>::load(r + col).unpack(b);
            reference.take<true>(b, a, at);
        }
        model.take<false>(a, a, at);
    }
    score_part const whole = join_block(model.part());
    score_part const reference_whole = Reference ? join_block(reference.part()) : score_part{};
    if (threadIdx.x == 0) {
        score_state state = work.first == 0 ? score_state{} : work.states[blockIdx.x];
        state.model = join(state.model, whole);
        if constexpr (Reference) {
            state.reference = join(state.reference, reference_whole);
        }
        auto const target = static_cast<std::uint32_t>(work.targets[blockIdx.x]) - work.first;
        if (target < work.cols) {
            state.target = to_float(x[target]);
            if constexpr (Reference) {
                state.reference_target = to_float(r[target]);
            }
        }
        work.states[blockIdx.x] = state;
    }
}

/// A thread a position.
template <class Unused>
__global__ void __launch_bounds__(score_threads)
    score_finish_kernel(score_state const* states, std::int32_t const* targets, std::size_t rows,
                        bool reference, position_score* out) {
    std::size_t const i = std::size_t{blockIdx.x} * score_threads + threadIdx.x;
    if (i < rows) {
        out[i] = finished(states[i], targets[i] >= 0, reference);
    }
}

}  // namespace fpq::cuda
