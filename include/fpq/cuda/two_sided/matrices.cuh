// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Kernels that bring a layer and its second moments into the form that two-sided solvers
// work on, and codes and scales back.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fpq/core/bits.hpp"
#include "fpq/core/float_type.hpp"
#include "fpq/core/half.hpp"
#include "fpq/cuda/gptq/pack.hpp"
#include "fpq/cuda/gptq/weights.cuh"
#include "fpq/cuda/ptx/float_ops.cuh"
#include "fpq/format/packed.hpp"
#include "fpq/format/stored_scale.hpp"

namespace fpq::cuda {

inline constexpr int matrix_threads = 256;

/// to (padded, padded) = both halves of h (n, n), of which the lower half is read, with `damping`
/// on the diagonal; 0 beyond n. Grid: one block a row of `to`.
template <int Threads>
__global__ void __launch_bounds__(Threads)
    whole_moment_kernel(float const* h, std::size_t n, float damping, float* to,
                        std::size_t stride) {
    std::size_t const i = blockIdx.x;
    for (std::size_t j = threadIdx.x; j < stride; j += Threads) {
        float value = 0;
        if (i < n && j < n) {
            value = i >= j ? h[i * n + j] : h[j * n + i];
            value = i == j ? add_rn(value, damping) : value;
        }
        to[i * stride + j] = value;
    }
}

/// A layer and what its codes are.
struct unpacked_layer {
    packed_view q;
    void const* w;
    float_type type;
    std::size_t w_stride;
    float const* live;  // diag(H_I) at (cols + 1) steps where dead columns count as 0 in w, or null
    std::size_t stride;
    float* weight;          // out (rows, stride)
    float* error;           // out (rows, stride): w - q
    std::uint8_t* codes;    // out (rows, stride)
    std::uint16_t* scales;  // out (rows, groups)
    std::uint8_t* zeros;    // out (rows, groups)
    std::size_t groups;

    __device__ float value(std::size_t row, std::size_t col) const {
        if (live != nullptr && !(live[col * (q.cols + 1)] > 0.0F)) {
            return 0.0F;
        }
        return widened_at(w, type, row * w_stride + col);
    }
};

/// Grid: one block a row, those beyond the layer's rows become zeros.
template <int Threads>
__global__ void __launch_bounds__(Threads) unpack_layer_kernel(unpacked_layer const a) {
    std::size_t const row = blockIdx.x;
    bool const inside = row < a.q.rows;
    int const bits = element_bits(a.q.format.element);
    std::size_t const each = a.q.format.scale_bytes_each();
    std::uint8_t const* const packed =
        inside ? a.q.codes + row * a.q.format.row_bytes(a.q.cols) : nullptr;
    for (std::size_t k = threadIdx.x; k < a.stride; k += Threads) {
        bool const there = inside && k < a.q.cols;
        float const w = there ? a.value(row, k) : 0.0F;
        a.weight[row * a.stride + k] = w;
        a.error[row * a.stride + k] = there ? add_rn(w, -a.q(row, k)) : 0.0F;
        a.codes[row * a.stride + k] = there ? packed_code(bits, packed, k) : std::uint8_t{0};
    }
    for (std::size_t g = threadIdx.x; g < a.groups; g += Threads) {
        std::size_t const to = row * a.groups + g;
        group_scale scale{0, 0, 1.0F};
        if (inside) {
            std::size_t const at = a.q.scale_index(row, g);
            std::uint8_t const* const bytes = a.q.scales + at * each;
            auto const stored = static_cast<std::uint16_t>(
                each == 1 ? bytes[0] : bytes[0] | (std::uint16_t{bytes[1]} << 8));
            scale = decode_group_scale(a.q.format.scale, stored,
                                       a.q.zeros == nullptr ? std::uint8_t{0} : a.q.zeros[at],
                                       a.q.global_scale);
        }
        a.scales[to] = scale.stored;
        a.zeros[to] = scale.zero;
    }
}

/// Codes and scales back to what a layer stores. Grid: one block a row.
template <int Threads>
__global__ void __launch_bounds__(Threads)
    repack_layer_kernel(quant_format const format, std::size_t cols, std::size_t stride,
                        std::size_t groups, std::uint8_t const* codes, std::uint16_t const* scales,
                        std::uint8_t const* zeros, std::uint8_t* packed, std::uint8_t* stored,
                        std::uint8_t* stored_zeros) {
    std::size_t const row = blockIdx.x;
    int const bits = element_bits(format.element);
    std::size_t const bytes = packed_bytes(bits, cols);
    std::uint8_t const* const from = codes + row * stride;
    for (std::size_t at = threadIdx.x; at < bytes; at += Threads) {
        packed[row * bytes + at] =
            packed_byte(bits, cols, at, [=](std::size_t i) { return from[i]; });
    }
    if (stored == nullptr || format.grain == granularity::tensor) {
        return;
    }
    std::size_t const each = format.scale_bytes_each();
    for (std::size_t g = threadIdx.x; g < groups; g += Threads) {
        std::size_t const at = row * groups + g;
        stored[at * each] = static_cast<std::uint8_t>(scales[at] & 0xFFu);
        if (each == 2) {
            stored[at * each + 1] = static_cast<std::uint8_t>(scales[at] >> 8);
        }
        if (stored_zeros != nullptr) {
            stored_zeros[at] = zeros[at];
        }
    }
}

}  // namespace fpq::cuda
