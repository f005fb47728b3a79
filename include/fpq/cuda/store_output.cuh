// SPDX-License-Identifier: Apache-2.0
// Wing cuda. The last step of every matrix product: a float32 in the output's type.
#pragma once

#include <cstddef>

#include "fpq/core/half.hpp"
#include "fpq/cuda/types.hpp"

namespace fpq::cuda {

/// Stores `value` at element `at` of `out`, rounded to nearest even.
__device__ __forceinline__ void store_output(void* out, float_type type, std::size_t at,
                                             float value) {
    if (type == float_type::fp32) {
        static_cast<float*>(out)[at] = value;
    } else if (type == float_type::bf16) {
        static_cast<bf16*>(out)[at] = to_bf16(value);
    } else {
        static_cast<fp16*>(out)[at] = to_fp16(value);
    }
}

}  // namespace fpq::cuda
