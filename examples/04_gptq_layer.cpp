// SPDX-License-Identifier: Apache-2.0
// One linear layer by RTN and by GPTQ: the same format, the same scales, less error at the output.
// Floor 4.
#include <cstdio>
#include <vector>

#include "fpq/core/random.hpp"
#include "fpq/linalg/second_moment.hpp"
#include "fpq/solve/gptq.hpp"
#include "fpq/solve/rtn.hpp"

int main() {
    constexpr std::size_t out = 64;
    constexpr std::size_t in = 128;
    constexpr std::size_t tokens = 512;
    fpq::philox const random{1, 0};
    std::vector<float> w(out * in);     // (out, in)
    std::vector<float> x(tokens * in);  // (tokens, in), neighbouring columns correlated
    for (std::size_t i = 0; i < w.size(); ++i) {
        w[i] = random.normal_at(i);
    }
    for (std::size_t i = 0; i < x.size(); ++i) {
        float const own = random.normal_at(1000000 + i);
        x[i] = i % in == 0 ? own : 0.9F * x[i - 1] + 0.4F * own;
    }
    auto const weights = fpq::as_view(static_cast<float const*>(w.data()), out, in);
    fpq::hessian const h =
        fpq::hessian_of(fpq::as_view(static_cast<float const*>(x.data()), tokens, in), 1);

    fpq::solve_options options;
    options.threads = 1;
    options.observer.rule = fpq::scale_rule::sweep;
    options.order = fpq::quant_order::activation;
    double const rtn = fpq::rtn(weights, &h, fpq::mxfp4, options, "example").report.relative_error;
    double const gptq =
        fpq::gptq(weights, h, fpq::factor(h, options, "example"), fpq::mxfp4, options, "example")
            .report.relative_error;
    std::printf("relative output error: RTN %.5f, GPTQ %.5f (%.2f of it)\n", rtn, gptq, gptq / rtn);
    return gptq < rtn ? 0 : 1;
}
