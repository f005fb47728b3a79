// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Host side of the Hessian tiles: whether they can run, the description of X for the
// copy engine, the launch.
#pragma once

#include <cuda.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "fpq/cuda/api/gptq.hpp"
#include "fpq/cuda/gptq/hessian_tiles.cuh"
#include "fpq/cuda/ptx/runs_warpgroups.hpp"
#include "fpq/cuda/ptx/tensor_map.hpp"

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

inline bool tiles_can_run() noexcept {
    return runs_warpgroups(&hessian_tiles_kernel<hessian_stage>, 100);
}

/// X as the copy engine needs it.
inline status describe_inputs(hessian_args const& a, CUtensorMap& map) {
    tensor_matrix const x{CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
                          a.x,
                          a.cols,
                          a.tokens,
                          a.x_stride * 2,
                          64,
                          hessian_stage::tokens};
    return describe_matrix("launch_hessian", x, map);
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
