// SPDX-License-Identifier: Apache-2.0
// Wing cuda. An element of an input of any type as float32, for kernels that serve all types.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fpq/core/float_type.hpp"
#include "fpq/core/half.hpp"

namespace fpq::cuda {

/// Value i of a row-major matrix of any type.
__device__ inline float load_float(void const* data, float_type type, std::size_t i) {
    if (type == float_type::fp32) {
        return static_cast<float const*>(data)[i];
    }
    std::uint16_t const bits = static_cast<std::uint16_t const*>(data)[i];
    return type == float_type::bf16 ? to_float(bf16{bits}) : to_float(fp16{bits});
}

}  // namespace fpq::cuda
