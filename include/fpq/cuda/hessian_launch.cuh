// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Host side of the Hessian tiles: whether they can run, the description of X for the
// copy engine, the launch.
#pragma once

#include <cuda.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "fpq/cuda/api_gptq.hpp"
#include "fpq/cuda/hessian_tiles.cuh"

namespace fpq::cuda::detail {

/// Why our tiles cannot take these inputs, or null.
inline char const* tiles_refuse(hessian_args const& a) noexcept {
    if (a.type != float_type::bf16) {
        return "inputs that are not bf16";
    }
    if (a.x_stride % 8 != 0 || reinterpret_cast<std::uintptr_t>(a.x) % 16 != 0) {
        return "tokens that do not begin at multiples of 16 bytes";
    }
    return nullptr;
}

/// True when this device is of compute capability 9.0 and the kernels were built for 90a. A build
/// for another card holds a body that only traps, which needs hardly any registers.
inline bool tiles_can_run() {
    int device = 0;
    int major = 0;
    int minor = 0;
    cudaFuncAttributes attributes{};
    bool const asked =
        cudaGetDevice(&device) == cudaSuccess &&
        cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) == cudaSuccess &&
        cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device) == cudaSuccess &&
        major == 9 && minor == 0 &&
        cudaFuncGetAttributes(&attributes, hessian_tiles_kernel<hessian_stage>) == cudaSuccess;
    static_cast<void>(cudaGetLastError());
    return asked && attributes.binaryVersion == 90 && attributes.numRegs > 100;
}

/// X as the copy engine needs it. The driver is asked for its encoder, so nothing links to it.
inline status describe_inputs(hessian_args const& a, CUtensorMap& map) {
    using encoder = decltype(&cuTensorMapEncodeTiled);
    static encoder const encode = [] {
        void* found = nullptr;
        cudaDriverEntryPointQueryResult result{};
        static_cast<void>(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &found, 12000,
                                                           cudaEnableDefault, &result));
        return result == cudaDriverEntryPointSuccess ? reinterpret_cast<encoder>(found) : nullptr;
    }();
    if (encode == nullptr) {
        return unsupported("launch_hessian: driver", "cuTensorMapEncodeTiled", "none");
    }
    cuuint64_t const sizes[2] = {a.cols, a.tokens};
    cuuint64_t const strides[1] = {a.x_stride * 2};
    cuuint32_t const box[2] = {64, hessian_stage::tokens};
    cuuint32_t const every[2] = {1, 1};
    CUresult const result =
        encode(&map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 2, const_cast<void*>(a.x), sizes, strides,
               box, every, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
               CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    if (result != CUDA_SUCCESS) {
        status s = refuse("launch_hessian: cuTensorMapEncodeTiled", "CUDA_SUCCESS (0)",
                          static_cast<long long>(result));
        s.code = status_code::device;
        return s;
    }
    return {};
}

inline status launch_tiles(cudaStream_t stream, hessian_args const& a) {
    CUtensorMap map{};
    if (status s = describe_inputs(a, map); !s.ok()) {
        return s;
    }
    auto const kernel = hessian_tiles_kernel<hessian_stage>;
    int device = 0;
    int processors = 0;
    status s = from_cuda(cudaGetDevice(&device), "launch_hessian: device");
    if (s.ok()) {
        s = from_cuda(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device),
                      "launch_hessian: device");
    }
    if (s.ok()) {
        s = from_cuda(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                           static_cast<int>(hessian_stage::shared)),
                      "launch_hessian: shared memory");
    }
    if (!s.ok()) {
        return s;
    }
    auto const n = static_cast<std::uint32_t>(a.cols);
    hessian_units const units{(n + hessian_tile - 1) / hessian_tile};
    auto const blocks = std::min(static_cast<std::uint32_t>(processors), units.count());
    auto const steps =
        static_cast<std::uint32_t>((a.tokens + hessian_stage::tokens - 1) / hessian_stage::tokens);
    kernel<<<blocks, hessian_stage::threads, hessian_stage::shared, stream>>>(map, a.h, n, steps,
                                                                              a.accumulate);
    return after_launch("hessian_tiles_kernel");
}

}  // namespace fpq::cuda::detail
