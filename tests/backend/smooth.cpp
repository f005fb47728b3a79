// SPDX-License-Identifier: Apache-2.0
// The search for smoothing scales: its criterion against plain loops, what it finds, and that it
// never ends behind no scales at all.
#include "fpq/backend/cpu/smooth.hpp"

#include <cmath>
#include <cstddef>
#include <vector>

#include "catch.hpp"
#include "fpq/core/half.hpp"
#include "fpq/format/block.hpp"
#include "support/gaussian.hpp"

using namespace fpq;

namespace {

constexpr std::size_t tokens = 96;
constexpr std::size_t width = 64;

/// Two linears on an input some of whose channels are `outlier` times as large as others.
struct layer {
    std::vector<float> x = fpq_test::gaussian(tokens * width, 11, 1, 1.0F);
    std::vector<float> a = fpq_test::gaussian(48 * width, 11, 2, 0.1F);
    std::vector<float> b = fpq_test::gaussian(32 * width, 11, 3, 0.1F);
    std::vector<float> amax;

    explicit layer(float outlier) : amax(width, 0.0F) {
        for (std::size_t t = 0; t < tokens; ++t) {
            for (std::size_t j = 0; j < width; ++j) {
                x[t * width + j] *= j % 21 == 5 ? outlier : 1.0F;
                amax[j] = std::max(amax[j], std::fabs(x[t * width + j]));
            }
        }
    }

    [[nodiscard]] smooth_problem problem(quant_format const& format, bool inputs) const {
        smooth_problem p;
        p.weights = {as_view(a.data(), 48, width), as_view(b.data(), 32, width)};
        p.sample = as_view(x.data(), tokens, width);
        p.input_amax = amax;
        for (std::size_t j = 0; j < width; ++j) {
            p.channel_of.push_back(j);
        }
        p.channels = width;
        p.weight = quant_args{format, scale_rule::minmax, scale_rule::even, true, false};
        if (inputs) {
            p.input = quant_args{format, scale_rule::minmax, scale_rule::even, true, true};
        }
        return p;
    }
};

/// The criterion, one value at a time.
double slow_error(smooth_problem const& p, std::vector<float> const& scales) {
    std::vector<float> x(tokens * width);
    float most = 0.0F;
    for (std::size_t t = 0; t < tokens; ++t) {
        for (std::size_t j = 0; j < width; ++j) {
            x[t * width + j] = p.sample(t, j) * (1.0F / scales[p.channel_of[j]]);
            most = std::max(most, std::fabs(x[t * width + j]));
        }
    }
    if (p.input) {
        fake_quantize(cpu{1}, *p.input, global_scale_of(*p.input, most),
                      as_view(x.data(), tokens, width));
    }
    std::vector<std::vector<float>> scaled;
    float largest = 0.0F;
    for (cpu::const_view const w : p.weights) {
        scaled.emplace_back();
        for (std::size_t i = 0; i < w.rows; ++i) {
            for (std::size_t j = 0; j < width; ++j) {
                scaled.back().push_back(w(i, j) * scales[p.channel_of[j]]);
                largest = std::max(largest, std::fabs(scaled.back().back()));
            }
        }
    }
    double sum = 0.0;
    for (std::size_t l = 0; l < scaled.size(); ++l) {
        std::size_t const rows = p.weights[l].rows;
        std::vector<float> const w = dequantize(
            quantize(as_view<float const>(scaled[l].data(), rows, width), p.weight.format,
                     observer_of(p.weight, global_scale_of(p.weight, largest)), 1)
                .view(),
            1);
        double miss = 0.0;
        double energy = 0.0;
        for (std::size_t t = 0; t < tokens; ++t) {
            for (std::size_t i = 0; i < rows; ++i) {
                double exact = 0.0;
                double found = 0.0;
                for (std::size_t j = 0; j < width; ++j) {
                    exact += static_cast<double>(p.sample(t, j)) *
                             static_cast<double>(p.weights[l](i, j));
                    found += static_cast<double>(x[t * width + j]) *
                             static_cast<double>(round_to_bf16(w[i * width + j]));
                }
                miss += (found - exact) * (found - exact);
                energy += exact * exact;
            }
        }
        sum += miss / energy;
    }
    return sum;
}

}  // namespace

