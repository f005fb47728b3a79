// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Launchers of the part "gemm": products of packed matrices. All pointers are device
// pointers, all matrices row-major; launchers check their arguments, queue work on the stream and
// return. Results do not depend on timing: the same call on the same device gives the same bits.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "fpq/cuda/api/status.hpp"
#include "fpq/cuda/api/vocabulary.hpp"
#include "fpq/cuda/gemm/w4a16_plan.hpp"
#include "fpq/cuda/gemm/w4a4_plan.hpp"
#include "fpq/cuda/ptx/l2_ahead.hpp"

struct cublasLtContext;  // cublasLtHandle_t points at one

namespace fpq::cuda {

/// Operands of out (m, n) = alpha * x (m, k) * w (n, k)^T + bias.
struct w4a16_operands {
    void const* x = nullptr;               // (m, k) bf16 or fp16
    std::size_t x_stride = 0;              // elements from row to row, >= k
    std::uint8_t const* codes = nullptr;   // (n, k / 2), low nibble first, no gaps between rows
    std::uint8_t const* scales = nullptr;  // (n, groups), E4M3 or E8M0, in problem.scales' order
    float alpha = 1.0F;                    // NVFP4: 1 / global scale of w
    float const* alpha_device = nullptr;   // one more factor in device memory, or null
    float const* bias = nullptr;           // (n) float32, or null
    void* out = nullptr;                   // (m, n) of problem.out, no gaps between rows
    void* workspace = nullptr;             // plan.workspace_bytes, on 256 bytes; zeroed once after
    std::size_t workspace_bytes = 0;       //   its allocation, left ready by every call
    cublasLtContext* blas = nullptr;       // a cublasLtHandle_t, or null: our kernels for every m
    /// The kernel may begin while the one before it on the stream ends (sm_90 and later): it reads
    /// weights and scales at once, and waits before it reads x or writes anything. For weights
    /// that no kernel still under way is writing.
    bool overlap_previous = false;
    /// What the next products read first, which the stream path asks into the L2 cache when it ends
    /// (sm_90 and later). Hints: constant device memory, or nothing.
    l2_ahead ahead[2];
};

/// The path, grid and workspace that launch_w4a16 will use for this problem on the current device.
/// `with_blas`: operands.blas will be set; `aligned`: operands.codes starts on 16 bytes
/// and operands.scales on 4.
status plan_w4a16(w4a16_problem const& problem, bool with_blas, bool aligned,
                  w4a16_plan* plan) noexcept;

/// Queues the product. Sums are float32; element * scale is exact in the activations' type for
/// NVFP4 (fp16 and bf16) and for MXFP4 scales in 2^-68 .. 2^65 (bf16) and 2^-18 .. 2^6 (fp16), on
/// the stream and tiles paths larger scales saturate there. A NaN E4M3 scale byte counts as 480 but
/// on the reference path. On the dequantize_gemm path bias is rounded to the type of out before it
/// is added.
/// Errors: a shape, stride, alignment, type or workspace that does not fit; a CUDA error.
status launch_w4a16(w4a16_problem const& problem, w4a16_operands const& operands,
                    cudaStream_t stream) noexcept;

/// Operands of out (m, n) = alpha * A (m, k) * B (n, k)^T + bias.
struct w4a4_operands {
    std::uint8_t const* a = nullptr;         // (m, k / 2) E2M1, low nibble first
    std::uint8_t const* a_scales = nullptr;  // (m, groups) in the 128x4 swizzle, on 16 bytes
    std::uint8_t const* b = nullptr;         // (n, k / 2)
    std::uint8_t const* b_scales = nullptr;
    float alpha = 1.0F;                   // NVFP4: 1 / (global scale of A * global scale of B)
    float const* alpha_device = nullptr;  // one more factor in device memory, or null
    float const* bias = nullptr;          // (n) float32, or null
    void* out = nullptr;                  // (m, n) of problem.out
    void* workspace = nullptr;            // plan.workspace_bytes, on 256 bytes; zeroed once after
    std::size_t workspace_bytes = 0;      //   its allocation, left ready by every call
};

/// How the block-scaled instruction is carried out: by the hardware of the sm_120 family, emulated
/// on bf16 tensor cores (sm_80 and later), or by the scalar reference that goes through the lane
/// maps (slow; without splits of k). `automatic`: hardware on the sm_120 family, else emulated.
enum class w4a4_atom : std::uint8_t { automatic, hardware, emulated, reference };

/// The tile, grid and workspace that launch_w4a4 will use for this problem on the current device.
status plan_w4a4(w4a4_problem const& problem, w4a4_plan* plan) noexcept;

/// Queues the product. Sums are float32 in the order of the instruction and of k; the hardware's
/// own sums are cut toward zero. The sign bit of E4M3 scales is ignored. What padding bytes of the
/// swizzled scales hold does not matter. Errors: a shape, alignment, type or workspace that does
/// not fit; hardware asked for elsewhere than on the sm_120 family; a CUDA error.
status launch_w4a4(w4a4_problem const& problem, w4a4_operands const& operands, w4a4_atom atom,
                   cudaStream_t stream) noexcept;

}  // namespace fpq::cuda
