// SPDX-License-Identifier: Apache-2.0
// Test support. Small packed weights, the golden row of the format notes, and a one-module
// checkpoint written in any dialect. Not a quantizer: codes and scales are arbitrary but valid.
// Compiled once, in export_fixture.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "fpq/dialect/dialect.hpp"
#include "fpq/format/packed.hpp"
#include "fpq/format/quant_args.hpp"

namespace fpq_test {

struct packed_fixture {
    fpq::quant_format format;
    std::size_t rows = 0;
    std::size_t cols = 0;
    std::vector<std::uint8_t> codes;
    std::vector<std::uint8_t> scales;
    float global_scale = 1.0F;

    [[nodiscard]] fpq::packed_view view() const {
        return {format, rows, cols, codes.data(), scales.data(), nullptr, global_scale};
    }
};

/// 64 values whose bytes are known from independent decoders: NVFP4 with G = 512.
packed_fixture golden_nvfp4();
/// MXFP4 with the rule of the compressed-tensors encoder.
packed_fixture golden_mxfp4();
/// MXFP4 with the rule of FP-Quant: decoded with a global scale of 3.
packed_fixture golden_fp_quant_mxfp4();

/// Random codes and scales near 1.
packed_fixture random_packed(fpq::quant_format const& format, std::size_t rows, std::size_t cols,
                             float global, std::uint64_t seed);

/// A scheme of one format for weights and, when asked for, inputs, as the layout's clients round.
fpq::scheme scheme_for(fpq::quant_format const& format, bool inputs,
                       fpq::scale_rule mx = fpq::scale_rule::even);

/// The plan of an export of these records under one scheme.
fpq::export_plan plan_of(std::vector<fpq::linear_record> const& records, fpq::scheme const& how);

/// Writes a checkpoint that holds exactly these quantized modules, a norm and an embedding.
std::filesystem::path write_export(std::filesystem::path const& dir, fpq::dialect const& kind,
                                   std::vector<fpq::linear_record> const& records,
                                   fpq::export_plan const& plan);

}  // namespace fpq_test
