// SPDX-License-Identifier: Apache-2.0
// Floor 2. The error of one group under one scale, and two lower bounds on it that hold for every
// smaller or larger scale. Plain loops over 16 lanes with no branch: compilers vectorize them, and
// the order of the sums is the same whatever they do. Compile without fused contraction
// (-ffp-contract=off) for the same bits on every machine.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "fpq/core/bits.hpp"
#include "fpq/core/hosted/simd_level.hpp"
#include "fpq/quant/kernels/error_lanes.hpp"
#include "fpq/quant/rounding.hpp"

namespace fpq {

/// The lanes that the loops below run in; buffers are padded with zeros to a multiple of it.
inline constexpr std::size_t error_lanes = 16;
/// Values summed in float before the sum moves to double.
inline constexpr std::size_t error_chunk = 1024;

/// |d|^2.4 to about 1e-6 relative, for |d| below 2^50; 0 for 0. x = d^2, then x * x^(1/5), the
/// root by three Newton steps on z = x^(-1/5) from a guess made on the exponent.
inline float power_2_4(float d) noexcept {
    float const x = d * d;
    // bits(x^(-1/5)) is about 6/5 * bits(1) - bits(x) / 5; the offset balances the guess's error.
    float const guess =
        1278009344.0F -
        0.2F * static_cast<float>(static_cast<std::int32_t>(bits_of<std::uint32_t>(x)));
    float z = bits_of<float>(static_cast<std::uint32_t>(static_cast<std::int32_t>(guess)));
    for (int step = 0; step < 3; ++step) {
        float const z2 = z * z;
        z = z * (1.2F - 0.2F * (((x * z2) * z2) * z));
    }
    float const z2 = z * z;
    return x * ((x * z2) * z2);
}

/// What a group_error sums.
enum class error_power : std::uint8_t { square, power_2_4 };

namespace detail {

/// Adds f(i) for i in [0, n), n a multiple of error_lanes: lanes in float, chunks in double.
template <class F>
double sum_lanes(std::size_t n, F f) noexcept {
    double total = 0.0;
    for (std::size_t begin = 0; begin < n; begin += error_chunk) {
        std::size_t const end = std::min(n, begin + error_chunk);
        float lane[error_lanes] = {};
        for (std::size_t i = begin; i < end; i += error_lanes) {
            for (std::size_t l = 0; l < error_lanes; ++l) {
                lane[l] += f(i + l);
            }
        }
        for (std::size_t width = error_lanes / 2; width > 0; width /= 2) {
            for (std::size_t l = 0; l < width; ++l) {
                lane[l] += lane[l + width];
            }
        }
        total += static_cast<double>(lane[0]);
    }
    return total;
}

}  // namespace detail

/// Sum over the group of weight * |w - fl(q * s)|^power, q the nearest grid value of fl(w / s).
/// w, weight (n), padded; weight is read only if Weighted. s may be negative.
/// The same bits at any level.
template <bool Integer, bool Weighted, error_power Power>
double group_error(float const* w, float const* weight, std::size_t n, float s,
                   grid_rule const& rule,
                   [[maybe_unused]] simd_level level = simd_level::generic) noexcept {
#if FPQ_X86_KERNELS
    if (level != simd_level::generic) {
        return kernels::group_error_avx2<Integer, Weighted, Power == error_power::square>(
            w, weight, n, s, rule, error_chunk);
    }
#endif
    return detail::sum_lanes(n, [=](std::size_t i) {
        float const value = snap<Integer>(w[i] / s, rule) * s;
        float const d = w[i] - value;
        float const loss = Power == error_power::square ? d * d : power_2_4(d);
        return Weighted ? loss * weight[i] : loss;
    });
}

/// Lower bound of the squared group_error for every scale of magnitude <= s: what is cut off
/// beyond the largest code.
template <bool Weighted>
double clipping_bound(float const* w, float const* weight, std::size_t n, float s,
                      grid_rule const& rule) noexcept {
    float const top = magnitude(s) * rule.reach();
    return detail::sum_lanes(n, [=](std::size_t i) {
        float const over = magnitude(w[i]) - top;
        float const cut = over > 0.0F ? over : 0.0F;
        return Weighted ? cut * cut * weight[i] : cut * cut;
    });
}

/// Lower bound of the squared group_error for every scale of magnitude >= s: values below the
/// least code's, which is at `smallest * s` or further out.
template <bool Weighted>
double vanishing_bound(float const* w, float const* weight, std::size_t n, float s,
                       grid_rule const& rule) noexcept {
    float const least = magnitude(s) * rule.smallest;
    return detail::sum_lanes(n, [=](std::size_t i) {
        float const size = magnitude(w[i]);
        float const rest = least - size;
        float const near = rest > 0.0F ? rest : 0.0F;
        float const d = size < near ? size : near;
        return Weighted ? d * d * weight[i] : d * d;
    });
}

}  // namespace fpq
