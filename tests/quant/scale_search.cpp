// SPDX-License-Identifier: Apache-2.0
// The searches inside one group against slow double-precision loops over every candidate, and the
// signal-to-noise ratios expected on N(0, 1).
#include "fpq/quant/scale_search.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "catch.hpp"
#include "fpq/core/random.hpp"
#include "fpq/quant/error_stats.hpp"
#include "fpq/quant/quantize.hpp"

using fpq::observer_options;
using fpq::quant_format;
using fpq::scale_rule;

namespace {

std::vector<float> normals(std::size_t n, std::uint64_t stream, double sigma) {
    std::vector<float> x(n);
    fpq::philox const source{20240601, stream};
    for (std::size_t i = 0; i < n; ++i) {
        x[i] = static_cast<float>(sigma * static_cast<double>(source.normal_at(i)));
    }
    return x;
}

std::vector<float> const& million() {
    static std::vector<float> const x = normals(std::size_t{1} << 20, 0, 1.0);
    return x;
}

fpq::error_stats quantization_error(std::vector<float> const& x, quant_format const& format,
                                    observer_options const& options) {
    auto const w = fpq::as_view(x.data(), x.size() / 1024, std::size_t{1024});
    std::vector<float> const d = fpq::dequantize(fpq::quantize(w, format, options, 2).view(), 1);
    return fpq::measure_error(w, fpq::as_view(d.data(), w.rows, w.cols));
}

double normal_db(quant_format const& format, observer_options const& options) {
    return quantization_error(million(), format, options).sqnr_db();
}

double nvfp_db(scale_rule kind, bool pow2) {
    float amax = 0.0F;
    for (float v : million()) {
        amax = std::max(amax, std::fabs(v));
    }
    return normal_db(fpq::nvfp4,
                     {.rule = kind, .global_scale = fpq::nvfp_global_scale(amax, pow2)});
}

/// Averaged over 16 phases of sigma inside an octave.
double mx_db(scale_rule kind, scale_rule rule) {
    float const global = rule == scale_rule::fp_quant ? 3.0F : 1.0F;
    double relative = 0.0;
    for (int phase = 0; phase < 16; ++phase) {
        std::vector<float> const x = normals(
            std::size_t{1} << 16, 100 + static_cast<unsigned>(phase), std::exp2(phase / 16.0));
        relative +=
            quantization_error(x, fpq::mxfp4, {.rule = kind, .mx = rule, .global_scale = global})
                .relative();
    }
    return -10.0 * std::log10(relative / 16.0);
}

/// Weighted squared error of the stored scale `s` in double, through the codes.
double slow_error(quant_format const& format, std::vector<float> const& w,
                  std::vector<float> const& weight, float s) {
    double sum = 0.0;
    for (std::size_t i = 0; i < w.size(); ++i) {
        std::uint8_t const code = fpq::encode_element(format.element, w[i] / s);
        double const d = static_cast<double>(w[i] - fpq::decode_element(format.element, code) * s);
        sum += d * d * (weight.empty() ? 1.0 : static_cast<double>(weight[i]));
    }
    return sum;
}

/// Groups of several shapes: Gaussian, heavy-tailed, one outlier, few distinct values.
std::vector<float> awkward_group(std::size_t n, std::uint64_t trial) {
    std::vector<float> w =
        normals(n, 5000 + trial, std::exp2(static_cast<double>(trial % 40) - 25));
    for (std::size_t i = 0; i < n; ++i) {
        if (trial % 4 == 1) {
            w[i] = w[i] * w[i] * w[i];
        }
        if (trial % 4 == 3) {
            w[i] = std::nearbyint(w[i] * 4.0F);
        }
    }
    if (trial % 4 == 2) {
        w[trial % n] *= 30.0F;
    }
    return w;
}

fpq::group_scale search(quant_format const& format, observer_options const& options,
                        std::vector<float> const& w) {
    fpq::scale_search finder(format, options);
    finder.load(fpq::as_view(w.data(), 1, w.size()), 0, w.size());
    return finder.find();
}

}  // namespace

