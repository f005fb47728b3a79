// SPDX-License-Identifier: Apache-2.0
// Wing cuda. W4A16 for many tokens: weights once to 16 bits, then one cuBLASLt product. The factor
// of the result lies in device memory, so that alpha may come from there too.
#pragma once

#include <cublasLt.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "fpq/cuda/gemm/checks.hpp"
#include "fpq/cuda/gemm/w4a16_dequantize.cuh"
#include "fpq/cuda/gemm/w4a16_plan.hpp"
#include "fpq/cuda/quantize/store_output.cuh"

namespace fpq::cuda {

/// out (m, n) = bias in every row.
template <class Unused>
__global__ void __launch_bounds__(256) w4a16_bias_kernel(w4a16_args const p) {
    std::size_t const i = static_cast<std::size_t>(blockIdx.x) * 256 + threadIdx.x;
    if (i < std::size_t{p.m} * p.n) {
        store_output(p.out, p.out_type, i, p.bias[i % p.n]);
    }
}

namespace detail {

inline status from_blas(cublasStatus_t error, char const* what) noexcept {
    status s;
    if (error != CUBLAS_STATUS_SUCCESS) {
        s = refuse(what, "CUBLAS_STATUS_SUCCESS", cublasLtGetStatusName(error));
        s.code = status_code::device;
    }
    return s;
}

/// What a cuBLASLt call owns: destroyed on every path out.
struct blas_matmul {
    cublasLtMatmulDesc_t matmul = nullptr;
    cublasLtMatrixLayout_t w = nullptr;
    cublasLtMatrixLayout_t x = nullptr;
    cublasLtMatrixLayout_t out = nullptr;
    cublasLtMatmulPreference_t preference = nullptr;

    blas_matmul() noexcept = default;
    blas_matmul(blas_matmul const&) = delete;
    blas_matmul& operator=(blas_matmul const&) = delete;
    ~blas_matmul() {
        cublasLtMatmulPreferenceDestroy(preference);
        cublasLtMatrixLayoutDestroy(out);
        cublasLtMatrixLayoutDestroy(x);
        cublasLtMatrixLayoutDestroy(w);
        cublasLtMatmulDescDestroy(matmul);
    }
};

/// out^T (n, m) = factors[0] * w x^T + factors[1] * out^T, column-major as cuBLASLt wants it.
inline status blas_product(cublasLtHandle_t handle, w4a16_args const& p, cudaDataType_t type,
                           void const* w, float const* factors, void* scratch,
                           cudaStream_t stream) noexcept {
    cudaDataType_t const out_type = p.out_type == float_type::fp32   ? CUDA_R_32F
                                    : p.out_type == float_type::bf16 ? CUDA_R_16BF
                                                                     : CUDA_R_16F;
    blas_matmul b;
    cublasOperation_t const transpose = CUBLAS_OP_T;
    cublasLtPointerMode_t const mode = CUBLASLT_POINTER_MODE_DEVICE;
    std::size_t const scratch_bytes = w4a16_blas_scratch;
    cublasLtMatmulHeuristicResult_t chosen{};
    int found = 0;
    cublasStatus_t e = cublasLtMatmulDescCreate(&b.matmul, CUBLAS_COMPUTE_32F, CUDA_R_32F);
    auto const then = [&e](auto&& call) {
        if (e == CUBLAS_STATUS_SUCCESS) {
            e = call();
        }
    };
    then([&] {
        return cublasLtMatmulDescSetAttribute(b.matmul, CUBLASLT_MATMUL_DESC_TRANSA, &transpose,
                                              sizeof transpose);
    });
    then([&] {
        return cublasLtMatmulDescSetAttribute(b.matmul, CUBLASLT_MATMUL_DESC_POINTER_MODE, &mode,
                                              sizeof mode);
    });
    then([&] { return cublasLtMatrixLayoutCreate(&b.w, type, p.k, p.n, p.k); });
    then([&] {
        return cublasLtMatrixLayoutCreate(&b.x, type, p.k, p.m,
                                          static_cast<std::int64_t>(p.x_stride));
    });
    then([&] { return cublasLtMatrixLayoutCreate(&b.out, out_type, p.n, p.m, p.n); });
    then([&] { return cublasLtMatmulPreferenceCreate(&b.preference); });
    then([&] {
        return cublasLtMatmulPreferenceSetAttribute(b.preference,
                                                    CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                                    &scratch_bytes, sizeof scratch_bytes);
    });
    // Where rows of x or out do not start on 16 bytes cuBLASLt must know it when it chooses.
    std::uint32_t const x_align = p.x_aligned ? 256 : 2;
    std::uint32_t const out_align = p.n % 8 == 0 ? 16 : 2;
    then([&] {
        return cublasLtMatmulPreferenceSetAttribute(
            b.preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, &x_align, sizeof x_align);
    });
    for (auto const side :
         {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES}) {
        then([&] {
            return cublasLtMatmulPreferenceSetAttribute(b.preference, side, &out_align,
                                                        sizeof out_align);
        });
    }
    then([&] {
        return cublasLtMatmulAlgoGetHeuristic(handle, b.matmul, b.w, b.x, b.out, b.out,
                                              b.preference, 1, &chosen, &found);
    });
    then([&] {
        return found > 0 ? cublasLtMatmul(handle, b.matmul, factors, w, b.w, p.x, b.x, factors + 1,
                                          p.out, b.out, p.out, b.out, &chosen.algo, scratch,
                                          scratch_bytes, stream)
                         : CUBLAS_STATUS_NOT_SUPPORTED;
    });
    return from_blas(e, "launch_w4a16: cuBLASLt");
}

/// The whole dequantize_gemm path.
template <class Storage, bool Nv>
status launch_dequantize_gemm(w4a16_args const& args, w4a16_plan const& plan, void* workspace,
                              cublasLtHandle_t handle, cudaStream_t stream) noexcept {
    auto* const bytes = static_cast<std::uint8_t*>(workspace);
    auto* const factors = reinterpret_cast<float*>(bytes);
    auto* const weights = reinterpret_cast<Storage*>(bytes + plan.head_bytes);
    if (args.bias != nullptr) {
        std::size_t const outputs = std::size_t{args.m} * args.n;
        w4a16_bias_kernel<void>
            <<<static_cast<unsigned>((outputs + 255) / 256), 256, 0, stream>>>(args);
    }
    w4a16_dequantize_kernel<Storage, Nv>
        <<<dim3((args.k + 2047) / 2048,
                std::min((args.n + dequantize_rows - 1) / dequantize_rows, 65535u)),
           256, 0, stream>>>(args, weights, factors);
    status const s = after_launch("launch_w4a16: dequantize");
    return s.ok() ? blas_product(handle, args,
                                 std::is_same_v<Storage, bf16> ? CUDA_R_16BF : CUDA_R_16F, weights,
                                 factors, bytes + plan.head_bytes + plan.body_bytes, stream)
                  : s;
}

}  // namespace detail

}  // namespace fpq::cuda