TEST_CASE("the criterion of the search is the error of both quantizers", "[backend]") {
    layer const l(30.0F);
    for (quant_format const& format : {nvfp4, mxfp4}) {
        for (bool const inputs : {true, false}) {
            smooth_problem const p = l.problem(format, inputs);
            smooth_choice const one = search_smoothing(cpu{1}, {smooth_rule::awq, 0.5}, p);
            INFO(inputs);
            CHECK(one.alpha == 0.5);
            CHECK(one.error == Approx(slow_error(p, one.scales)).epsilon(1e-5));
            CHECK(one.plain_error ==
                  Approx(slow_error(p, std::vector<float>(width, 1.0F))).epsilon(1e-5));
            CHECK(one.scales == smooth_scales(smooth_rule::awq, detail::sizes_of(p), 0.5));
        }
    }
}

TEST_CASE("a search takes the best of its candidates at any number of threads", "[backend]") {
    layer const l(30.0F);
    for (smooth_rule const rule : {smooth_rule::smoothquant, smooth_rule::awq}) {
        smooth_problem const p = l.problem(mxfp4, true);
        smooth_choice const found = search_smoothing(cpu{1}, {rule, {}}, p);
        REQUIRE(found.alpha);
        CHECK(found.error < 0.7 * found.plain_error);  // outliers share their groups with others
        for (std::size_t i = 0; i <= smooth_exponents; ++i) {
            double const alpha = static_cast<double>(i) / smooth_exponents;
            CHECK(search_smoothing(cpu{1}, {rule, alpha}, p).error >= found.error);
        }
        smooth_choice const three = search_smoothing(cpu{3}, {rule, {}}, p);
        CHECK(three.scales == found.scales);
        CHECK(three.error == found.error);
    }
}

TEST_CASE("no scales at all are taken where every exponent has more error", "[backend]") {
    // Weights that undo the inputs' sizes: SmoothQuant makes both worse for any exponent, as here
    // one value a group is exact already.
    layer l(1.0F);
    for (std::size_t t = 0; t < tokens; ++t) {
        for (std::size_t j = 0; j < width; ++j) {
            l.x[t * width + j] = (t + j) % 2 == 0 ? 6.0F : 1.0F;  // exact in E2M1
            l.amax[j] = 6.0F;
        }
    }
    for (std::vector<float>* const w : {&l.a, &l.b}) {
        for (std::size_t i = 0; i < w->size(); ++i) {
            (*w)[i] = i % width % 16 == 0 ? 6.0F : (i / width + i) % 3 == 0 ? 0.5F : 1.5F;
        }
    }
    smooth_choice const found =
        search_smoothing(cpu{1}, {smooth_rule::smoothquant, {}}, l.problem(nvfp4, true));
    CHECK_FALSE(found.alpha);
    CHECK(found.scales == std::vector<float>(width, 1.0F));
    CHECK(found.error == found.plain_error);
    // A given exponent is taken as it is.
    CHECK(search_smoothing(cpu{1}, {smooth_rule::smoothquant, 0.5}, l.problem(nvfp4, true)).error >
          found.error);
}

TEST_CASE("columns that share a scale count together", "[backend]") {
    layer const l(30.0F);
    smooth_problem p = l.problem(nvfp4, true);
    p.channels = width / 2;
    for (std::size_t j = 0; j < width; ++j) {
        p.channel_of[j] = j % p.channels;
    }
    channel_sizes const sizes = detail::sizes_of(p);
    REQUIRE(sizes.input_amax.size() == p.channels);
    CHECK(sizes.input_amax[5] == std::max(l.amax[5], l.amax[5 + p.channels]));
    smooth_choice const found = search_smoothing(cpu{2}, {smooth_rule::awq, 0.5}, p);
    CHECK(found.error == Approx(slow_error(p, found.scales)).epsilon(1e-5));
}

TEST_CASE("the search sees the transform that a client applies after the scales", "[backend]") {
    layer const l(30.0F);
    smooth_problem p = l.problem(mxfp4, true);
    double const plain = search_smoothing(cpu{1}, {smooth_rule::awq, 0.0}, p).error;
    block_transform const t = block_transform::make(transform_kind::hadamard, 32, 1);
    p.transform = &t;
    double const rotated = search_smoothing(cpu{1}, {smooth_rule::awq, 0.0}, p).error;
    CHECK(rotated < 0.9 * plain);
}
