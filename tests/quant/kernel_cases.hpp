// SPDX-License-Identifier: Apache-2.0
// What kernels are compared on: formats with their options, and awkward values.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include "fpq/core/half.hpp"
#include "fpq/core/hosted/simd_level.hpp"
#include "fpq/core/random.hpp"
#include "fpq/format/block.hpp"
#include "fpq/quant/observer_options.hpp"
#include "support/limited_simd.hpp"

namespace fpq_test {

using fpq::bf16;
using fpq::fp16;
using fpq::observer_options;
using fpq::quant_format;
using fpq::scale_rule;
using fpq::simd_level;

/// The levels that this processor has.
inline std::vector<simd_level> levels() {
    std::vector<simd_level> all{simd_level::generic};
    for (simd_level l : {simd_level::avx2, simd_level::avx512}) {
        if (l <= fpq::simd_level_of_processor()) {
            all.push_back(l);
        }
    }
    return all;
}

struct setting {
    quant_format format;
    observer_options options;
};

inline std::vector<setting> settings() {
    std::vector<setting> all;
    for (float g : {1.0F, 512.0F, 2688.0F / 3.7F, 2688.0F / 0.1F, 0x1p-90F, 0x1p90F, 0x1p126F}) {
        all.push_back({fpq::nvfp4, {.global_scale = g}});
    }
    for (scale_rule rule : {scale_rule::fp_quant, scale_rule::floor, scale_rule::ceil,
                            scale_rule::even, scale_rule::divisor_7_25}) {
        for (float g : {1.0F, 3.0F, 2.9999F, 0x1p70F}) {
            all.push_back({fpq::mxfp4, {.mx = rule, .global_scale = g}});
        }
    }
    for (quant_format const& f :
         {fpq::mxfp6_e2m3, fpq::mxfp6_e3m2, fpq::mxfp8_e4m3, fpq::mxfp8_e5m2}) {
        all.push_back({f, {.global_scale = 3.0F}});
        all.push_back({f, {.mx = scale_rule::even}});
    }
    for (int bits : {3, 4, 8}) {
        all.push_back({fpq::int_format(bits, 32), {}});
        all.push_back({fpq::int_format(bits, 128, false), {}});
    }
    for (float g : {1.0F, 3.0F, 512.0F, 2688.0F / 3.7F, 0x1p-20F}) {
        for (scale_rule rule :
             {scale_rule::abs_max, scale_rule::quest, scale_rule::four_over_six}) {
            all.push_back({fpq::nvfp4, {.rule = rule, .global_scale = g}});
            if (rule != scale_rule::four_over_six) {
                all.push_back({fpq::mxfp4, {.rule = rule, .global_scale = g}});
            }
        }
        all.push_back({fpq::mxfp4, {.rule = scale_rule::even, .global_scale = g}});
        all.push_back({fpq::mxfp8_e5m2, {.rule = scale_rule::ceil, .global_scale = g}});
    }
    all.push_back({fpq::fp4(16), {}});
    all.push_back({fpq::fp4(24), {}});
    all.push_back({fpq::fp4(0, fpq::granularity::channel), {}});
    all.push_back({fpq::fp4(0, fpq::granularity::tensor), {}});
    return all;
}

inline constexpr int data_kinds = 6;

/// Data sets with one trait each, `n` values; kind < data_kinds.
inline std::vector<float> data(int kind, std::size_t n) {
    fpq::philox const source{77, static_cast<std::uint64_t>(kind)};
    std::vector<float> x(n);
    float const inf = std::numeric_limits<float>::infinity();
    for (std::size_t i = 0; i < n; ++i) {
        float const r = source.normal_at(i);
        auto const group = static_cast<int>(i / 16);
        switch (kind) {
            case 0:
                x[i] = r;
                break;
            case 1:  // groups from the subnormals to the largest floats
                x[i] = std::ldexp(r, (group * 37) % 290 - 160);
                break;
            case 2:  // multiples of 1/8: every group has 6, so that values meet midpoints
                x[i] = i % 16 == 0 ? 6.0F : std::nearbyint(r * 16.0F) / 8.0F;
                break;
            case 3:  // zero groups, negative zeros, lone values
                x[i] = group % 3 == 0 ? 0.0F : (i % 5 == 0 ? r : -0.0F);
                break;
            case 4:  // NaN of both signs and infinities here and there
                x[i] = i % 97 == 3 ? std::copysign(std::nanf(""), r)
                                   : (i % 203 == 5 ? std::copysign(inf, r) : r);
                break;
            default:  // any bits
                x[i] = fpq::bits_of<float>(fpq::bits_of<std::uint32_t>(r) * 2654435761u);
                break;
        }
    }
    return x;
}

template <class T>
T narrow(float x) {
    if constexpr (std::is_same_v<T, bf16>) {
        return fpq::to_bf16(x);
    } else if constexpr (std::is_same_v<T, fp16>) {
        return fpq::to_fp16(x);
    } else {
        return x;
    }
}

inline std::string what(setting const& s, simd_level level) {
    return std::string(fpq_test::simd_level_name(level)) + ", element " +
           std::to_string(static_cast<int>(s.format.element)) + ", group " +
           std::to_string(s.format.group) + ", rule " + fpq::name_of(s.options.rule) + "/" +
           fpq::name_of(s.options.mx) + ", global " + std::to_string(s.options.global_scale);
}

}  // namespace fpq_test
