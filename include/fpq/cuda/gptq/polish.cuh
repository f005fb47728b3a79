// SPDX-License-Identifier: Apache-2.0
// Wing cuda. The kernels of coordinate descent on codes: what a block of 64 columns does, row by
// row, and what comes before and after a pass. What a block's changes do to later columns is a
// matrix product and not done here. No sum depends on the order of threads.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fpq/core/bits.hpp"
#include "fpq/core/float_type.hpp"
#include "fpq/core/half.hpp"
#include "fpq/cuda/gptq/block_sum.cuh"
#include "fpq/cuda/gptq/codec.hpp"
#include "fpq/cuda/gptq/pack.hpp"
#include "fpq/cuda/gptq/polish_lanes.hpp"
#include "fpq/cuda/gptq/weights.cuh"
#include "fpq/format/packed.hpp"

namespace fpq::cuda {

/// The rows at hand, all in device memory and in original column order.
struct polish_rows {
    packed_view q;           // as solved; its codes are written at the end
    void const* w;           // (rows, w_stride)
    float_type type;         // of w
    bool zero_dead;          // columns whose diagonal of H is 0 count as 0 in w
    std::size_t w_stride;    // values from row to row
    float const* h;          // (cols, cols): the lower half
    float damping;           // added to its diagonal
    std::uint32_t groups;    // of a row
    std::size_t stride;      // values from row to row of what follows
    float* error;            // (rows, stride): w - q
    float* slope;            // (rows, stride): error (H + damping I)
    float* change;           // (rows, polish_panel): of errors, in the panel's columns
    float const* steps;      // (rows, groups)
    std::uint8_t* codes;     // (rows, stride), one byte a code
    std::uint8_t* kept;      // the same, as the last pass that helped left them
    std::uint8_t* frozen;    // (rows): 1 where a pass did harm
    double* objective;       // (rows): the least of error . slope
    double* squared;         // (rows): error . error
    std::uint32_t* changed;  // 1: whether a code changed in this pass
    std::uint8_t* packed;    // (rows, row bytes): the codes to write