TEST_CASE("NVFP4 reaches its published SQNR on normal weights", "[quant]") {
    REQUIRE(nvfp_db(scale_rule::minmax, false) == Approx(20.44).margin(0.02));
    REQUIRE(nvfp_db(scale_rule::sweep, false) >= 21.80);
    REQUIRE(nvfp_db(scale_rule::sweep, true) >= 21.80);
    REQUIRE(nvfp_db(scale_rule::mse, false) == Approx(21.03).margin(0.03));
}

TEST_CASE("MXFP4 reaches its published SQNR by every rule and by the sweep", "[quant]") {
    REQUIRE(mx_db(scale_rule::minmax, scale_rule::fp_quant) == Approx(18.64).margin(0.02));
    REQUIRE(mx_db(scale_rule::minmax, scale_rule::floor) == Approx(18.75).margin(0.02));
    REQUIRE(mx_db(scale_rule::minmax, scale_rule::ceil) == Approx(18.65).margin(0.02));
    REQUIRE(mx_db(scale_rule::minmax, scale_rule::even) == Approx(19.00).margin(0.02));
    REQUIRE(mx_db(scale_rule::minmax, scale_rule::divisor_7_25) == Approx(19.025).margin(0.02));
    REQUIRE(mx_db(scale_rule::sweep, scale_rule::floor) >= 19.02);
    REQUIRE(mx_db(scale_rule::sweep, scale_rule::fp_quant) >= 19.02);
}

TEST_CASE("INT4 in groups of 32 reaches its published SQNR", "[quant]") {
    quant_format const int4 = fpq::int_format(4, 32);
    REQUIRE(normal_db(int4, {}) == Approx(20.46).margin(0.03));
    REQUIRE(normal_db(int4, {.rule = scale_rule::sweep}) >= 21.8);
    REQUIRE(normal_db(int4, {.rule = scale_rule::sweep, .signed_end = false}) ==
            Approx(21.32).margin(0.04));
    REQUIRE(normal_db(fpq::int_format(4, 32, false), {}) == Approx(21.86).margin(0.03));
    REQUIRE(normal_db(fpq::fp4(16), {}) == Approx(20.525).margin(0.02));
}

TEST_CASE("the NVFP sweep finds the best of all 126 codes", "[quant]") {
    for (std::uint64_t trial = 0; trial < 1200; ++trial) {
        std::vector<float> const w = awkward_group(trial % 5 == 0 ? 12 : 16, trial);
        std::vector<float> weight;
        if (trial % 3 != 0) {
            weight = normals(w.size(), 9000 + trial, 1.0);
            for (float& v : weight) {
                v = trial % 3 == 1 ? v * v : (v > 0.0F ? v : 0.0F);
            }
        }
        float amax = 0.0F;
        for (float v : w) {
            amax = std::max(amax, std::fabs(v));
        }
        if (amax == 0.0F) {
            continue;
        }
        // Globals that put the group anywhere in E4M3's range, subnormals and clamping included.
        float const global = fpq::nvfp_global_scale(
            amax * std::exp2(static_cast<float>(trial % 19) - 2.0F), trial % 2 == 0);
        fpq::group_scale const s =
            search(fpq::nvfp4,
                   {.rule = scale_rule::sweep, .global_scale = global, .column_weight = weight}, w);
        double best = -1.0;
        for (int code = 1; code <= 126; ++code) {
            float const value = fpq::e4m3::decode(static_cast<std::uint8_t>(code)) / global;
            double const e = slow_error(fpq::nvfp4, w, weight, value);
            best = best < 0.0 || e < best ? e : best;
        }
        INFO("trial " << trial);
        REQUIRE(slow_error(fpq::nvfp4, w, weight, s.value) <= best * (1.0 + 1e-5));
    }
}

