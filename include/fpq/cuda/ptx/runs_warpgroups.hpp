// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Whether a kernel made of warpgroup MMA can run here.
#pragma once

#include <cuda_runtime_api.h>

namespace fpq::cuda::detail {

/// True when the current device is of compute capability 9.0 and `kernel` was built for 90a. A
/// build for another card holds a body that only traps, which needs fewer than `registers`.
template <class Kernel>
bool runs_warpgroups(Kernel* kernel, int registers) noexcept {
    int device = 0;
    int major = 0;
    int minor = 0;
    cudaFuncAttributes attributes{};
    bool const asked =
        cudaGetDevice(&device) == cudaSuccess &&
        cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) == cudaSuccess &&
        cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device) == cudaSuccess &&
        major == 9 && minor == 0 && cudaFuncGetAttributes(&attributes, kernel) == cudaSuccess;
    static_cast<void>(cudaGetLastError());
    return asked && attributes.binaryVersion == 90 && attributes.numRegs > registers;
}

}  // namespace fpq::cuda::detail
