// SPDX-License-Identifier: Apache-2.0
// Wing cuda. The largest magnitude of a matrix, and the global scale that follows from it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fpq/cuda/quantize/general.cuh"

namespace fpq::cuda {

struct amax_work {
    void const* x = nullptr;
    float_type type = float_type::bf16;
    std::size_t rows = 0;
    std::size_t cols = 0;
    std::size_t stride = 0;  // values
    bool aligned = false;    // rows are whole 16-byte pieces at 16-byte addresses
    float* amax = nullptr;   // zeroed before
};

/// max over the 16 bytes at `p`; NaN loses.
__device__ inline float amax_of_piece(uint4 const* p, float_type type, float a) {
    uint4 const w = __ldg(p);
    std::uint32_t const word[4] = {w.x, w.y, w.z, w.w};
    FPQ_UNROLL
    for (std::uint32_t bits : word) {
        if (type == float_type::fp32) {
            a = fmaxf(a, fabsf(bits_of<float>(bits)));
        } else if (type == float_type::bf16) {
            a = fmaxf(
                a, fmaxf(fabsf(half_words<bf16>::low(bits)), fabsf(half_words<bf16>::high(bits))));
        } else {
            a = fmaxf(
                a, fmaxf(fabsf(half_words<fp16>::low(bits)), fabsf(half_words<fp16>::high(bits))));
        }
    }
    return a;
}

/// Rows are walked by blocks; the maxima meet by atomicMax on bits, whose order cannot matter.
template <class Unused>
__global__ void __launch_bounds__(256) amax_rows(amax_work const work) {
    float a = 0.0F;
    std::size_t const piece = work.type == float_type::fp32 ? 4 : 8;
    for (std::size_t row = blockIdx.y; row < work.rows; row += gridDim.y) {
        if (work.aligned) {
            auto const* const from = reinterpret_cast<uint4 const*>(
                static_cast<std::uint8_t const*>(work.x) +
                row * work.stride * (work.type == float_type::fp32 ? 4 : 2));
            std::size_t const pieces = work.cols / piece;
            for (std::size_t i = blockIdx.x * 256 + threadIdx.x; i < pieces;
                 i += std::size_t{gridDim.x} * 256) {
                a = amax_of_piece(from + i, work.type, a);
            }
        } else {
            for (std::size_t i = blockIdx.x * 256 + threadIdx.x; i < work.cols;
                 i += std::size_t{gridDim.x} * 256) {
                a = fmaxf(a, fabsf(load_float(work.x, work.type, row * work.stride + i)));
            }
        }
    }
    for (int step = 16; step > 0; step /= 2) {
        a = fmaxf(a, __shfl_xor_sync(0xFFFFFFFFu, a, step));
    }
    if (threadIdx.x % 32 == 0 && a > 0.0F) {
        atomicMax(reinterpret_cast<unsigned*>(work.amax), bits_of<std::uint32_t>(a));
    }
}

template <class Unused>
__global__ void write_global_scale(float const* amax, bool pow2, float* global_scale) {
    *global_scale = nvfp_global_scale(*amax, pow2);
}

}  // namespace fpq::cuda
