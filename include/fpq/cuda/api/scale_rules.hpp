// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Which rules of fpq::scale_rule the kernels know, by format. minmax of an MX format is
// FP-Quant's rule, for G = 3 * 2^k; sweep and quest are for FP4 only. Rules that the CPU path has
// too give its bytes.
#pragma once

#include "fpq/cuda/api/vocabulary.hpp"

namespace fpq::cuda {

/// True when there are kernels for `format` and they know the rule.
constexpr bool knows_rule(quant_format const& format, scale_rule rule) noexcept {
    if (format != nvfp4 && format != mxfp4 && format != mxfp8_e4m3) {
        return false;
    }
    switch (rule) {
        case scale_rule::minmax:
            return true;
        case scale_rule::floor:
        case scale_rule::ceil:
        case scale_rule::even:
            return format != nvfp4;
        case scale_rule::abs_max:
        case scale_rule::quest:
        case scale_rule::sweep:
            return format != mxfp8_e4m3;
        case scale_rule::four_over_six:
            return format == nvfp4;
        case scale_rule::mse:
        case scale_rule::fp_quant:
        case scale_rule::divisor_7_25:
            break;
    }
    return false;
}

}  // namespace fpq::cuda
