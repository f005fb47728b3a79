// SPDX-License-Identifier: Apache-2.0
// Wing cuda. The enums that launchers take. Host only in use, but free of CUDA headers.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fpq/core/config.hpp"

namespace fpq::cuda {

/// Element type of an activation, weight or output matrix that is not quantized.
enum class float_type : std::uint8_t { bf16, fp16, fp32 };

/// The block formats that kernels know. nvfp4: E2M1, E4M3 scale a 16, one fp32 global scale.
/// mxfp4: E2M1, E8M0 scale a 32. mxfp8: E4M3, E8M0 scale a 32.
enum class block_format : std::uint8_t { nvfp4, mxfp4, mxfp8 };

/// Where the scale of (row, group) lies: fpq::row_major_scales or fpq::swizzled_scales (128x4).
enum class scale_order : std::uint8_t { row_major, swizzled };

/// Bytes of one value.
FPQ_HD constexpr std::size_t float_bytes(float_type type) noexcept {
    return type == float_type::fp32 ? 4 : 2;
}
/// Values that share a scale.
FPQ_HD constexpr std::size_t group_of(block_format format) noexcept {
    return format == block_format::nvfp4 ? 16 : 32;
}
/// Bits of one code.
FPQ_HD constexpr int code_bits(block_format format) noexcept {
    return format == block_format::mxfp8 ? 8 : 4;
}
constexpr char const* name_of(float_type type) noexcept {
    return type == float_type::bf16 ? "bf16" : type == float_type::fp16 ? "fp16" : "fp32";
}
constexpr char const* name_of(block_format format) noexcept {
    return format == block_format::nvfp4   ? "nvfp4"
           : format == block_format::mxfp4 ? "mxfp4"
                                           : "mxfp8";
}
constexpr char const* name_of(scale_order order) noexcept {
    return order == scale_order::row_major ? "row-major" : "swizzled";
}

}  // namespace fpq::cuda
