// SPDX-License-Identifier: Apache-2.0
// Floor 1. How one operand is quantized: its format and how its scales are found. Data only;
// recipes resolve to it and every backend reads it.
#pragma once

#include "fpq/format/block.hpp"
#include "fpq/format/scale_rule.hpp"

namespace fpq {

/// A weight, or the inputs of a linear.
struct quant_args {
    quant_format format{};
    scale_rule rule = scale_rule::minmax;  // minmax, mse or sweep: the observer
    scale_rule mx = scale_rule::fp_quant;  // the fixed rule of E8M0 scales, for minmax and mse
    bool pow2_global = true;               // the global scale is a power of two
    bool dynamic = false;                  // group scales come from each input as it is seen

    FPQ_HD constexpr bool operator==(quant_args const& o) const noexcept {
        return format == o.format && rule == o.rule && mx == o.mx && pow2_global == o.pow2_global &&
               dynamic == o.dynamic;
    }
};

}  // namespace fpq