TEST_CASE("the MX sweep finds the best exponent of its window", "[quant]") {
    for (quant_format const& format :
         {fpq::mxfp4, fpq::mxfp6_e2m3, fpq::mxfp6_e3m2, fpq::mxfp8_e4m3, fpq::mxfp8_e5m2}) {
        for (std::uint64_t trial = 0; trial < 300; ++trial) {
            std::vector<float> const w = awkward_group(32, trial);
            float amax = 0.0F;
            for (float v : w) {
                amax = std::max(amax, std::fabs(v));
            }
            if (amax == 0.0F) {
                continue;
            }
            float const global = trial % 2 == 0 ? 3.0F : 1.0F;
            fpq::group_scale const s =
                search(format, {.rule = scale_rule::sweep, .global_scale = global}, w);
            int const f =
                fpq::floor_log2(amax * global) - fpq::element_max_exponent(format.element);
            double best = -1.0;
            for (int e = f - 2; e <= f + 3; ++e) {
                double const error = slow_error(format, w, {}, fpq::exp2_int(e) / global);
                best = best < 0.0 || error < best ? error : best;
            }
            REQUIRE(slow_error(format, w, {}, s.value) <= best * (1.0 + 1e-5));
            REQUIRE((s.stored >= 127 + f - 2 && s.stored <= 127 + f + 3));
        }
    }
}

TEST_CASE("the fp16 sweep is within half a percent of a search over every fp16 scale", "[quant]") {
    for (quant_format const& format :
         {fpq::fp4(16), fpq::int_format(4, 16), fpq::int_format(3, 16)}) {
        double found = 0.0;
        double possible = 0.0;
        for (std::uint64_t trial = 0; trial < 40; ++trial) {
            std::vector<float> const w = normals(16, 700 + trial, 0.02);
            fpq::group_scale const s = search(format, {.rule = scale_rule::sweep}, w);
            found += slow_error(format, w, {}, s.value);
            double best = 1e9;
            for (int sign = 0; sign < (fpq::is_integer(format.element) ? 2 : 1); ++sign) {
                for (std::uint32_t bits = 0x1000; bits < 0x2C00; ++bits) {
                    auto const pattern =
                        static_cast<std::uint16_t>(bits | (sign != 0 ? 0x8000u : 0u));
                    best = std::min(best,
                                    slow_error(format, w, {}, fpq::to_float(fpq::fp16{pattern})));
                }
            }
            possible += best;
        }
        REQUIRE(found <= possible * 1.005);
    }
}

TEST_CASE("the mse observer is the first minimum of FP-Quant's grid", "[quant]") {
    for (quant_format const& format : {fpq::nvfp4, fpq::mxfp4, fpq::int_format(4, 16)}) {
        for (std::uint64_t trial = 0; trial < 200; ++trial) {
            std::vector<float> const w = normals(16, 300 + trial, 0.5);
            float amax = 0.0F;
            for (float v : w) {
                amax = std::max(amax, std::fabs(v));
            }
            float const first = fpq::minmax_scale(format.element, amax);
            double best = 0.0;
            int best_step = 0;
            bool close = false;  // two steps too near to tell in float
            for (int i = 0; i < 100; ++i) {
                float const s = first * static_cast<float>(1.0 - 0.8 * i / 100.0);
                double sum = 0.0;
                for (float v : w) {
                    float const q = fpq::decode_element(format.element,
                                                        fpq::encode_element(format.element, v / s));
                    sum += std::pow(std::fabs(static_cast<double>(v - q * s)), 2.4);
                }
                close = i > 0 && std::fabs(sum - best) < 1e-5 * best ? true : close;
                if (i == 0 || sum < best * (1.0 - 1e-5)) {
                    close = false;
                }
                if (i == 0 || sum < best) {
                    best = sum;
                    best_step = i;
                }
            }
            if (close) {
                continue;
            }
            observer_options const options{.rule = scale_rule::mse, .global_scale = 3.0F};
            float const factor = static_cast<float>(1.0 - 0.8 * best_step / 100.0);
            fpq::group_scale const expected = fpq::store_scale(
                format, fpq::rule_of(format.element), first * factor, amax * factor, 0, options);
            REQUIRE(search(format, options, w).stored == expected.stored);
        }
    }
}

