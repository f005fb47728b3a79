// SPDX-License-Identifier: Apache-2.0
// Wing cuda. One group of any length, start to end, by plain loops: the general kernel runs it, the
// fast kernels are compared with it, and the host tests compare it with the CPU path.
#pragma once

#include <cstdint>

#include "fpq/core/bits.hpp"
#include "fpq/core/config.hpp"
#include "fpq/core/random.hpp"
#include "fpq/cuda/ptx/float_ops.cuh"
#include "fpq/cuda/quantize/scale_rules.cuh"
#include "fpq/format/minifloat.hpp"

namespace fpq::cuda {

/// What a group is quantized by.
struct group_rule {
    quant_format format;
    scale_rule method;
    float global;
    bool stochastic;
    philox random;  // stochastic only: value at the element's index
};

/// The step of a stored byte: fl(stored / global).
FPQ_HD inline float step_of(scale_kind kind, std::uint8_t byte, float global) noexcept {
    float const stored = kind == scale_kind::e4m3 ? e4m3::decode(byte) : e8m0::decode(byte);
    return div_rn(stored, global);
}

/// Stochastic E2M1: |x| lies `c` codes up (linear between neighbours); the code is floor(c + u).
FPQ_HD inline std::uint8_t e2m1_stochastic(float x, float u) noexcept {
    float const size = magnitude(x);
    if (is_nan(size)) {
        return e2m1::max_code;
    }
    float const below = size < 2.0F ? size : 2.0F;
    float const middle = 2.0F * saturate(mul_rn(add_rn(size, -2.0F), 0.5F));
    float const above = saturate(mul_rn(add_rn(size, -4.0F), 0.5F));
    float const c = add_rn(add_rn(mul_rn(below, 2.0F), middle), above);
    int const code = static_cast<int>(add_rn(c, u));
    std::uint8_t const sign = (bits_of<std::uint32_t>(x) >> 31) != 0 ? 8 : 0;
    return static_cast<std::uint8_t>(sign | (code > 7 ? 7 : code));
}

/// Code of w under step s; `index` is the element's place in the matrix, row * cols + col.
FPQ_HD inline std::uint8_t code_of(group_rule const& rule, float w, float s,
                                   std::uint64_t index) noexcept {
    if (s == 0.0F && rule.method == scale_rule::abs_max) {  // it stores a zero scale
        return (bits_of<std::uint32_t>(w) >> 31) != 0 ? std::uint8_t{8} : std::uint8_t{0};
    }
    float const q = is_nan(w) ? w : div_rn(w, s);  // a NaN keeps its sign
    if (rule.format.element == element_kind::e4m3) {
        return e4m3::encode(q);
    }
    if (rule.stochastic) {
        return e2m1_stochastic(q, uniform(rule.random.at(index)));
    }
    return e2m1::encode(q);
}

/// Squared error of FP4 values under step s, in the CPU path's order: 16 lanes, then halves.
/// `unit` is a power of two that both w and s are multiplied by.
FPQ_HD inline float squared_error(float const* w, int n, float s, float unit) noexcept {
    float lane[16] = {};
    float const step = mul_rn(s, unit);
    for (int i = 0; i < n; ++i) {
        float const x = mul_rn(w[i], unit);
        float const value = mul_rn(e2m1::decode(e2m1::encode(div_rn(x, step))), step);
        float const d = add_rn(x, -value);
        lane[i % 16] = add_rn(lane[i % 16], mul_rn(d, d));
    }
    for (int width = 8; width > 0; width /= 2) {
        for (int l = 0; l < width; ++l) {
            lane[l] = add_rn(lane[l], lane[l + width]);
        }
    }
    return lane[0];
}

/// 2^-floor(log2 a), so that squares neither vanish nor overflow.
FPQ_HD inline float error_unit(float a) noexcept {
    int const e = floor_log2(a);
    return exp2_int(e > 126 ? -126 : e < -126 ? 126 : -e);
}

/// The byte of least squared error: `start`, then downwards to `low`, then upwards to `high`; on
/// equal errors the first in that order.
FPQ_HD inline std::uint8_t sweep_bytes(group_rule const& rule, float const* w, int n, float a,
                                       int start, int low, int high) noexcept {
    float const unit = error_unit(a);
    int best = start;
    float least = squared_error(
        w, n, step_of(rule.format.scale, static_cast<std::uint8_t>(start), rule.global), unit);
    auto const take = [&](int byte) {
        float const s = step_of(rule.format.scale, static_cast<std::uint8_t>(byte), rule.global);
        float const e = squared_error(w, n, s, unit);
        if (e < least) {
            least = e;
            best = byte;
        }
    };
    for (int byte = start - 1; byte >= low; --byte) {
        take(byte);
    }
    for (int byte = start + 1; byte <= high; ++byte) {
        take(byte);
    }
    return static_cast<std::uint8_t>(best);
}

/// The stored scale of w (n), 1 <= n <= 32. NaN is ignored by the maximum.
FPQ_HD inline std::uint8_t group_byte(group_rule const& rule, float const* w, int n) noexcept {
    float a = 0.0F;
    for (int i = 0; i < n; ++i) {
        a = max_number(a, magnitude(w[i]));
    }
    bool const nv = rule.format.scale == scale_kind::e4m3;
    mx_rule_constants const mx =
        mx_constants(rule.method, rule.format.element == element_kind::e4m3, rule.global);
    bool const plain = a == 0.0F || !is_finite(a);
    if (rule.method == scale_rule::quest) {
        float sum = 0.0F;
        float squares = 0.0F;
        for (int i = 0; i < n; ++i) {
            sum = add_rn(sum, w[i]);
            squares = add_rn(squares, mul_rn(w[i], w[i]));
        }
        float const per = div_rn(1.0F, static_cast<float>(n));
        float const scale = quest_scale(mul_rn(sum, per), mul_rn(squares, per));
        return nv ? nv_byte(scale, rule.global) : mx_byte(mx, scale);
    }
    if (rule.method == scale_rule::four_over_six && !plain) {
        float const unit = error_unit(a);
        std::uint8_t const six = nv_byte(div_rn(a, 6.0F), rule.global);
        std::uint8_t const four = nv_byte(mul_rn(a, 0.25F), rule.global);
        float const with_six =
            squared_error(w, n, step_of(rule.format.scale, six, rule.global), unit);
        float const with_four =
            squared_error(w, n, step_of(rule.format.scale, four, rule.global), unit);
        return with_four < with_six ? four : six;
    }
    if (nv) {
        std::uint8_t const start = nv_byte_of_maximum(rule.method, a, rule.global);
        bool const search = rule.method == scale_rule::sweep && !plain;
        return search ? sweep_bytes(rule, w, n, a, start, 1, e4m3::max_code) : start;
    }
    if (rule.method == scale_rule::sweep && !plain) {
        int const start = mx_byte(mx_constants(scale_rule::floor, false, rule.global), a);
        int const high = start + 3 < e8m0::max_code ? start + 3 : e8m0::max_code;
        return sweep_bytes(rule, w, n, a, start, start < 2 ? 0 : start - 2, high);
    }
    return mx_byte(mx, a);
}

}  // namespace fpq::cuda
