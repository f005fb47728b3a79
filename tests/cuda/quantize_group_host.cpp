// SPDX-License-Identifier: Apache-2.0
// The scale rules and codes of the kernels against the CPU path, on the host, bit for bit.
#include "fpq/cuda/api/vocabulary.hpp"
#include "fpq/cuda/quantize/group.cuh"

#include <cmath>
#include <vector>

#include "catch.hpp"
#include "fpq/core/random.hpp"
#include "fpq/cuda/quantize/e2m1_codes.cuh"
#include "fpq/quant/quantize.hpp"

using namespace fpq::cuda;

namespace {

struct pair_of_rules {
    fpq::quant_format format;
    scale_rule method;
    fpq::quant_format cpu_format;
    fpq::observer_options options;
};

std::vector<pair_of_rules> rules() {
    std::vector<pair_of_rules> all;
    using fpq::scale_rule;
    for (float g : {1.0F, 512.0F, 2688.0F / 3.7F, 0x1p-20F, 3e20F}) {
        all.push_back({fpq::nvfp4, scale_rule::minmax, fpq::nvfp4, {.global_scale = g}});
        all.push_back({fpq::nvfp4,
                       scale_rule::sweep,
                       fpq::nvfp4,
                       {.rule = scale_rule::sweep, .global_scale = g}});
        for (scale_rule rule :
             {scale_rule::abs_max, scale_rule::quest, scale_rule::four_over_six}) {
            all.push_back({fpq::nvfp4, rule, fpq::nvfp4, {.rule = rule, .global_scale = g}});
        }
    }
    for (float g : {1.0F, 3.0F, 6.0F, 0.75F}) {
        all.push_back({fpq::mxfp4,
                       scale_rule::sweep,
                       fpq::mxfp4,
                       {.rule = scale_rule::sweep, .global_scale = g}});
        for (scale_rule rule : {scale_rule::abs_max, scale_rule::quest}) {
            all.push_back({fpq::mxfp4, rule, fpq::mxfp4, {.rule = rule, .global_scale = g}});
        }
        for (auto [format, cpu] :
             {std::pair{fpq::mxfp4, fpq::mxfp4}, std::pair{fpq::mxfp8_e4m3, fpq::mxfp8_e4m3}}) {
            all.push_back(
                {format, scale_rule::minmax, cpu, {.mx = scale_rule::fp_quant, .global_scale = g}});
            all.push_back(
                {format, scale_rule::floor, cpu, {.rule = scale_rule::floor, .global_scale = g}});
            all.push_back(
                {format, scale_rule::ceil, cpu, {.mx = scale_rule::ceil, .global_scale = g}});
            all.push_back(
                {format, scale_rule::even, cpu, {.mx = scale_rule::even, .global_scale = g}});
        }
    }
    return all;
}

/// Groups of every size of number: normal values, lattice values (ties), zeros, extremes.
std::vector<float> numbers(std::size_t n, std::uint64_t stream) {
    std::vector<float> x(n);
    fpq::philox const random{7, stream};
    for (std::size_t i = 0; i < n; ++i) {
        std::size_t const group = i / 32;
        float const normal = random.normal_at(i);
        switch (group % 8) {
            case 0:
            case 1:
                x[i] = fpq::round_to_bf16(normal);
                break;
            case 2:
                x[i] = std::round(normal * 4.0F) * 0.25F;
                break;
            case 3:
                x[i] = normal * std::exp2(static_cast<float>(static_cast<int>(group % 251) - 125));
                break;
            case 4:
                x[i] = 0.0F * normal;
                break;
            case 5:
                x[i] = normal * 1e-41F;
                break;
            case 6:
                x[i] = normal * 1e38F;
                break;
            default:
                x[i] = normal;
        }
    }
    return x;
}

}  // namespace

