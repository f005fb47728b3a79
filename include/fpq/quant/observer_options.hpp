// SPDX-License-Identifier: Apache-2.0
// Floor 2. What an observer is asked. The rules behind the names are in stored_scale.hpp and
// scale_search.hpp; docs/observers.md compares them.
#pragma once

#include <span>

#include "fpq/format/scale_rule.hpp"

namespace fpq {

struct observer_options {
    /// minmax, mse or sweep.
    scale_rule rule = scale_rule::minmax;
    /// How an E8M0 scale follows from a maximum (minmax and mse; sweep needs none): fp_quant,
    /// floor, ceil, even or divisor_7_25.
    scale_rule mx = scale_rule::fp_quant;
    /// Divisor style: value = element * scale / global_scale.
    float global_scale = 1.0F;
    /// Weights of the squared errors in the sweep, one a column, >= 0; empty: all 1.
    std::span<float const> column_weight{};
    /// Symmetric INT sweep: the scale may be negative, so that either sign gets the longer end.
    bool signed_end = true;
};

}  // namespace fpq
