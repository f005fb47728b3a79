// SPDX-License-Identifier: Apache-2.0
// Wing cuda. The quantizer for everything that no fast kernel takes: any input type, alignment and
// width, every method, stochastic rounding, rotation by Hadamard or by any matrix. One warp owns
// 128 columns of a row in shared memory, one thread a group. It is the plain version that the fast
// kernels are compared with on the device.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fpq/cuda/ptx/half_words.cuh"
#include "fpq/cuda/quantize/load_input.cuh"
#include "fpq/cuda/quantize/work.cuh"

namespace fpq::cuda {

/// Columns that a warp of the general kernel owns: the largest rotation, a whole number of groups.
inline constexpr int general_span = 128;
inline constexpr int general_warps = 4;

/// Arguments beside quantize_work.
struct general_work {
    float_type type = float_type::bf16;
    quant_format format = nvfp4;
    std::size_t rows = 0;
    int rotation = 0;
    float const* matrix = nullptr;
    bool stochastic = false;
    philox random{};
};

/// x (size) = x H in the CPU path's order, by one warp; x in shared memory.
__device__ inline void rotate_hadamard(float* x, int size, int lane) {
    for (int half = 1; half < size; half *= 2) {
        __syncwarp();
        for (int i = lane; i < general_span / 2; i += 32) {
            int const low = i / half * 2 * half + i % half;
            float const a = x[low];
            float const b = x[low + half];
            x[low] = add_rn(a, b);
            x[low + half] = add_rn(a, -b);
        }
    }
    __syncwarp();
    float const scale = static_cast<float>(1.0 / sqrt(static_cast<double>(size)));
    for (int i = lane; i < general_span; i += 32) {
        x[i] = mul_rn(x[i], scale);
    }
    __syncwarp();
}

/// Every block of `size` of x (general_span) = block * matrix (size, size), sums in order.
__device__ inline void rotate_matrix(float* x, int size, float const* matrix, int lane) {
    float out[general_span / 32];
    __syncwarp();
    FPQ_UNROLL
    for (int k = 0; k < general_span / 32; ++k) {
        int const column = lane + 32 * k;
        float const* const block = x + column / size * size;
        float sum = 0.0F;
        for (int i = 0; i < size; ++i) {
            sum = fma_rn(block[i], matrix[i * size + column % size], sum);
        }
        out[k] = sum;
    }
    __syncwarp();
    FPQ_UNROLL
    for (int k = 0; k < general_span / 32; ++k) {
        x[lane + 32 * k] = out[k];
    }
    __syncwarp();
}

/// A warp a span; see the head of the file. The launcher clears the padding of the swizzle.
template <class Unused>
__global__ void __launch_bounds__(32 * general_warps)
    quantize_general(quantize_work const work, general_work const more) {
    __shared__ float values[general_warps][general_span];
    int const lane = static_cast<int>(threadIdx.x % 32);
    int const warp = static_cast<int>(threadIdx.x / 32);
    float* const x = values[warp];
    std::size_t const spans = (work.cols + general_span - 1) / general_span;
    std::size_t const job = std::size_t{blockIdx.x} * general_warps + warp;
    if (job >= more.rows * spans) {
        return;
    }
    std::size_t const row = job / spans;
    std::size_t const begin = job % spans * general_span;
    int const count = static_cast<int>(
        work.cols - begin < general_span ? work.cols - begin : std::size_t{general_span});
    for (int i = lane; i < general_span; i += 32) {
        x[i] = i < count ? load_float(work.x, more.type, row * work.stride + begin + i) : 0.0F;
    }
    __syncwarp();
    if (more.matrix != nullptr) {
        rotate_matrix(x, more.rotation, more.matrix, lane);
    } else if (more.rotation != 0) {
        rotate_hadamard(x, more.rotation, lane);
    }
    int const group = static_cast<int>(more.format.group);
    int const bits = element_bits(more.format.element);
    group_rule const rule{more.format, work.method, work.global_scale(), more.stochastic,
                          more.random};
    int const first = lane * group;
    if (first < count) {
        int const n = count - first < group ? count - first : group;
        std::uint8_t const byte = group_byte(rule, x + first, n);
        float const s = step_of(more.format.scale, byte, rule.global);
        std::size_t const column = begin + static_cast<std::size_t>(first);
        std::uint8_t* const out =
            work.codes + row * ((work.cols * bits + 7) / 8) + column * bits / 8;
        for (int i = 0; i < n; i += 2) {  // groups begin on whole bytes
            std::uint64_t const index = row * work.cols + column + static_cast<std::size_t>(i);
            std::uint8_t const a = code_of(rule, x[first + i], s, index);
            bool const pair = i + 1 < n;
            std::uint8_t const b = pair ? code_of(rule, x[first + i + 1], s, index + 1) : 0;
            if (bits == 4) {
                out[i / 2] = static_cast<std::uint8_t>(a | (b << 4));
            } else {
                out[i] = a;
                if (pair) {
                    out[i + 1] = b;
                }
            }
        }
        work.scales[work.scale_index(static_cast<std::uint32_t>(row),
                                     static_cast<std::uint32_t>(column / group))] = byte;
    }
}

}  // namespace fpq::cuda