TEST_CASE("E2M1 by four additions is the element's own rounding", "[cuda]") {
    auto const check = [](float x) {
        float const half = 0.5F * x;
        return (e2m1_pattern(half) - e2m1_origin_bits) == (fpq::e2m1::encode(x) & 7u);
    };
    std::size_t wrong = 0;
    for (std::uint32_t bits = 0x3C000000u; bits < 0x41400000u; bits += 7) {  // 2^-7 .. 12
        wrong += check(fpq::bits_of<float>(bits)) ? 0 : 1;
    }
    for (float middle : {0.25F, 0.75F, 1.25F, 1.75F, 2.5F, 3.5F, 5.0F, 2.0F, 4.0F, 6.0F}) {
        for (int step = -3; step <= 3; ++step) {
            wrong += check(fpq::bits_of<float>(fpq::bits_of<std::uint32_t>(middle) +
                                               static_cast<std::uint32_t>(step)))
                         ? 0
                         : 1;
        }
    }
    for (float x : {0.0F, -0.0F, 1e-45F, -1e-30F, 7.0F, 8.0F, 100.0F, 3e38F, -INFINITY, -5.0F}) {
        wrong += check(x) ? 0 : 1;
    }
    REQUIRE(wrong == 0);
}

TEST_CASE("packed signs and codes come out in the order of the values", "[cuda]") {
    for (std::uint32_t draw = 0; draw < 2000; ++draw) {
        float x[8];
        std::uint32_t pattern[8];
        std::uint32_t pair[4] = {};
        std::uint32_t expected = 0;
        for (std::uint32_t i = 0; i < 8; ++i) {
            x[i] = fpq::round_to_bf16(4.0F * fpq::philox{3, 9}.normal_at(draw * 8 + i));
            x[i] = draw % 7 == i ? -0.0F : x[i];
            pattern[i] = e2m1_pattern(0.5F * x[i]);
            pair[i / 2] |= std::uint32_t{fpq::to_bf16(x[i]).bits} << (16 * (i % 2));
            expected |= std::uint32_t{fpq::e2m1::encode(x[i])} << (4 * i);
        }
        std::uint32_t const codes = pack_e2m1_patterns(pattern);
        REQUIRE(with_signs_of_pairs(codes, pair) == expected);
        REQUIRE(with_signs_of_floats(codes, x) == expected);
    }
}

TEST_CASE("group scales and codes are the CPU path's, every rule and size of number", "[cuda]") {
    std::size_t const cols = 32 * 512 + 7;
    std::vector<float> x = numbers(cols, 1);
    x[3] = NAN;
    x[32 * 15 + 4] = INFINITY;
    x[32 * 23 + 4] = -INFINITY;
    x[32 * 31] = -NAN;
    for (pair_of_rules const& r : rules()) {
        CAPTURE(name_of(r.format), name_of(r.method), r.options.global_scale);
        fpq::packed_matrix const expected =
            fpq::quantize(fpq::as_view(x.data(), 1, cols), r.cpu_format, r.options, 1);
        group_rule const rule{r.format, r.method, r.options.global_scale, false, {}};
        std::size_t const group = r.format.group;
        std::size_t wrong_scales = 0;
        std::size_t wrong_codes = 0;
        for (std::size_t g = 0; g < (cols + group - 1) / group; ++g) {
            std::size_t const n = std::min(group, cols - g * group);
            float const* const w = x.data() + g * group;
            std::uint8_t const byte = group_byte(rule, w, static_cast<int>(n));
            wrong_scales += byte != expected.scales[g] ? 1 : 0;
            float const s = step_of(r.format.scale, byte, rule.global);
            for (std::size_t i = 0; i < n; ++i) {
                wrong_codes += code_of(rule, w[i], s, i) !=
                                       fpq::packed_code(fpq::element_bits(r.format.element),
                                                        expected.codes.data(), g * group + i)
                                   ? 1
                                   : 0;
            }
        }
        REQUIRE(wrong_scales == 0);
        REQUIRE(wrong_codes == 0);
    }
}
