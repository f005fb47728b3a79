// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Which rules of fpq::scale_rule the kernels know, by format. minmax of an MX format is
// FP-Quant's rule, for G = 3 * 2^k; sweep and quest are for FP4 only. Rules that the CPU path has
// too give its bytes.
#pragma once

#include "fpq/cuda/api/types.hpp"
#include "fpq/format/scale_rule.hpp"

namespace fpq::cuda {

using fpq::name_of;
using fpq::scale_rule;

/// True when `format` has the method.
constexpr bool has_method(block_format format, scale_rule method) noexcept {
    switch (method) {
        case scale_rule::minmax:
            return true;
        case scale_rule::floor:
        case scale_rule::ceil:
        case scale_rule::even:
            return format != block_format::nvfp4;
        case scale_rule::abs_max:
        case scale_rule::quest:
        case scale_rule::sweep:
            return format != block_format::mxfp8;
        case scale_rule::four_over_six:
            return format == block_format::nvfp4;
        case scale_rule::mse:
        case scale_rule::fp_quant:
        case scale_rule::divisor_7_25:
            break;
    }
    return false;
}

}  // namespace fpq::cuda
