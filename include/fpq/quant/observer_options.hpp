// SPDX-License-Identifier: Apache-2.0
// Floor 2. What an observer is asked. The rules behind the names are in stored_scale.hpp and
// scale_search.hpp; docs/observers.md compares them.
#pragma once

#include <span>

#include "fpq/core/hosted/error.hpp"
#include "fpq/format/block.hpp"
#include "fpq/format/scale_bytes.hpp"
#include "fpq/format/scale_rule.hpp"

namespace fpq {

struct observer_options {
    /// Any rule that the format has (has_rule). A fixed rule of E8M0 scales here means minmax with
    /// that rule in `mx`.
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

/// The options with E8M0's fixed rules as minmax and `mx`.
/// Errors: fpq::error (usage) when the format has no such rule, or `mx` is none of E8M0's.
inline observer_options settled(quant_format const& format, observer_options options) {
    if (!has_rule(format, options.rule)) {
        fail_usage("the format has no such scale rule", "find_scales",
                   options.rule == scale_rule::four_over_six ? "E2M1 elements with E4M3 scales"
                   : is_e8m0_rule(options.rule)              ? "E8M0 scales"
                                                : "E2M1 elements with E4M3 or E8M0 scales",
                   name_of(options.rule));
    }
    if (is_e8m0_rule(options.rule)) {
        options.mx = options.rule;
        options.rule = scale_rule::minmax;
    }
    if (format.scale == scale_kind::e8m0 && !is_e8m0_rule(options.mx)) {
        fail_usage("no rule of E8M0 scales", "find_scales",
                   "fp_quant, floor, ceil, even or divisor_7_25", name_of(options.mx));
    }
    return options;
}

}  // namespace fpq
