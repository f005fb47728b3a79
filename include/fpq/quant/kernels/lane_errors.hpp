// SPDX-License-Identifier: Apache-2.0
// Floor 2. group_error.hpp for eight groups at once, one a lane: the sums keep their order, and no
// lane waits for another's shuffle. Beside the exact errors there are near ones, of which it is
// known how far off they are at most: they say which candidates need an exact error at all.
// AVX2 without FMA, so that nothing can be fused.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "fpq/core/hosted/simd_level.hpp"
#include "fpq/quant/kernels/encode_lanes.hpp"
#include "fpq/quant/kernels/snap_lanes.hpp"
#include "fpq/quant/rounding.hpp"

namespace fpq::kernels {

/// Groups of a block.
inline constexpr std::size_t lane_groups = 8;
/// Values of a group at most: up to here group_error keeps its sum in float.
inline constexpr std::size_t lane_values = 512;

/// Eight groups of n values, n a multiple of 16: value i of group l at [i * 8 + l].
struct lane_block {
    float const* values;   // magnitudes, but for integers
    float const* weights;  // beside them; read only if weighted
    std::size_t n;
    grid_rule rule;
    float low[lane_groups];  // integers: the ends of each group's grid
    float high[lane_groups];
};

enum class lane_loss : std::uint8_t { square, power_2_4, near_square, near_power_2_4 };

/// A near sum of squares and the exact one differ by less than this: values are multiplied by
/// 1 / s, so that a value next to a tie may take the grid value on its other side.
inline constexpr float near_square_ratio = 1.0F + 0x1p-11F;
/// A near sum of powers is less than this times the exact one ...
inline constexpr float near_power_over = 1.0625F;
/// ... which is less than this times the near one.
inline constexpr float near_power_under = 1.0F + 0x1p-10F;

/// d = |d|^2.4, see power_2_4 in group_error.hpp.
template <int Lanes>
[[gnu::always_inline]] inline void power_2_4_lanes(typename lanes_of<Lanes>::f32& d) noexcept {
    using f32 = typename lanes_of<Lanes>::f32;
    using i32 = typename lanes_of<Lanes>::i32;
    f32 const x = d * d;
    f32 const guess =
        1278009344.0F - 0.2F * __builtin_convertvector(__builtin_bit_cast(i32, x), f32);
    i32 const start = __builtin_convertvector(guess, i32);
    f32 z = __builtin_bit_cast(f32, start);
    for (int step = 0; step < 3; ++step) {
        f32 const z2 = z * z;
        z = z * (1.2F - 0.2F * (((x * z2) * z2) * z));
    }
    f32 const z2 = z * z;
    d = x * ((x * z2) * z2);
}

/// d = |d|^2.4 times 0.9999 to 1.0611: the fifth root of d^2 is a fifth of its bits. Not for
/// subnormal squares, which are at most 2^-126.
template <int Lanes>
[[gnu::always_inline]] inline void near_power_lanes(typename lanes_of<Lanes>::f32& d) noexcept {
    using f32 = typename lanes_of<Lanes>::f32;
    using i32 = typename lanes_of<Lanes>::i32;
    f32 const x = d * d;
    // Four fifths of the bits of 1, and a fifth of those of x.
    f32 const root = 852282573.0F + 0.2F * __builtin_convertvector(__builtin_bit_cast(i32, x), f32);
    i32 const bits = __builtin_convertvector(root, i32);
    d = x * __builtin_bit_cast(f32, bits);
}

/// The steps of a block's groups, and the ends of their grids.
template <int Lanes>
struct step_lanes {
    typename lanes_of<Lanes>::f32 step;
    typename lanes_of<Lanes>::f32 inverse;  // near ones only
    typename lanes_of<Lanes>::f32 low;
    typename lanes_of<Lanes>::f32 high;
};

/// sum += the losses of value i; at: the first lane.
template <int Lanes, bool Integer, bool Weighted, lane_loss Loss>
[[gnu::always_inline]] inline void add_losses(lane_block const& b, step_lanes<Lanes> const& s,
                                              std::size_t i, std::size_t at,
                                              typename lanes_of<Lanes>::f32& sum) noexcept {
    using f32 = typename lanes_of<Lanes>::f32;
    using u32 = typename lanes_of<Lanes>::u32;
    f32 x;
    std::memcpy(&x, b.values + i * lane_groups + at, sizeof x);
    constexpr bool near = Loss == lane_loss::near_square || Loss == lane_loss::near_power_2_4;
    f32 q;
    if constexpr (near) {
        q = x * s.inverse;
    } else {
        q = x / s.step;
    }
    if constexpr (Integer) {
        f32 const low = q > s.low ? q : s.low;
        f32 const clamped = low < s.high ? low : s.high;
        q = (clamped + 12582912.0F) - 12582912.0F;
    } else {  // snap without the sign
        f32 const clamped = q < s.high ? q : s.high;
        f32 const normal = f32{} + b.rule.min_normal;
        f32 const octave = clamped > normal ? clamped : normal;
        u32 const spaced =
            (__builtin_bit_cast(u32, octave) & 0x7F800000u) + (b.rule.spacing_shift | 0x00400000u);
        f32 const magic = __builtin_bit_cast(f32, spaced);
        q = (clamped + magic) - magic;
    }
    f32 loss = x - q * s.step;
    if constexpr (Loss == lane_loss::power_2_4) {
        power_2_4_lanes<Lanes>(loss);
    } else if constexpr (Loss == lane_loss::near_power_2_4) {
        near_power_lanes<Lanes>(loss);
    } else {
        loss = loss * loss;
    }
    if constexpr (Weighted) {
        f32 u;
        std::memcpy(&u, b.weights + i * lane_groups + at, sizeof u);
        loss = loss * u;
    }
    sum = sum + loss;
}

/// out[l] = group_error of group l under steps[l]. The sums of sum_lanes: its 16 lanes, then its
/// tree, of which a pass makes a quarter.
template <int Lanes, bool Integer, bool Weighted, lane_loss Loss>
[[gnu::always_inline]] inline void lane_errors_body(lane_block const& b, float const* steps,
                                                    float* out) noexcept {
    using f32 = typename lanes_of<Lanes>::f32;
    for (std::size_t at = 0; at < lane_groups; at += Lanes) {
        step_lanes<Lanes> s;
        std::memcpy(&s.step, steps + at, sizeof s.step);
        s.inverse = 1.0F / s.step;
        std::memcpy(&s.low, b.low + at, sizeof s.low);
        std::memcpy(&s.high, b.high + at, sizeof s.high);
        f32 part[4];
        for (std::size_t k = 0; k < 4; ++k) {
            f32 s0{};
            f32 s1{};
            f32 s2{};
            f32 s3{};
            for (std::size_t i = k; i < b.n; i += 16) {
                add_losses<Lanes, Integer, Weighted, Loss>(b, s, i, at, s0);
                add_losses<Lanes, Integer, Weighted, Loss>(b, s, i + 4, at, s1);
                add_losses<Lanes, Integer, Weighted, Loss>(b, s, i + 8, at, s2);
                add_losses<Lanes, Integer, Weighted, Loss>(b, s, i + 12, at, s3);
            }
            part[k] = (s0 + s2) + (s1 + s3);
        }
        f32 const sum = (part[0] + part[2]) + (part[1] + part[3]);
        std::memcpy(out + at, &sum, sizeof sum);
    }
}

template <bool Integer, bool Weighted, lane_loss Loss>
void lane_errors_generic(lane_block const& b, float const* steps, float* out) noexcept {
    lane_errors_body<4, Integer, Weighted, Loss>(b, steps, out);
}
#if FPQ_X86_KERNELS
template <bool Integer, bool Weighted, lane_loss Loss>
FPQ_AVX2 void lane_errors_avx2(lane_block const& b, float const* steps, float* out) noexcept {
    lane_errors_body<8, Integer, Weighted, Loss>(b, steps, out);
}
#endif

using lane_errors_function = void (*)(lane_block const&, float const*, float*) noexcept;

template <bool Integer, bool Weighted, lane_loss Loss>
lane_errors_function lane_errors_compiled([[maybe_unused]] simd_level level) noexcept {
#if FPQ_X86_KERNELS
    if (level != simd_level::generic) {
        return &lane_errors_avx2<Integer, Weighted, Loss>;
    }
#endif
    return &lane_errors_generic<Integer, Weighted, Loss>;
}

/// The exact errors' body compiled for `level`; square: sums of squares, else of powers, which have
/// no weights.
inline lane_errors_function lane_errors_at(simd_level level, bool integer, bool weighted,
                                           bool square) noexcept {
    if (!square) {
        return integer ? lane_errors_compiled<true, false, lane_loss::power_2_4>(level)
                       : lane_errors_compiled<false, false, lane_loss::power_2_4>(level);
    }
    if (weighted) {
        return integer ? lane_errors_compiled<true, true, lane_loss::square>(level)
                       : lane_errors_compiled<false, true, lane_loss::square>(level);
    }
    return integer ? lane_errors_compiled<true, false, lane_loss::square>(level)
                   : lane_errors_compiled<false, false, lane_loss::square>(level);
}

}  // namespace fpq::kernels
