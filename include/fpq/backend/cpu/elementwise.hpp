// SPDX-License-Identifier: Apache-2.0
// The parts of a decoder that are not matrix products: exp, RMSNorm, SiLU gating, sums.
//
// Floor 6. All loops run over blocks of 16 values with their own accumulators, which any
// compiler vectorizes without fast-math and which give the same bits whatever the alignment or the
// number of threads. Not a general math library: ranges are those of a forward pass.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "fpq/core/bits.hpp"

namespace fpq::detail {

/// Independent accumulators of a blocked loop.
inline constexpr std::size_t lanes = 16;
using lane_block = std::array<float, lanes>;

/// e^x, relative error below 2e-7 for |x| <= 87; arguments are clamped there; NaN stays NaN.
/// Range reduction by ln 2 in two parts and the degree-5 polynomial of Cephes' expf.
inline float fast_exp(float x) noexcept {
    constexpr float limit = 87.0F;
    constexpr float log2_e = 1.44269504F;
    constexpr float ln2_high = 0.693359375F;
    constexpr float ln2_low = -2.12194440e-4F;
    constexpr float round_to_integer = 12582912.0F;  // 1.5 * 2^23
    constexpr int mantissa_bits = 23;
    constexpr std::uint32_t one = 0x3F800000U;
    x = x < -limit ? -limit : x;
    x = x > limit ? limit : x;
    const float shifted = x * log2_e + round_to_integer;
    const float n = shifted - round_to_integer;
    const float r = (x - n * ln2_high) - n * ln2_low;
    float p = 1.9875691500e-4F;
    p = p * r + 1.3981999507e-3F;
    p = p * r + 8.3334519073e-3F;
    p = p * r + 4.1665795894e-2F;
    p = p * r + 1.6666665459e-1F;
    p = p * r + 5.0000001201e-1F;
    p = p * r * r + r + 1.0F;
    const std::uint32_t power = bits_of<std::uint32_t>(shifted) << mantissa_bits;
    return p * bits_of<float>(power + one);
}

/// Sum of the lanes in a fixed tree.
inline float lane_sum(lane_block sums) noexcept {
    for (std::size_t width = lanes / 2; width > 0; width /= 2) {
        for (std::size_t i = 0; i < width; ++i) {
            sums[i] += sums[i + width];
        }
    }
    return sums[0];
}

/// Sum of a[i] * b[i] in float32, by lanes.
inline float dot(float const* a, float const* b, std::size_t n) noexcept {
    lane_block sums{};
    std::size_t j = 0;
    for (; j + lanes <= n; j += lanes) {
        for (std::size_t i = 0; i < lanes; ++i) {
            sums[i] += a[j + i] * b[j + i];
        }
    }
    for (std::size_t i = 0; j + i < n; ++i) {
        sums[i] += a[j + i] * b[j + i];
    }
    return lane_sum(sums);
}

/// Sum of squares of n values in float32.
inline float sum_of_squares(const float* x, std::size_t n) noexcept {
    lane_block sums{};
    std::size_t j = 0;
    for (; j + lanes <= n; j += lanes) {
        for (std::size_t i = 0; i < lanes; ++i) {
            sums[i] += x[j + i] * x[j + i];
        }
    }
    for (std::size_t i = 0; j + i < n; ++i) {
        sums[i] += x[j + i] * x[j + i];
    }
    return lane_sum(sums);
}

/// Largest of n >= 1 values.
inline float largest(const float* x, std::size_t n) noexcept {
    lane_block best;
    best.fill(x[0]);
    std::size_t j = 0;
    for (; j + lanes <= n; j += lanes) {
        for (std::size_t i = 0; i < lanes; ++i) {
            best[i] = x[j + i] > best[i] ? x[j + i] : best[i];
        }
    }
    for (std::size_t i = 0; j + i < n; ++i) {
        best[i] = x[j + i] > best[i] ? x[j + i] : best[i];
    }
    return *std::max_element(best.begin(), best.end());
}

/// x[j] = e^(scale * (x[j] - shift)) in place; returns their sum.
inline float exp_and_sum(float* x, std::size_t n, float scale, float shift) noexcept {
    lane_block sums{};
    std::size_t j = 0;
    for (; j + lanes <= n; j += lanes) {
        lane_block t;
        for (std::size_t i = 0; i < lanes; ++i) {
            t[i] = x[j + i];
        }
        for (std::size_t i = 0; i < lanes; ++i) {
            t[i] = fast_exp(scale * (t[i] - shift));
            sums[i] += t[i];
        }
        for (std::size_t i = 0; i < lanes; ++i) {
            x[j + i] = t[i];
        }
    }
    for (std::size_t i = 0; j + i < n; ++i) {
        x[j + i] = fast_exp(scale * (x[j + i] - shift));
        sums[i] += x[j + i];
    }
    return lane_sum(sums);
}

/// y = x / sqrt(mean(x^2) + eps) * weight over n values; y may be x.
inline void rms_norm(const float* x, const float* weight, float eps, std::size_t n,
                     float* y) noexcept {
    const float mean = sum_of_squares(x, n) / static_cast<float>(n);
    const float inverse = 1.0F / std::sqrt(mean + eps);
    for (std::size_t j = 0; j < n; ++j) {
        y[j] = weight[j] * (x[j] * inverse);
    }
}

/// gate = gate / (1 + e^-gate) * up.
inline void silu_multiply(float* gate, const float* up, std::size_t n) noexcept {
    std::size_t j = 0;
    for (; j + lanes <= n; j += lanes) {
        lane_block g;
        lane_block u;
        for (std::size_t i = 0; i < lanes; ++i) {
            g[i] = gate[j + i];
            u[i] = up[j + i];
        }
        for (std::size_t i = 0; i < lanes; ++i) {
            g[i] = g[i] / (1.0F + fast_exp(-g[i])) * u[i];
        }
        for (std::size_t i = 0; i < lanes; ++i) {
            gate[j + i] = g[i];
        }
    }
    for (; j < n; ++j) {
        gate[j] = gate[j] / (1.0F + fast_exp(-gate[j])) * up[j];
    }
}

inline void add_in_place(float* x, const float* y, std::size_t n) noexcept {
    for (std::size_t j = 0; j < n; ++j) {
        x[j] += y[j];
    }
}

}  // namespace fpq::detail
