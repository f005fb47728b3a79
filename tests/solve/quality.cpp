// SPDX-License-Identifier: Apache-2.0
// The solvers together on a synthetic layer: correlated inputs with outlier
// channels, Gaussian weights, output error on held-out tokens. Gains in dB over the same format's
// minmax rounding; the bounds leave room below what a wider scan of seeds showed. Also polish.hpp.
#include <cmath>
#include <cstddef>
#include <vector>

#include "catch.hpp"
#include "fpq/core/random.hpp"
#include "fpq/linalg/second_moment.hpp"
#include "fpq/quant/quantize.hpp"
#include "fpq/solve/gptq.hpp"
#include "fpq/solve/polish.hpp"
#include "fpq/solve/rtn.hpp"

namespace {

constexpr std::size_t width = 256;
constexpr std::size_t outputs = 64;

struct layer {
    std::vector<float> w;
    fpq::hessian calibration;
    fpq::hessian held_out;
};

fpq::hessian tokens_of(std::size_t tokens, std::uint64_t seed, std::uint64_t stream) {
    constexpr std::size_t rank = 32;
    fpq::philox const mix{seed, 1};
    fpq::philox const own{seed, stream};
    std::vector<float> loads(rank * width);
    for (std::size_t i = 0; i < loads.size(); ++i) {
        float const decay = 1.0F / std::sqrt(1.0F + 0.4F * static_cast<float>(i / width));
        loads[i] = 0.4F * decay * mix.normal_at(i);
    }
    std::vector<float> x(tokens * width);
    std::vector<float> hidden(rank);
    for (std::size_t t = 0; t < tokens; ++t) {
        std::uint64_t const base = t * (rank + width);
        for (std::size_t p = 0; p < rank; ++p) {
            hidden[p] = own.normal_at(base + p);
        }
        for (std::size_t j = 0; j < width; ++j) {
            float sum = 0.35F * own.normal_at(base + rank + j);
            for (std::size_t p = 0; p < rank; ++p) {
                sum += hidden[p] * loads[p * width + j];
            }
            // Every channel a size of its own, one in 50 an outlier.
            float const size = std::exp(0.5F * mix.normal_at(1000000 + j));
            x[t * width + j] = sum * size * (j % 50 == 7 ? 10.0F : 1.0F);
        }
    }
    return fpq::hessian_of(fpq::as_view(x.data(), tokens, width), 1);
}

layer make_layer(std::uint64_t seed) {
    layer out{{}, tokens_of(3072, seed, 2), tokens_of(3072, seed, 3)};
    fpq::philox const source{seed, 9};
    out.w.resize(outputs * width);
    for (std::size_t i = 0; i < out.w.size(); ++i) {
        out.w[i] = 0.05F * source.normal_at(i);
    }
    return out;
}

/// Output SQNR on held-out tokens.
double sqnr(layer const& l, fpq::packed_matrix const& q) {
    auto const v = fpq::as_view(l.w.data(), outputs, width);
    auto const e = fpq::detail::weight_error(v, q, 1);
    return 10 * std::log10(fpq::quadratic_form(v, l.held_out.view(), 1) /
                           fpq::quadratic_form(fpq::as_view(e.data(), outputs, width),
                                               l.held_out.view(), 1));
}

fpq::solve_options recipe(layer const& l, fpq::quant_format const& format, fpq::scale_rule kind,
                          bool weighted = false) {
    float amax = 0;
    for (float const v : l.w) {
        amax = std::max(amax, std::abs(v));
    }
    fpq::solve_options o;
    o.threads = 1;
    o.observer.rule = kind;
    o.observer.global_scale =
        fpq::default_global_scale(format, amax, true, fpq::scale_rule::fp_quant);
    o.order = fpq::quant_order::activation;
    o.weight_by_diagonal = weighted;
    return o;
}

double gptq_db(layer const& l, fpq::quant_format const& format, fpq::solve_options const& o,
               int passes = 0) {
    auto const w = fpq::as_view(l.w.data(), outputs, width);
    auto solved = fpq::gptq(w, l.calibration, format, o, "synthetic");
    fpq::polish(w, l.calibration, passes, true, 1, solved);
    return sqnr(l, solved.weight);
}

double rtn_db(layer const& l, fpq::quant_format const& format, fpq::solve_options const& o) {
    return sqnr(l, fpq::rtn(fpq::as_view(l.w.data(), outputs, width), &l.calibration, format, o,
                            "synthetic")
                       .weight);
}

}  // namespace

TEST_CASE("NVFP4: the weighted sweep beats the seed's best recipe, and polish adds to it",
          "[solve]") {
    using enum fpq::scale_rule;
    auto const l = make_layer(1);
    auto const db = [&](fpq::solve_options const& o) { return gptq_db(l, fpq::nvfp4, o); };
    double const base = rtn_db(l, fpq::nvfp4, recipe(l, fpq::nvfp4, minmax));
    double const rtn_sweep = rtn_db(l, fpq::nvfp4, recipe(l, fpq::nvfp4, sweep)) - base;
    double const rtn_weighted = rtn_db(l, fpq::nvfp4, recipe(l, fpq::nvfp4, sweep, true)) - base;
    auto natural = recipe(l, fpq::nvfp4, minmax);
    natural.order = fpq::quant_order::natural;
    double const plain = db(natural) - base;
    double const seed = db(recipe(l, fpq::nvfp4, mse)) - base;
    double const swept = db(recipe(l, fpq::nvfp4, sweep)) - base;
    double const ours = db(recipe(l, fpq::nvfp4, sweep, true)) - base;
    auto innovation = recipe(l, fpq::nvfp4, sweep, true);
    innovation.weight_by_innovation = true;
    double const innovated = db(innovation) - base;
    double const polished = gptq_db(l, fpq::nvfp4, recipe(l, fpq::nvfp4, sweep, true), 4) - base;
    INFO("NVFP4 dB over minmax RTN ("
         << base << "): rtn sweep " << rtn_sweep << ", rtn weighted " << rtn_weighted
         << ", gptq minmax natural " << plain << ", seed's best " << seed << ", sweep " << swept
         << ", diagonal " << ours << ", innovation " << innovated << ", polished " << polished);
    CHECK(rtn_sweep > 0.8);
    CHECK(rtn_weighted > rtn_sweep + 0.5);
    CHECK(plain > 3.0);
    CHECK(seed > plain + 1.0);
    CHECK(ours > seed + 1.0);
    CHECK(innovated > seed + 1.0);
    CHECK(polished > ours + 0.2);
}

TEST_CASE("MXFP4: the weighted sweep beats the seed's best recipe, and polish adds to it",
          "[solve]") {
    using enum fpq::scale_rule;
    auto const l = make_layer(2);
    double const base = rtn_db(l, fpq::mxfp4, recipe(l, fpq::mxfp4, minmax));
    double const seed = gptq_db(l, fpq::mxfp4, recipe(l, fpq::mxfp4, mse)) - base;
    double const ours = gptq_db(l, fpq::mxfp4, recipe(l, fpq::mxfp4, sweep, true)) - base;
    double const polished = gptq_db(l, fpq::mxfp4, recipe(l, fpq::mxfp4, sweep, true), 4) - base;
    INFO("MXFP4 dB over minmax RTN (" << base << "): seed's best " << seed << ", diagonal " << ours
                                      << ", polished " << polished);
    CHECK(ours > seed + 0.3);
    CHECK(polished > ours + 0.03);
}
