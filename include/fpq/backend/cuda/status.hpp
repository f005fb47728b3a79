// SPDX-License-Identifier: Apache-2.0
// Floor 6. What a launcher or the CUDA runtime says, as the error of a run.
#pragma once

#include <cuda_runtime_api.h>

#include <string_view>

#include "fpq/core/hosted/error.hpp"
#include "fpq/cuda/api/status.hpp"

namespace fpq {

/// Throws what a launcher refused as the fpq::error that the CPU path would throw, by `name`.
inline void require_ok(cuda::status const& s, std::string_view name) {
    if (s.ok()) {
        return;
    }
    error_category category = error_category::device;
    if (s.code == cuda::status_code::numeric) {
        category = error_category::numeric;
    } else if (s.code == cuda::status_code::invalid_argument ||
               s.code == cuda::status_code::unsupported) {
        category = error_category::usage;
    }
    fail(category, s.text, name);
}

inline void require_cuda(cudaError_t error, char const* what) {
    require_ok(cuda::from_cuda(error, what), {});
}

}  // namespace fpq
