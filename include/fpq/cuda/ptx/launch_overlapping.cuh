// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Launches of kernels that may start while the one before them ends.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>

#include "fpq/cuda/api/status.hpp"

namespace fpq::cuda::detail {

/// Whether the kernel was compiled for a card where it waits for the one before it by itself
/// (compute_90 and later); a failure counts as no.
template <class Kernel>
bool waits_by_itself(Kernel* kernel) noexcept {
    cudaFuncAttributes attributes{};
    return cudaFuncGetAttributes(&attributes, kernel) == cudaSuccess && attributes.ptxVersion >= 90;
}

/// Where and how a kernel is queued.
struct launch_shape {
    dim3 grid;
    dim3 block;
    std::size_t shared = 0;  // dynamic shared memory, in bytes
    cudaStream_t stream = nullptr;
};

/// Queues kernel(args...). Where it may `overlap`, its blocks may be placed while the kernel before
/// it still runs, which hides the time between two kernels (programmatic dependent launch, CUDA
/// programming guide 6.2.9): then it begins with ptx::wait_for_previous_kernel() in every thread,
/// before it touches what another kernel writes or reads.
template <class... Parameters, class... Args>
status launch_kernel(char const* who, void (*kernel)(Parameters...), launch_shape const& shape,
                     bool overlap, Args const&... args) noexcept {
    cudaLaunchAttribute attribute{};
    attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attribute.val.programmaticStreamSerializationAllowed = 1;
    cudaLaunchConfig_t config{};
    config.gridDim = shape.grid;
    config.blockDim = shape.block;
    config.dynamicSmemBytes = shape.shared;
    config.stream = shape.stream;
    config.attrs = &attribute;
    config.numAttrs = overlap ? 1 : 0;
    return from_cuda(cudaLaunchKernelEx(&config, kernel, args...), who);
}

/// The same for a kernel that always may, where it waits by itself; asked once.
template <auto Kernel, class... Args>
status launch_overlapping(char const* who, dim3 grid, dim3 block, cudaStream_t stream,
                          Args const&... args) noexcept {
    static bool const waits = waits_by_itself(Kernel);
    return launch_kernel(who, Kernel, {grid, block, 0, stream}, waits, args...);
}

}  // namespace fpq::cuda::detail
