// SPDX-License-Identifier: Apache-2.0
// Wing cuda. The last step of every matrix product: a float32 in the output's type.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fpq/core/float_type.hpp"
#include "fpq/core/half.hpp"
#include "fpq/cuda/ptx/half_words.cuh"

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

/// The same for four neighbours, the first on a multiple of four values' bytes.
__device__ __forceinline__ void store_output_four(void* out, float_type type, std::size_t at,
                                                  float4 const& value) {
    if (type == float_type::fp32) {
        *reinterpret_cast<float4*>(static_cast<float*>(out) + at) = value;
        return;
    }
    uint2 const words = type == float_type::bf16
                            ? make_uint2(half_words<bf16>::pack(value.x, value.y),
                                         half_words<bf16>::pack(value.z, value.w))
                            : make_uint2(half_words<fp16>::pack(value.x, value.y),
                                         half_words<fp16>::pack(value.z, value.w));
    *reinterpret_cast<uint2*>(static_cast<std::uint16_t*>(out) + at) = words;
}

}  // namespace fpq::cuda
