// SPDX-License-Identifier: Apache-2.0
// Floor 2. snap of rounding.hpp, a register at a time, and groups that become their decoded values
// in place. One body on the compiler's vector types, as in encode_lanes.hpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "fpq/core/hosted/simd_level.hpp"
#include "fpq/quant/kernels/encode_lanes.hpp"
#include "fpq/quant/rounding.hpp"

namespace fpq::kernels {

/// x = snap<Integer>(x).
template <int Lanes, bool Integer>
[[gnu::always_inline]] inline void snap_lanes(typename lanes_of<Lanes>::f32& x,
                                              grid_rule const& rule) noexcept {
    using f32 = typename lanes_of<Lanes>::f32;
    using u32 = typename lanes_of<Lanes>::u32;
    f32 const most = f32{} + rule.high;
    if constexpr (Integer) {
        f32 const least = f32{} + rule.low;
        f32 const low = x > least ? x : least;
        f32 const clamped = low < most ? low : most;
        x = (clamped + 12582912.0F) - 12582912.0F;
    } else {
        f32 const normal = f32{} + rule.min_normal;
        u32 const bits = __builtin_bit_cast(u32, x);
        u32 const rest = bits & 0x7FFFFFFFu;
        f32 const size = __builtin_bit_cast(f32, rest);
        f32 const clamped = size < most ? size : most;
        f32 const octave = clamped > normal ? clamped : normal;
        u32 const spaced =
            ((__builtin_bit_cast(u32, octave) & 0x7F800000u) + rule.spacing_shift) | 0x00400000u;
        f32 const magic = __builtin_bit_cast(f32, spaced);
        f32 const rounded = (clamped + magic) - magic;
        u32 const result = __builtin_bit_cast(u32, rounded) | (bits & 0x80000000u);
        x = __builtin_bit_cast(f32, result);
    }
}

/// x[i] = fl(snap(fl(x[i] / s)) * s), i < n, n a multiple of 8.
template <int Lanes>
[[gnu::always_inline]] inline void snap_group_body(float* x, std::size_t n, float s,
                                                   grid_rule const& rule) noexcept {
    using f32 = typename lanes_of<Lanes>::f32;
    for (std::size_t i = 0; i < n; i += Lanes) {
        f32 v;
        std::memcpy(&v, x + i, sizeof v);
        v = v / s;
        if (rule.integer) {
            snap_lanes<Lanes, true>(v, rule);
        } else {
            snap_lanes<Lanes, false>(v, rule);
        }
        v = v * s;
        std::memcpy(x + i, &v, sizeof v);
    }
}

inline void snap_group_generic(float* x, std::size_t n, float s, grid_rule const& rule) noexcept {
    snap_group_body<4>(x, n, s, rule);
}
#if FPQ_X86_KERNELS
FPQ_AVX2 inline void snap_group_avx2(float* x, std::size_t n, float s,
                                     grid_rule const& rule) noexcept {
    snap_group_body<8>(x, n, s, rule);
}
#endif

/// The body compiled for `level`.
inline auto snap_group_at([[maybe_unused]] simd_level level) noexcept {
#if FPQ_X86_KERNELS
    if (level != simd_level::generic) {
        return &snap_group_avx2;
    }
#endif
    return &snap_group_generic;
}

}  // namespace fpq::kernels
