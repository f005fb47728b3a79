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

#include "fpq/quant/kernels/encode_lanes.hpp"
#include "fpq/quant/rounding.hpp"

namespace fpq::kernels {

using f32x8 = lanes_of<8>::f32;
using u32x8 = lanes_of<8>::u32;
using i32x8 = std::int32_t __attribute__((vector_size(32)));

/// x = snap<Integer>(x), see rounding.hpp.
template <bool Integer>
[[gnu::always_inline]] inline void snap_lanes(f32x8& x, grid_rule const& rule) noexcept {
    f32x8 const most = f32x8{} + rule.high;
    if constexpr (Integer) {
        f32x8 const least = f32x8{} + rule.low;
        f32x8 const low = x > least ? x : least;
        f32x8 const clamped = low < most ? low : most;
        x = (clamped + 12582912.0F) - 12582912.0F;
    } else {
        f32x8 const normal = f32x8{} + rule.min_normal;
        u32x8 const bits = __builtin_bit_cast(u32x8, x);
        u32x8 const rest = bits & 0x7FFFFFFFu;
        f32x8 const size = __builtin_bit_cast(f32x8, rest);
        f32x8 const clamped = size < most ? size : most;
        f32x8 const octave = clamped > normal ? clamped : normal;
        u32x8 const spaced =
            ((__builtin_bit_cast(u32x8, octave) & 0x7F800000u) + rule.spacing_shift) | 0x00400000u;
        f32x8 const magic = __builtin_bit_cast(f32x8, spaced);
        f32x8 const rounded = (clamped + magic) - magic;
        u32x8 const result = __builtin_bit_cast(u32x8, rounded) | (bits & 0x80000000u);
        x = __builtin_bit_cast(f32x8, result);
    }
}

/// d = power_2_4(d), see group_error.hpp.
[[gnu::always_inline]] inline void power_2_4_lanes(f32x8& d) noexcept {
    f32x8 const x = d * d;
    f32x8 const guess =
        1278009344.0F - 0.2F * __builtin_convertvector(__builtin_bit_cast(i32x8, x), f32x8);
    i32x8 const start = __builtin_convertvector(guess, i32x8);
    f32x8 z = __builtin_bit_cast(f32x8, start);
    for (int step = 0; step < 3; ++step) {
        f32x8 const z2 = z * z;
        z = z * (1.2F - 0.2F * (((x * z2) * z2) * z));
    }
    f32x8 const z2 = z * z;
    d = x * ((x * z2) * z2);
}

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
                snap_lanes<Integer>(q, rule);
                f32x8 loss = x - q * s;
                if constexpr (Square) {
                    loss = loss * loss;
                } else {
                    power_2_4_lanes(loss);
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
