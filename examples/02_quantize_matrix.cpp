// SPDX-License-Identifier: Apache-2.0
// Quantizes a random matrix to NVFP4 and MXFP4 with three observers and prints bits per value and
// signal to noise. Floors 0-2.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <vector>

#include "fpq/core/random.hpp"
#include "fpq/format.hpp"
#include "fpq/quant/error_stats.hpp"
#include "fpq/quant/quantize.hpp"
#include "fpq/quant/stored_scale.hpp"

int main() {
    constexpr std::size_t rows = 256;
    constexpr std::size_t cols = 512;
    fpq::philox const random{42, 0};
    std::vector<float> w(rows * cols);  // (rows, cols)
    float amax = 0.0F;
    for (std::size_t i = 0; i < w.size(); ++i) {
        w[i] = random.normal_at(i);
        amax = std::max(amax, std::abs(w[i]));
    }
    auto const view = fpq::as_view(static_cast<float const*>(w.data()), rows, cols);

    bool right = true;
    for (bool const mx : {false, true}) {
        fpq::quant_format const format = mx ? fpq::mxfp4 : fpq::nvfp4;
        double last = 0.0;
        for (auto const kind : {fpq::scale_rule::minmax, fpq::scale_rule::sweep}) {
            fpq::observer_options options;
            options.rule = kind;
            options.global_scale = mx ? 1.0F : fpq::nvfp_global_scale(amax, true);
            options.mx = fpq::scale_rule::floor;
            fpq::packed_matrix const q = fpq::quantize(view, format, options, 1);
            double const db = fpq::measure_packed(view, q.view()).sqnr_db();
            std::printf("%s %-6s  %.3f bits a value  %.2f dB\n", mx ? "MXFP4" : "NVFP4",
                        kind == fpq::scale_rule::minmax ? "minmax" : "sweep",
                        format.bits_per_value(rows, cols), db);
            right = right && db > last;  // the search is never worse than the rule
            last = db;
        }
    }
    return right ? 0 : 1;
}
