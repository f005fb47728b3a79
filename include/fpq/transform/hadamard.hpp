// SPDX-License-Identifier: Apache-2.0
// Floor 3. The orthonormal Sylvester-Hadamard matrix and its fast butterfly. H(i, j) =
// (-1)^popcount(i & j) / sqrt(g): symmetric, its own inverse, any power of two. No randomness here.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <vector>

#include "fpq/quant/kernels/hadamard_rows.hpp"

namespace fpq {

constexpr bool is_power_of_two(std::size_t n) noexcept { return n != 0 && (n & (n - 1)) == 0; }

/// Entry (i, j) of the unnormalised matrix: +1 or -1.
constexpr int hadamard_sign(std::size_t i, std::size_t j) noexcept {
    std::size_t common = i & j;
    int sign = 1;
    for (; common != 0; common &= common - 1) {
        sign = -sign;
    }
    return sign;
}

namespace reference {

/// The plain loops of fpq::hadamard_in_place.
inline void hadamard_in_place(float* x, std::size_t g) noexcept {
    kernels::hadamard_stages(x, g);
    auto const scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(g)));
    for (std::size_t i = 0; i < g; ++i) {
        x[i] *= scale;
    }
}

}  // namespace reference

/// x (g) = x H, in place, g a power of two. log2(g) butterfly stages in float32, then one product
/// with fl(1 / sqrt(g)); the same bits at any simd_level. Cost: g log2(g) additions.
inline void hadamard_in_place(float* x, std::size_t g) noexcept {
    kernels::hadamard_blocks(active_simd_level(), x, x, g, g);
}

/// The columns of H by number of sign changes (sequency): column k of the reordered matrix is
/// column order[k] of H and changes sign k times.
inline std::vector<std::size_t> sequency_order(std::size_t g) {
    std::vector<std::size_t> changes(g, 0);
    for (std::size_t j = 0; j < g; ++j) {
        for (std::size_t i = 1; i < g; ++i) {
            changes[j] += hadamard_sign(i, j) != hadamard_sign(i - 1, j) ? 1U : 0U;
        }
    }
    std::vector<std::size_t> order(g);
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::sort(order.begin(), order.end(),
              [&](std::size_t a, std::size_t b) { return changes[a] < changes[b]; });
    return order;
}

}  // namespace fpq
