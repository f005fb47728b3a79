// SPDX-License-Identifier: Apache-2.0
// Why a Hadamard rotation helps: a few large columns ruin MXFP4, and rotating both sides spreads
// them without changing x w^T. Floors 0-3.
#include <cmath>
#include <cstdio>
#include <vector>

#include "fpq/core/random.hpp"
#include "fpq/quant/error_stats.hpp"
#include "fpq/quant/quantize.hpp"
#include "fpq/transform/transform.hpp"

int main() {
    constexpr std::size_t tokens = 64;
    constexpr std::size_t in = 256;
    fpq::philox const random{7, 0};
    std::vector<float> x(tokens * in);  // (tokens, in), every 64th column 20 times larger
    std::vector<float> w(in);           // (1, in)
    for (std::size_t i = 0; i < x.size(); ++i) {
        x[i] = random.normal_at(i) * (i % 64 == 5 ? 20.0F : 1.0F);
    }
    for (std::size_t j = 0; j < in; ++j) {
        w[j] = random.normal_at(100000 + j);
    }
    auto const dot = [&](std::size_t t) {
        double sum = 0.0;
        for (std::size_t j = 0; j < in; ++j) {
            sum += static_cast<double>(x[t * in + j]) * static_cast<double>(w[j]);
        }
        return sum;
    };
    auto const decibels = [&] {
        auto const view = fpq::as_view(static_cast<float const*>(x.data()), tokens, in);
        fpq::observer_options options;
        options.mx = fpq::scale_rule::floor;
        return fpq::measure_packed(view, fpq::quantize(view, fpq::mxfp4, options, 1).view())
            .sqnr_db();
    };

    double const before = dot(3);
    double const plain = decibels();
    auto const rotation = fpq::block_transform::make(fpq::transform_kind::hadamard, 128);
    rotation.apply_to_inputs(fpq::as_view(x.data(), tokens, in), 1);
    rotation.apply_to_weights(fpq::as_view(w.data(), 1, in), 1);
    double const rotated = decibels();
    std::printf("MXFP4 of the small columns' group mates: %.2f dB as it is, %.2f dB rotated\n",
                plain, rotated);
    std::printf("x w^T: %.6f before, %.6f after\n", before, dot(3));
    return std::abs(dot(3) - before) < 1e-3 * std::abs(before) + 1e-3 ? 0 : 1;
}
