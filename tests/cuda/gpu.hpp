// SPDX-License-Identifier: Apache-2.0
// Included by every *_gpu.cpp: without a CUDA device the program says so and ends with code 77,
// which ctest counts as skipped, before any test runs.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdio>
#include <cstdlib>

namespace fpq_test {

/// Ends the program with code 77 when there is no device.
struct needs_gpu {
    needs_gpu() {
        int count = 0;
        cudaError_t const error = cudaGetDeviceCount(&count);
        if (error != cudaSuccess || count == 0) {
            std::printf("SKIPPED: no CUDA device (%s); the kernels were compiled, not run\n",
                        cudaGetErrorName(error));
            std::fflush(stdout);
            std::_Exit(77);
        }
    }
};

inline needs_gpu const gpu_is_there{};

}  // namespace fpq_test