    __device__ float weight(std::size_t row, std::size_t col) const {
        if (zero_dead && !(h[col * (q.cols + 1)] > 0.0F)) {
            return 0.0F;
        }
        return widened_at(w, type, row * w_stride + col);
    }
    /// fl(w - q), q rounded before: never one fused operation.
    __device__ float miss(std::size_t row, std::size_t col) const {
        return add_rn(weight(row, col), -q(row, col));
    }
};

inline constexpr int polish_threads = 128;
inline constexpr int polish_tile = polish_threads / polish_block::lanes;  // rows of a thread block

/// Codes one byte each, and their errors. Grid: one block a row.
template <int Threads>
__global__ void __launch_bounds__(Threads) polish_begin_kernel(polish_rows const a) {
    std::size_t const row = blockIdx.x;
    int const bits = element_bits(a.q.format.element);
    std::uint8_t const* const packed = a.q.codes + row * a.q.format.row_bytes(a.q.cols);
    for (std::size_t k = threadIdx.x; k < a.q.cols; k += Threads) {
        a.codes[row * a.stride + k] = packed_code(bits, packed, k);
        a.error[row * a.stride + k] = a.miss(row, k);
    }
    if (threadIdx.x == 0) {
        a.frozen[row] = 0;
    }
}

/// Takes slope = error H, and makes the objective of a row. `first`: it is the row's so far.
/// Otherwise codes that made it no worse are kept, and others put back and frozen: their errors and
/// slopes are then not looked at again. Grid: one block a row.
template <int Threads>
__global__ void __launch_bounds__(Threads)
    polish_judge_kernel(polish_rows const a, bool const first) {
    std::size_t const row = blockIdx.x;
    std::size_t const begin = row * a.stride;
    if (!first && a.frozen[row] != 0) {
        return;
    }
    double sum = 0;
    for (std::size_t k = threadIdx.x; k < a.q.cols; k += Threads) {
        float const error = a.error[begin + k];
        float const slope = add_rn(a.slope[begin + k], mul_rn(a.damping, error));
        a.slope[begin + k] = slope;
        sum += static_cast<double>(slope) * static_cast<double>(error);
    }
    sum = block_sum<Threads>(sum);
    bool const keep = first || sum <= a.objective[row];
    __syncthreads();  // all have read the old objective
    for (std::size_t k = threadIdx.x; k < a.q.cols; k += Threads) {
        if (keep) {
            a.kept[begin + k] = a.codes[begin + k];
        } else {
            a.codes[begin + k] = a.kept[begin + k];
        }
    }
    if (threadIdx.x == 0) {
        if (keep) {
            a.objective[row] = sum;
        } else {
            a.frozen[row] = 1;
        }
    }
}

/// Packs the codes and sums the squares of their errors. Grid: one block a row.
template <int Threads>
__global__ void __launch_bounds__(Threads) polish_end_kernel(polish_rows const a) {
    std::size_t const row = blockIdx.x;
    int const bits = element_bits(a.q.format.element);
    std::size_t const bytes = a.q.format.row_bytes(a.q.cols);
    std::uint8_t const* const codes = a.codes + row * a.stride;
    for (std::size_t at = threadIdx.x; at < bytes; at += Threads) {
        a.packed[row * bytes + at] =
            packed_byte(bits, a.q.cols, at, [=](std::size_t i) { return codes[i]; });
    }
    __syncthreads();  // a.q reads what was written
    double sum = 0;
    for (std::size_t k = threadIdx.x; k < a.q.cols; k += Threads) {
        double const error = static_cast<double>(a.miss(row, k));
        sum += error * error;
    }
    sum = block_sum<Threads>(sum);
    if (threadIdx.x == 0) {
        a.squared[row] = sum;
    }
}

/// Re-rounds columns [first, first + 64) of all rows; `panel` is the first column of a.change.
/// Grid: ceil(rows / 16) blocks of 128 threads. A row belongs to eight neighbouring lanes, so a
/// warp polishes four rows and rows never talk. Shared memory: the block of H, 16 KB, read as
/// broadcasts. Limit: latency, of 64 times two divisions, an encoder and a decoder.
template <class Codec>
__global__ void __launch_bounds__(polish_threads)
    polish_block_kernel(polish_rows const a, std::uint32_t const first, std::uint32_t const panel,
                        Codec const codec) {
    using block = polish_block;
    __shared__ float h[block::width * block::pitch];
    __shared__ float curvature[block::width];  // 0 beyond the last column
    auto const cols = static_cast<std::uint32_t>(a.q.cols);
    auto const rows = static_cast<std::uint32_t>(a.q.rows);
    for (int at = static_cast<int>(threadIdx.x); at < block::width * block::width;
         at += polish_threads) {
        int const i = at / block::width;
        int const j = at % block::width;
        std::uint32_t const row = first + static_cast<std::uint32_t>(i);
        if (j <= i) {
            bool const inside = row < cols;
            float const value = inside ? a.h[static_cast<std::size_t>(row) * cols + first +
                                             static_cast<std::uint32_t>(j)]
                                       : 0.0F;
            h[i * block::pitch + j] = value;
            h[j * block::pitch + i] = value;
            if (i == j) {
                curvature[i] = inside ? add_rn(value, a.damping) : 0.0F;
            }
        }
    }
    __syncthreads();

    int const lane = static_cast<int>(threadIdx.x) % block::lanes;
    std::uint32_t const row = blockIdx.x * polish_tile + threadIdx.x / block::lanes;
    bool const active = row < rows && a.frozen[row] == 0;
    std::size_t const at = row * a.stride + first;
    std::uint8_t const* const zeros = a.q.format.symmetric ? nullptr : a.q.zeros;
    auto const group = static_cast<std::uint32_t>(a.q.format.group_of(cols));

    polish_lane state;
    auto const load = [&] {
        FPQ_UNROLL
        for (int s = 0; s < block::held; ++s) {
            auto const c = static_cast<std::uint32_t>(block::column(lane, s));
            bool const inside = active && first + c < cols;
            std::uint32_t const g = inside ? (first + c) / group : 0;
            state.slope[s] = inside ? a.slope[at + c] : 0.0F;
            state.error[s] = inside ? a.error[at + c] : 0.0F;
            state.w[s] = inside ? a.weight(row, first + c) : 0.0F;
            state.step[s] = inside ? a.steps[static_cast<std::size_t>(row) * a.groups + g] : 1.0F;
            state.codes[s] = inside ? a.codes[at + c] : std::uint8_t{0};
            state.zero[s] =
                inside && zeros != nullptr ? zeros[a.q.scale_index(row, g)] : std::uint8_t{0};
            state.change[s] = 0;
        }
    };
    auto const polish = [&] {
        FPQ_UNROLL
        for (int s = 0; s < block::held; ++s) {
            float const mine = curvature[block::column(lane, s)];
#pragma unroll 1
            for (int owner = 0; owner < block::lanes; ++owner) {
                float delta = state.reround(codec, s, mine, active && lane == owner);
                delta = __shfl_sync(0xFFFFFFFFu, delta, owner, block::lanes);
                if (delta != 0.0F) {
                    state.feed(s, delta, h + block::column(owner, s) * block::pitch + lane);
                }
            }
        }
    };
    auto const store = [&] {
        bool any = false;
        FPQ_UNROLL
        for (int s = 0; s < block::held; ++s) {
            auto const c = static_cast<std::uint32_t>(block::column(lane, s));
            if (row >= rows || first + c >= cols) {
                continue;
            }
            // A frozen row's too: the product reads them all.
            a.change[row * polish_panel + (first - panel) + c] = state.change[s];
            if (state.change[s] != 0.0F) {
                a.error[at + c] = state.error[s];
                a.codes[at + c] = state.codes[s];
                any = true;
            }
        }
        if (any) {
            atomicOr(a.changed, 1u);
        }
    };
    load();
    polish();
    store();
}

}  // namespace fpq::cuda
