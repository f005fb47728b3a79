// SPDX-License-Identifier: Apache-2.0
// Floor 6. Backward verbs of the CPU whose rows do not meet: RMSNorm, rotation, SiLU gating, and
// the weights of tokens. Each is the transpose of the verb of that name (forward.hpp) at its stored
// input: float32, the same bits at any number of threads.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "fpq/backend/cpu/cpu.hpp"
#include "fpq/backend/cpu/elementwise.hpp"
#include "fpq/backend/cpu/forward.hpp"
#include "fpq/backend/rope.hpp"

namespace fpq {

namespace detail {

/// sum of a b c over n values.
inline float triple_dot(float const* a, float const* b, float const* c, std::size_t n) noexcept {
    lane_block sums{};
    std::size_t j = 0;
    for (; j + lanes <= n; j += lanes) {
        for (std::size_t i = 0; i < lanes; ++i) {
            sums[i] += a[j + i] * b[j + i] * c[j + i];
        }
    }
    for (std::size_t i = 0; j + i < n; ++i) {
        sums[i] += a[j + i] * b[j + i] * c[j + i];
    }
    return lane_sum(sums);
}

/// With r = 1 / sqrt(mean(x^2) + eps), y = weight x r:
/// dx = r (weight dy - x r^2 mean(x weight dy)). dx may be dy.
inline void rms_norm_backward(float const* x, float const* weight, float eps, std::size_t n,
                              float const* dy, float* dx) noexcept {
    float const count = static_cast<float>(n);
    float const inverse = 1.0F / std::sqrt(sum_of_squares(x, n) / count + eps);
    float const pull = triple_dot(x, weight, dy, n) / count * inverse * inverse;
    for (std::size_t j = 0; j < n; ++j) {
        dx[j] = inverse * (weight[j] * dy[j] - x[j] * pull);
    }
}

/// With s = 1 / (1 + e^-gate), y = gate s up: gate and up become dy up s (1 + gate (1 - s)) and
/// dy gate s.
inline void silu_multiply_backward(float const* dy, std::size_t n, float* gate,
                                   float* up) noexcept {
    for (std::size_t j = 0; j < n; ++j) {
        float const g = gate[j];
        float const s = 1.0F / (1.0F + fast_exp(-g));
        gate[j] = dy[j] * up[j] * s * (1.0F + g * (1.0F - s));
        up[j] = dy[j] * g * s;
    }
}

/// rotate_heads, backwards.
inline void rotate_heads_backward(cpu const& b, cpu::const_view x, std::size_t head_dim,
                                  cpu::vector const& norm, float eps, rope_table const& table,
                                  row_positions const& at, cpu::view d) {
    for_each_row(b, d.rows, [&](std::size_t i) {
        for (std::size_t h = 0; h < d.cols; h += head_dim) {
            float* const head = d.row(i) + h;
            table.rotate_back(head, at(i));
            if (!norm.empty()) {
                rms_norm_backward(x.row(i) + h, norm.data(), eps, head_dim, head, head);
            }
        }
    });
}

}  // namespace detail

/// dx = gradient at x of rms_norm, from dy at its output; dx may be dy.
inline void rms_norm_backward(cpu const& b, cpu::const_view x, cpu::vector const& weight, float eps,
                              cpu::const_view dy, cpu::view dx) {
    detail::for_each_row(b, x.rows, [&](std::size_t i) {
        detail::rms_norm_backward(x.row(i), weight.data(), eps, x.cols, dy.row(i), dx.row(i));
    });
}

/// dq and dk (tokens, heads * head_dim), gradients at what rotate made, become those at what it was
/// given. q and k are what it was given; one that has no norm is not read.
inline void rotate_backward(cpu const& b, cpu::const_view q, cpu::const_view k,
                            std::size_t head_dim, cpu::vector const& q_norm,
                            cpu::vector const& k_norm, float eps, rope_table const& table,
                            row_positions const& at, cpu::view dq, cpu::view dk) {
    detail::rotate_heads_backward(b, q, head_dim, q_norm, eps, table, at, dq);
    detail::rotate_heads_backward(b, k, head_dim, k_norm, eps, table, at, dk);
}

/// gate and up, as silu_mul is given them, become their gradients, from dy at its output.
inline void silu_mul_backward(cpu const& b, cpu::const_view dy, cpu::view gate, cpu::view up) {
    detail::for_each_row(b, dy.rows, [&](std::size_t i) {
        detail::silu_multiply_backward(dy.row(i), dy.cols, gate.row(i), up.row(i));
    });
}

/// The mean of the squares of each row.
[[nodiscard]] inline cpu::vector mean_squares(cpu const& b, cpu::const_view x) {
    cpu::vector out(x.rows);
    detail::for_each_row(b, x.rows, [&](std::size_t i) {
        out[i] = detail::sum_of_squares(x.row(i), x.cols) / static_cast<float>(x.cols);
    });
    return out;
}

/// y = x with row i times sqrt(weights[i]), so that y^T y is the second moment of weighted rows.
/// y may be x.
inline void weigh_rows(cpu const& b, cpu::const_view x, cpu::vector const& weights, cpu::view y) {
    detail::for_each_row(b, x.rows, [&](std::size_t i) {
        float const root = std::sqrt(weights[i]);
        std::transform(x.row(i), x.row(i) + x.cols, y.row(i), [&](float v) { return v * root; });
    });
}

}  // namespace fpq
