// SPDX-License-Identifier: Apache-2.0
// Floor 1. How the scale of a group is found: one list for the CPU, the GPU, recipes and files. The
// arithmetic is in scale_bytes.hpp and quant/scale_search.hpp; docs/observers.md compares.
#pragma once

#include <cstdint>

#include "fpq/core/config.hpp"

namespace fpq {

/// a = largest magnitude of the group, G = global scale (value = element * scale / G).
/// minmax: a lands on the largest element. With E8M0 scales the rule beside it says how
///   (observer_options::mx).
/// floor, ceil, even: the E8M0 rules of OCP MX 1.0, of RCEIL (never clips) and of
///   compressed-tensors (a rounded to the element's mantissa, halves up).
/// abs_max: QuTLASS's. NVFP4: minmax, but a scale that rounds to 0 stays 0 with codes 0.
///   MXFP4: 2^floor(log2(a + 1e-8)), for G = 3.
/// quest: QuTLASS's, from the standard deviation d of the group: d * 2.92247856 / 6 + 1e-8, times
/// G,
///   E4M3 nearest, or the power of two below.
/// four_over_six: E4M3 scales: the better of a / 6 and a / 4 by squared error; on equal errors a
/// / 6. sweep: every admissible stored scale, squared error of the values as they will be decoded.
/// mse: FP-Quant's grid of 100 shrink factors, |error|^2.4, scored before the scale is rounded.
/// fp_quant: E8M0: 4/3 * 2^(floor(log2 a) - emax), stored as a power of two for G = 3.
/// divisor_7_25: E8M0: ceil with the element's maximum stretched by 7.25/6.
enum class scale_rule : std::uint8_t {
    minmax,
    floor,
    ceil,
    even,
    abs_max,
    quest,
    four_over_six,
    sweep,
    mse,
    fp_quant,
    divisor_7_25
};

/// As recipes and files write it.
constexpr char const* name_of(scale_rule rule) noexcept {
    constexpr char const* names[] = {"minmax",  "floor",    "ceil",          "even",
                                     "abs_max", "quest",    "four_over_six", "sweep",
                                     "mse",     "fp_quant", "divisor_7_25"};
    return names[static_cast<int>(rule)];
}

/// True for the fixed rules of E8M0 scales.
FPQ_HD constexpr bool is_e8m0_rule(scale_rule rule) noexcept {
    return rule == scale_rule::floor || rule == scale_rule::ceil || rule == scale_rule::even ||
           rule == scale_rule::fp_quant || rule == scale_rule::divisor_7_25;
}

}  // namespace fpq