TEST_CASE("equal errors keep the absmax scale", "[quant]") {
    // 6 alone decodes exactly from 1 * 6, 1.5 * 4, 2 * 3, 3 * 2 and so on.
    std::vector<float> w(16, 0.0F);
    w[5] = -6.0F;
    REQUIRE(search(fpq::nvfp4, {.rule = scale_rule::sweep}, w).stored == 0x38);
    REQUIRE(search(fpq::mxfp4, {.rule = scale_rule::sweep}, w).stored == 127);
    REQUIRE(search(fpq::fp4(16), {.rule = scale_rule::sweep}, w).value == 1.0F);
}

TEST_CASE("columns of weight zero do not steer the sweep", "[quant]") {
    std::vector<float> w(16, 0.0F);
    std::vector<float> weight(16, 0.0F);
    w[0] = 100.0F;
    w[1] = 6.0F;
    w[2] = 5.0F;
    w[3] = 1.0F;
    weight[1] = weight[2] = weight[3] = 1.0F;
    observer_options options{.rule = scale_rule::sweep};
    REQUIRE(search(fpq::nvfp4, options, w).value > 5.0F);
    options.column_weight = weight;
    REQUIRE(search(fpq::nvfp4, options, w).value < 2.0F);
}

TEST_CASE("tiny, huge, zero and non-finite groups have finite positive scales", "[quant]") {
    std::vector<quant_format> const formats{fpq::nvfp4, fpq::mxfp4, fpq::fp4(16),
                                            fpq::int_format(4, 16), fpq::int_format(4, 16, false)};
    for (float value : {0.0F, -0.0F, 1e-45F, 1e-38F, 1e-20F, 3e38F, -3e38F, INFINITY, NAN}) {
        for (quant_format const& format : formats) {
            for (scale_rule kind : {scale_rule::minmax, scale_rule::mse, scale_rule::sweep}) {
                std::vector<float> w(16, value);
                w[3] = 0.5F * value;
                fpq::group_scale const s =
                    search(format, {.rule = kind, .global_scale = 3.0F, .signed_end = false}, w);
                REQUIRE(fpq::is_finite(s.value));
                REQUIRE(s.value > 0.0F);
            }
        }
    }
}

TEST_CASE("scales follow the weights by powers of two", "[quant]") {
    for (std::uint64_t trial = 0; trial < 100; ++trial) {
        std::vector<float> const w = normals(32, 400 + trial, 1.0);
        std::vector<float> scaled = w;
        for (float& v : scaled) {
            v *= 0x1p-9F;
        }
        for (scale_rule kind : {scale_rule::minmax, scale_rule::mse, scale_rule::sweep}) {
            REQUIRE(search(fpq::mxfp4, {.rule = kind, .global_scale = 3.0F}, scaled).stored + 9 ==
                    search(fpq::mxfp4, {.rule = kind, .global_scale = 3.0F}, w).stored);
            REQUIRE(search(fpq::nvfp4, {.rule = kind, .global_scale = 0x1p14F}, scaled).stored ==
                    search(fpq::nvfp4, {.rule = kind, .global_scale = 0x1p5F}, w).stored);
        }
    }
}

TEST_CASE("the asymmetric sweep is no worse than minmax and always in range", "[quant]") {
    quant_format const format = fpq::int_format(4, 32, false);
    double plain = 0.0;
    double swept = 0.0;
    for (std::uint64_t trial = 0; trial < 100; ++trial) {
        std::vector<float> w = normals(32, 800 + trial, 1.0);
        for (float& v : w) {
            v += static_cast<float>(trial % 7) - 3.0F;
        }
        auto const view = fpq::as_view(w.data(), 1, 32);
        for (scale_rule kind : {scale_rule::minmax, scale_rule::sweep}) {
            auto const q = fpq::quantize(view, format, {.rule = kind}, 1);
            REQUIRE(q.zeros[0] <= 15);
            double const noise = fpq::measure_packed(view, q.view()).noise;
            (kind == scale_rule::sweep ? swept : plain) += noise;
        }
    }
    REQUIRE(swept < 0.93 * plain);
}
