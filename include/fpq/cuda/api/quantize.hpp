// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Launchers of the part "quantize": quantize (with or without rotation), dequantize,
// rotate alone, global scales on the device, and moves of scales between their two orders.
// All pointers are device pointers unless said otherwise; all work is queued on `stream`.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "fpq/cuda/api/scale_rules.hpp"
#include "fpq/cuda/api/status.hpp"
#include "fpq/cuda/api/vocabulary.hpp"

namespace fpq::cuda {

/// A (rows, cols) row-major matrix of bf16, fp16 or fp32 values; row i begins at data + i * stride
/// values. Any alignment that fits the type is accepted; 16 bytes, for the pointer and for the
/// stride, is fast.
struct float_matrix {
    void const* data = nullptr;
    float_type type = float_type::bf16;
    std::size_t rows = 0;
    std::size_t cols = 0;
    std::size_t stride = 0;  // values from one row to the next, >= cols
};

/// A quantized (rows, cols) matrix: codes rows x format.row_bytes(cols), dense;
/// scales_size(order, rows, format.groups(cols)) scale bytes in `order`. Formats: nvfp4, mxfp4,
/// mxfp8_e4m3.
struct quantized_matrix {
    std::uint8_t* codes = nullptr;
    std::uint8_t* scales = nullptr;
    quant_format format = nvfp4;
    scale_order order = scale_order::row_major;
};

/// What a quantizer does beside choosing the format.
struct quantize_options {
    scale_rule rule = scale_rule::minmax;
    /// Divisor style: value = code * scale / G. NVFP4: 2688 / amax; MX by minmax or abs_max: 3.
    float global_scale = 1.0F;
    /// If not null, G is read from here (device memory) instead, when the kernel runs.
    float const* global_scale_at = nullptr;
    /// 16, 32, 64 or 128: every block of so many columns is first multiplied by the orthonormal
    /// Hadamard matrix; 0: not. `cols` must be a multiple.
    int hadamard = 0;
    /// If not null, the matrix to multiply by instead of Hadamard's: (hadamard, hadamard) float32
    /// row-major, any 16, 32, 64 or 128; a block row x becomes x * matrix.
    float const* matrix = nullptr;
    /// FP4 only: stochastic rounding, up with the probability of the distance from below; the
    /// draw for element (i, j) is Philox4x32-10 of `seed`, `stream_id` and index i * cols + j.
    bool stochastic = false;
    std::uint64_t seed = 0;
    std::uint64_t stream_id = 0;
};

/// x -> codes and scales. The bytes are those of fpq::quantize on the same values for the rules
/// that the CPU path has and no rotation. With rotation sums are float32 in another order than the
/// CPU's. Padding bytes of the swizzle become 0.
/// Errors: a rule that the format lacks, strides below cols, null pointers, a hadamard size that
/// does not divide cols.
status quantize(float_matrix const& x, quantized_matrix const& q, quantize_options const& options,
                cudaStream_t stream);

/// out (rows, cols) = x with every block of `size` columns multiplied by the orthonormal Hadamard
/// matrix (16, 32, 64, 128), sums in float32; out has x's type and `out_stride`.
/// out may be x's data when the strides are equal.
status hadamard(float_matrix const& x, int size, void* out, std::size_t out_stride,
                cudaStream_t stream);

/// Writes the largest magnitude of x to amax[0] (device, float32). NaN is ignored.
status global_amax(float_matrix const& x, float* amax, cudaStream_t stream);

/// G[0] = 2688 / amax[0], or the largest power of two not above it; 1 for amax 0 or not finite.
/// With global_amax before it this is the dynamic two-pass global scale, without leaving the
/// device.
status nvfp_global_scale(float const* amax, bool pow2, float* global_scale, cudaStream_t stream);

/// What dequantize reads: the const face of quantized_matrix.
struct quantized_view {
    std::uint8_t const* codes = nullptr;
    std::uint8_t const* scales = nullptr;
    quant_format format = nvfp4;
    scale_order order = scale_order::row_major;
};

/// out (rows, cols; `type`; row i at out + i * out_stride values) = fl(code * fl(scale / G)) in
/// float32, then to nearest in bf16 or fp16. G is read from global_scale_at when that is not null.
status dequantize(quantized_view const& q, std::size_t rows, std::size_t cols, float global_scale,
                  float const* global_scale_at, float_type type, void* out, std::size_t out_stride,
                  cudaStream_t stream);

/// Row-major (rows, groups) scale bytes into the 128x4 swizzle; padding becomes 0.
status swizzle_scales(std::uint8_t const* row_major, std::size_t rows, std::size_t groups,
                      std::uint8_t* swizzled, cudaStream_t stream);
/// The inverse.
status unswizzle_scales(std::uint8_t const* swizzled, std::size_t rows, std::size_t groups,
                        std::uint8_t* row_major, cudaStream_t stream);

}  // namespace fpq::cuda
