// SPDX-License-Identifier: Apache-2.0
// Floor 0. The type of a matrix that is not quantized, as a value.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fpq/core/config.hpp"

namespace fpq {

/// Of activations, weights and outputs of kernels.
enum class float_type : std::uint8_t { bf16, fp16, fp32 };

/// Bytes of one value.
FPQ_HD constexpr std::size_t float_bytes(float_type type) noexcept {
    return type == float_type::fp32 ? 4 : 2;
}

constexpr char const* name_of(float_type type) noexcept {
    return type == float_type::bf16 ? "bf16" : type == float_type::fp16 ? "fp16" : "fp32";
}

}  // namespace fpq
