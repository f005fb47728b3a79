// SPDX-License-Identifier: Apache-2.0
// Floor 6. The weight formats of compressed-tensors, as a table.
#pragma once

#include <array>
#include <string_view>

#include "fpq/dialect/dialect.hpp"

namespace fpq::detail {

/// One weight format of compressed-tensors.
struct compressed_tensors_format {
    quant_format format;
    std::string_view name;
    quant_format input;  // what clients can round inputs to
    std::string_view code_suffix;
    dtype code_type;
    dtype scale_type;
};

inline constexpr std::array<compressed_tensors_format, 4> compressed_tensors_formats{{
    {nvfp4, "nvfp4-pack-quantized", nvfp4, ".weight_packed", dtype::u8, dtype::f8_e4m3},
    {mxfp4, "mxfp4-pack-quantized", mxfp4, ".weight_packed", dtype::u8, dtype::u8},
    {mxfp6_e2m3, "mxfp6-pack-quantized", mxfp8_e4m3, ".weight_packed", dtype::u8, dtype::u8},
    {mxfp8_e4m3, "mxfp8-quantized", mxfp8_e4m3, ".weight", dtype::f8_e4m3, dtype::u8},
}};

inline compressed_tensors_format const* find_compressed_tensors(quant_format const& f) noexcept {
    for (compressed_tensors_format const& row : compressed_tensors_formats) {
        if (row.format == f) {
            return &row;
        }
    }
    return nullptr;
}

}  // namespace fpq::detail
