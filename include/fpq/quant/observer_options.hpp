// SPDX-License-Identifier: Apache-2.0
// Floor 2. What an observer is asked. The rules behind the names are in scale_rule.hpp and
// scale_search.hpp; docs/observers.md compares them.
#pragma once

#include <cstdint>
#include <span>

namespace fpq {

/// How a group's scale is found.
/// minmax: the largest magnitude lands on the largest code.
/// mse: FP-Quant's grid of 100 shrink factors, |error|^2.4, scored before the scale is rounded.
/// sweep: every admissible stored scale, squared error of the values as they will be decoded.
enum class observer_kind : std::uint8_t { minmax, mse, sweep };

/// How an E8M0 scale follows from a group's maximum a (minmax and mse; sweep needs none).
/// fp_quant: 4/3 * 2^(floor(log2 a) - emax), stored as a power of two for global scale 3.
/// floor: OCP text. ceil: RCEIL, never clips. even: compressed-tensors' rounding of a.
/// divisor_7_25: ceil with the element maximum stretched by 7.25/6.
enum class mx_rule : std::uint8_t { fp_quant, floor, ceil, even, divisor_7_25 };

struct observer_options {
    observer_kind kind = observer_kind::minmax;
    mx_rule mx = mx_rule::fp_quant;
    /// Divisor style: value = element * scale / global_scale.
    float global_scale = 1.0F;
    /// Weights of the squared errors in the sweep, one a column, >= 0; empty: all 1.
    std::span<float const> column_weight{};
    /// Symmetric INT sweep: the scale may be negative, so that either sign gets the longer end.
    bool signed_end = true;
};

}  // namespace fpq
