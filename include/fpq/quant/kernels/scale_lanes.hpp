// SPDX-License-Identifier: Apache-2.0
// Floor 2. The constants of a vectorized minmax scale: which E8M0 byte follows from a maximum as an
// offset on its exponent and a carry out of its mantissa, read off mx_scale_byte itself.
#pragma once

#include <cstdint>

#include "fpq/core/bits.hpp"
#include "fpq/quant/kernels/e2m1_table.hpp"
#include "fpq/quant/stored_scale.hpp"

namespace fpq::kernels {

struct scale_lanes {
    float global_scale = 1.0F;
    float zero_as = 1.0F;    // E8M0: what a maximum of 0 counts as
    float factor = 1.0F;     // E8M0: the maximum is multiplied by this first
    std::int32_t carry = 0;  // E8M0: added to the float's bits before its exponent is taken
    std::int32_t exponent_offset = 0;  // E8M0: byte = biased exponent + this
    int low = 1;                       // bytes outside low..high are left to the plain rule
    int high = 0;
    bool clips = false;  // some |w| / s are e2m1_signed_end or more
    bool usable = false;
};

/// The constants of one E8M0 rule for global scales in [2^-60, 2^60] and the bytes low..high.
inline scale_lanes e8m0_scale_lanes(scale_rule rule, grid_rule const& grid, float global_scale,
                                    int low, int high) noexcept {
    scale_lanes lanes;
    lanes.global_scale = global_scale;
    lanes.zero_as = grid.high;
    lanes.factor = rule == scale_rule::fp_quant ? 1.0F : global_scale;
    lanes.low = low;
    lanes.high = high;
    if (!(global_scale >= 0x1p-60F && global_scale <= 0x1p60F) || low > high) {
        return lanes;
    }
    // fp_quant folds the global scale into the exponent; the other rules look at the product.
    float const probe_global = rule == scale_rule::fp_quant ? global_scale : 1.0F;
    auto const byte_of = [&](std::uint32_t mantissa) {
        float const a = bits_of<float>(0x3F800000u | mantissa);
        return static_cast<int>(mx_scale_byte(rule, grid, a, probe_global));
    };
    int const base = byte_of(0);
    std::uint32_t least = 0;  // mantissas below it keep the byte
    std::uint32_t most = 1u << 23;
    while (least < most) {
        std::uint32_t const middle = (least + most) / 2;
        if (byte_of(middle) > base) {
            most = middle;
        } else {
            least = middle + 1;
        }
    }
    lanes.carry = static_cast<std::int32_t>((1u << 23) - least);
    lanes.exponent_offset = base - 127;
    // The worst ratio lies just below the carry: the largest maximum that keeps the byte.
    float const worst = bits_of<float>(0x3F800000u + least - 1) / lanes.factor;
    lanes.clips = !(worst / effective_scale(exp2_int(base - 127), global_scale) < e2m1_signed_end);
    lanes.usable = least > 0;
    return lanes;
}

/// The constants of NVFP4's scales.
inline scale_lanes e4m3_scale_lanes(float global_scale, int low, int high) noexcept {
    scale_lanes lanes;
    lanes.global_scale = global_scale;
    lanes.low = low;
    lanes.high = high;
    lanes.usable = low <= high;
    return lanes;
}

}  // namespace fpq::kernels
