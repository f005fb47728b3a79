// SPDX-License-Identifier: Apache-2.0
// Floor 2. What comes before the codes of a group, a register at a time: 16-bit floats widened, and
// the least and the largest value. One body a level, as in encode_lanes.hpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "fpq/core/half.hpp"
#include "fpq/core/hosted/simd_level.hpp"
#include "fpq/quant/kernels/encode_lanes.hpp"

#if FPQ_X86_KERNELS
#include <immintrin.h>
#endif

FPQ_INTRINSICS_BEGIN

namespace fpq::kernels {

/// Of a group, both at least as far out as 0; NaN counts as 0.
struct extremes {
    float least;
    float most;
};

/// w (n), n a multiple of 16.
template <int Lanes>
[[gnu::always_inline]] inline void extremes_body(float const* w, std::size_t n,
                                                 extremes& found) noexcept {
    using f32 = typename lanes_of<Lanes>::f32;
    using f32x4 = typename lanes_of<4>::f32;
    f32 least{};
    f32 most{};
    for (std::size_t i = 0; i < n; i += Lanes) {
        f32 v;
        std::memcpy(&v, w + i, sizeof v);
        least = v < least ? v : least;  // comparisons that NaN never wins
        most = v > most ? v : most;
    }
    f32x4 low[Lanes / 4];
    f32x4 high[Lanes / 4];
    std::memcpy(low, &least, sizeof least);
    std::memcpy(high, &most, sizeof most);
    for (int k = 1; k < Lanes / 4; ++k) {
        low[0] = low[k] < low[0] ? low[k] : low[0];
        high[0] = high[k] > high[0] ? high[k] : high[0];
    }
    float l[4];
    float h[4];
    std::memcpy(l, low, sizeof l);
    std::memcpy(h, high, sizeof h);
    auto const smaller = [](float a, float b) { return b < a ? b : a; };
    auto const larger = [](float a, float b) { return b > a ? b : a; };
    found.least = smaller(smaller(l[0], l[1]), smaller(l[2], l[3]));
    found.most = larger(larger(h[0], h[1]), larger(h[2], h[3]));
}

/// w (n) = bf16 x (n), n a multiple of 8.
template <int Lanes>
[[gnu::always_inline]] inline void widen_body(bf16 const* x, std::size_t n, float* w) noexcept {
    using u16x8 = std::uint16_t __attribute__((vector_size(16)));
    for (std::size_t i = 0; i < n; i += 8) {
        u16x8 half;
        std::memcpy(&half, x + i, sizeof half);
        lanes_of<8>::u32 const wide = __builtin_convertvector(half, lanes_of<8>::u32) << 16;
        std::memcpy(w + i, &wide, sizeof wide);
    }
}

inline void extremes_generic(float const* w, std::size_t n, extremes& found) noexcept {
    extremes_body<4>(w, n, found);
}
inline void widen_generic(bf16 const* x, std::size_t n, float* w) noexcept {
    widen_body<4>(x, n, w);
}
inline void widen_generic(fp16 const* x, std::size_t n, float* w) noexcept {
    for (std::size_t i = 0; i < n; ++i) {
        w[i] = to_float(x[i]);
    }
}
#if FPQ_X86_KERNELS
FPQ_AVX2 inline void extremes_avx2(float const* w, std::size_t n, extremes& found) noexcept {
    extremes_body<8>(w, n, found);
}
FPQ_AVX512 inline void extremes_avx512(float const* w, std::size_t n, extremes& found) noexcept {
    extremes_body<16>(w, n, found);
}
FPQ_AVX2 inline void widen_avx2(bf16 const* x, std::size_t n, float* w) noexcept {
    widen_body<8>(x, n, w);
}
/// NaN becomes quiet here, which no code shows.
FPQ_AVX2 inline void widen_avx2(fp16 const* x, std::size_t n, float* w) noexcept {
    for (std::size_t i = 0; i < n; i += 8) {
        __m128i const half = _mm_loadu_si128(reinterpret_cast<__m128i const*>(x + i));
        _mm256_storeu_ps(w + i, _mm256_cvtph_ps(half));
    }
}
#endif

/// Of w (n), n a multiple of 16.
inline extremes extremes_at([[maybe_unused]] simd_level level, float const* w,
                            std::size_t n) noexcept {
    extremes found{};
#if FPQ_X86_KERNELS
    if (level == simd_level::avx512) {
        extremes_avx512(w, n, found);
        return found;
    }
    if (level == simd_level::avx2) {
        extremes_avx2(w, n, found);
        return found;
    }
#endif
    extremes_generic(w, n, found);
    return found;
}

/// w (n) = the values of x (n) as float.
template <class T>
void widen_at([[maybe_unused]] simd_level level, T const* x, std::size_t n, float* w) noexcept {
    if constexpr (std::is_same_v<T, float>) {
        std::memcpy(w, x, n * sizeof(float));
    } else {
        std::size_t const whole = n / 8 * 8;
#if FPQ_X86_KERNELS
        if (level != simd_level::generic) {
            widen_avx2(x, whole, w);
        } else {
            widen_generic(x, whole, w);
        }
#else
        widen_generic(x, whole, w);
#endif
        for (std::size_t i = whole; i < n; ++i) {
            w[i] = to_float(x[i]);
        }
    }
}

}  // namespace fpq::kernels

FPQ_INTRINSICS_END
