// SPDX-License-Identifier: Apache-2.0
// Wing cuda. The block Hadamard rotation alone, bf16, fp16 or fp32 in and out: on tensor cores for
// aligned 16-bit matrices, by one warp a 128 columns in shared memory for all others.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fpq/cuda/quantize/general.cuh"
#include "fpq/cuda/quantize/rotate_rows.cuh"

namespace fpq::cuda {

struct rotate_work {
    void const* x = nullptr;
    void* out = nullptr;
    std::size_t rows = 0;
    std::size_t cols = 0;
    std::size_t stride = 0;      // of x, values
    std::size_t out_stride = 0;  // of out, values
    float_type type = float_type::bf16;
    int size = 0;
};

template <class Half, int Size>
__global__ void __launch_bounds__(rotate_threads)
    rotate_blocks(rotate_work const work, rotation_map const map) {
    constexpr std::uint32_t halves = rotation_halves<Size>;
    constexpr float n = hadamard_norm<Size>;
    using op = half_words<Half>;
    std::uint32_t const lane = threadIdx.x % 32;
    rotation_operand<Half, Size> operand;
    operand.prepare(lane);
    std::uint32_t const segs = static_cast<std::uint32_t>(work.cols / segment);
    // Two lanes have four pieces of 16 bytes; each stores one of the first two and one of the last
    // two, so that a store has whole sectors.
    bool const pairs = segs % 2 == 0;
    bool const odd = pairs && lane % 2 != 0;
    std::uint32_t const step = gridDim.x * (rotate_threads / 32);
    for (std::uint32_t warp = blockIdx.x * (rotate_threads / 32) + threadIdx.x / 32;
         warp < map.warps; warp += step) {
        rotate_rows<Half, Size> own;
        own.place(map, warp, lane);
        own.load(work.x, work.stride, map.rows, segs);
        FPQ_UNROLL
        for (std::uint32_t q = 0; q < 2; ++q) {
            float v[halves][16];
            own.rotate(q, operand, v);
            FPQ_UNROLL
            for (std::uint32_t h = 0; h < halves; ++h) {
                std::uint32_t word[8];
                FPQ_UNROLL
                for (int i = 0; i < 8; ++i) {
                    word[i] = op::pack(v[h][2 * i] * n, v[h][2 * i + 1] * n);
                }
                if (pairs) {
                    FPQ_UNROLL
                    for (int i = 0; i < 4; ++i) {
                        std::uint32_t const other =
                            __shfl_xor_sync(0xFFFFFFFFu, odd ? word[i] : word[4 + i], 1);
                        word[i] = odd ? other : word[i];
                        word[4 + i] = odd ? word[4 + i] : other;
                    }
                }
                std::uint32_t const seg = own.seg[q] + 4 * h;
                if (own.row[q] >= map.rows || seg >= segs) {
                    continue;
                }
                auto* const to = reinterpret_cast<uint4*>(static_cast<std::uint16_t*>(work.out) +
                                                          own.row[q] * work.out_stride +
                                                          (odd ? seg - 1 : seg) * segment);
                to[odd ? 1 : 0] = {word[0], word[1], word[2], word[3]};
                to[pairs && !odd ? 2 : odd ? 3 : 1] = {word[4], word[5], word[6], word[7]};
            }
        }
    }
}

/// The plain version, any type and alignment; in place is fine.
template <class Unused>
__global__ void __launch_bounds__(32 * general_warps) rotate_general(rotate_work const work) {
    __shared__ float values[general_warps][general_span];
    int const lane = static_cast<int>(threadIdx.x % 32);
    float* const x = values[threadIdx.x / 32];
    std::size_t const spans = (work.cols + general_span - 1) / general_span;
    std::size_t const job = std::size_t{blockIdx.x} * general_warps + threadIdx.x / 32;
    if (job >= work.rows * spans) {
        return;
    }
    std::size_t const row = job / spans;
    std::size_t const begin = job % spans * general_span;
    std::size_t const left = work.cols - begin;
    int const count = static_cast<int>(left < general_span ? left : std::size_t{general_span});
    for (int i = lane; i < general_span; i += 32) {
        x[i] = i < count ? load_float(work.x, work.type, row * work.stride + begin + i) : 0.0F;
    }
    rotate_hadamard(x, work.size, lane);
    for (int i = lane; i < count; i += 32) {
        std::size_t const at = row * work.out_stride + begin + i;
        if (work.type == float_type::fp32) {
            static_cast<float*>(work.out)[at] = x[i];
        } else {
            static_cast<std::uint16_t*>(work.out)[at] =
                work.type == float_type::bf16 ? to_bf16(x[i]).bits : to_fp16(x[i]).bits;
        }
    }
}

}  // namespace fpq::cuda
