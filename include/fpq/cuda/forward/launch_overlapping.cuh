// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Launches of kernels that may start while the one before them ends.
#pragma once

#include <cuda_runtime.h>

#include "fpq/cuda/api/status.hpp"

namespace fpq::cuda::detail {

/// Whether `Kernel` was compiled for a card where it waits for the one before it by itself
/// (compute_90 and later). Asked once; a failure counts as no.
template <auto Kernel>
bool waits_by_itself() noexcept {
    static bool const waits = [] {
        cudaFuncAttributes attributes{};
        bool const known = cudaFuncGetAttributes(&attributes, Kernel) == cudaSuccess;
        return known && attributes.ptxVersion >= 90;
    }();
    return waits;
}

/// Queues Kernel(args...), which begins with ptx::wait_for_previous_kernel() in every thread,
/// before it touches what another kernel writes or reads: its blocks may be placed while the
/// kernel before it still runs, which hides the time between two kernels (programmatic dependent
/// launch, CUDA programming guide 6.2.9).
template <auto Kernel, class... Args>
status launch_overlapping(char const* who, dim3 grid, dim3 block, cudaStream_t stream,
                          Args const&... args) noexcept {
    cudaLaunchAttribute attribute{};
    attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attribute.val.programmaticStreamSerializationAllowed = 1;
    cudaLaunchConfig_t config{};
    config.gridDim = grid;
    config.blockDim = block;
    config.stream = stream;
    config.attrs = &attribute;
    config.numAttrs = waits_by_itself<Kernel>() ? 1 : 0;
    return from_cuda(cudaLaunchKernelEx(&config, Kernel, args...), who);
}

}  // namespace fpq::cuda::detail
