// SPDX-License-Identifier: Apache-2.0
// Floor 2. group_error.hpp, eight values a register: the same products, sums and order. AVX2
// without FMA, so that nothing can be fused; other processors take the plain loops.
#pragma once

#include "fpq/core/hosted/simd_level.hpp"

#if FPQ_X86_KERNELS

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "fpq/quant/kernels/lane_errors.hpp"
#include "fpq/quant/kernels/snap_lanes.hpp"
#include "fpq/quant/rounding.hpp"

namespace fpq::kernels {

using f32x8 = lanes_of<8>::f32;

/// group_error<Integer, Weighted, Power>; Square: error_power::square. n is a multiple of 16; sums
/// go to double every `chunk` values.
template <bool Integer, bool Weighted, bool Square>
FPQ_AVX2 inline double group_error_avx2(float const* w, float const* weight, std::size_t n, float s,
                                        grid_rule const& rule, std::size_t chunk) noexcept {
    double total = 0.0;
    for (std::size_t begin = 0; begin < n; begin += chunk) {
        std::size_t const end = std::min(n, begin + chunk);
        f32x8 sum[2] = {};
        for (std::size_t i = begin; i < end; i += 16) {
            for (std::size_t h = 0; h < 2; ++h) {
                f32x8 x;
                std::memcpy(&x, w + i + 8 * h, sizeof x);
                f32x8 q = x / s;
                snap_lanes<8, Integer>(q, rule);
                f32x8 loss = x - q * s;
                if constexpr (Square) {
                    loss = loss * loss;
                } else {
                    power_2_4_lanes<8>(loss);
                }
                if constexpr (Weighted) {
                    f32x8 u;
                    std::memcpy(&u, weight + i + 8 * h, sizeof u);
                    loss = loss * u;
                }
                sum[h] = sum[h] + loss;
            }
        }
        float lane[8];
        f32x8 const all = sum[0] + sum[1];
        std::memcpy(lane, &all, sizeof lane);
        for (std::size_t width = 4; width > 0; width /= 2) {
            for (std::size_t l = 0; l < width; ++l) {
                lane[l] += lane[l + width];
            }
        }
        total += static_cast<double>(lane[0]);
    }
    return total;
}

}  // namespace fpq::kernels

#endif
