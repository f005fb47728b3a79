// SPDX-License-Identifier: Apache-2.0
// Floor 2. The fast Hadamard of blocks within a row by the best kernel of this processor, with the
// plain butterfly as one of them. The transform itself is defined on floor 3.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstring>

#include "fpq/core/hosted/simd_level.hpp"
#include "fpq/quant/kernels/avx512_hadamard.hpp"
#include "fpq/quant/kernels/encode_lanes.hpp"

namespace fpq::kernels {

/// log2(g) stages in place: distance 1 first.
inline void hadamard_stages(float* x, std::size_t g) noexcept {
    for (std::size_t half = 1; half < g; half *= 2) {
        for (std::size_t base = 0; base < g; base += 2 * half) {
            float* const low = x + base;
            float* const high = low + half;
            for (std::size_t i = 0; i < half; ++i) {
                float const a = low[i];
                float const b = high[i];
                low[i] = a + b;
                high[i] = a - b;
            }
        }
    }
}

/// The same on vectors from the distance of one register on.
template <int Lanes>
[[gnu::always_inline]] inline void hadamard_stages_body(float* x, std::size_t g) noexcept {
    using f32 = typename lanes_of<Lanes>::f32;
    std::size_t const inside = g < Lanes ? g : Lanes;
    for (std::size_t at = 0; at < g; at += inside) {
        hadamard_stages(x + at, inside);
    }
    for (std::size_t half = Lanes; half < g; half *= 2) {
        for (std::size_t base = 0; base < g; base += 2 * half) {
            for (std::size_t i = base; i < base + half; i += Lanes) {
                f32 a;
                f32 b;
                std::memcpy(&a, x + i, sizeof a);
                std::memcpy(&b, x + i + half, sizeof b);
                f32 const sum = a + b;
                f32 const difference = a - b;
                std::memcpy(x + i, &sum, sizeof sum);
                std::memcpy(x + i + half, &difference, sizeof difference);
            }
        }
    }
}

inline void hadamard_generic(float* x, std::size_t g) noexcept { hadamard_stages_body<4>(x, g); }
#if FPQ_X86_KERNELS
FPQ_AVX2 inline void hadamard_avx2(float* x, std::size_t g) noexcept {
    hadamard_stages_body<8>(x, g);
}
#endif

/// What a butterfly of g values is multiplied by: fl(1 / sqrt(g)).
inline float hadamard_factor(std::size_t g) noexcept {
    return static_cast<float>(1.0 / std::sqrt(static_cast<double>(g)));
}

/// y (n) = the butterflies of x (n) in blocks of g, a power of two that divides n; y may be x. The
/// additions of hadamard_in_place in its order.
inline void hadamard_sums([[maybe_unused]] simd_level level, float const* x, float* y,
                          std::size_t n, std::size_t g) noexcept {
#if FPQ_X86_KERNELS
    if (level == simd_level::avx512 && g >= 16) {
        hadamard_avx512(x, y, n, g, 1.0F);
        return;
    }
#endif
    if (x != y) {
        std::memcpy(y, x, n * sizeof(float));
    }
    for (std::size_t at = 0; at < n; at += g) {
#if FPQ_X86_KERNELS
        if (level != simd_level::generic) {
            hadamard_avx2(y + at, g);
            continue;
        }
#endif
        hadamard_generic(y + at, g);
    }
}

/// y (n) = x (n) in blocks of g times H: hadamard_sums, then one product with hadamard_factor.
inline void hadamard_blocks(simd_level level, float const* x, float* y, std::size_t n,
                            std::size_t g) noexcept {
    float const factor = hadamard_factor(g);
#if FPQ_X86_KERNELS
    if (level == simd_level::avx512 && g >= 16) {
        hadamard_avx512(x, y, n, g, factor);
        return;
    }
#endif
    hadamard_sums(level, x, y, n, g);
    for (std::size_t i = 0; i < n; ++i) {
        y[i] *= factor;
    }
}

}  // namespace fpq::kernels
