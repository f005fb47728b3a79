// SPDX-License-Identifier: Apache-2.0
// A stranger's program: uses the formats and the quantizer of fpq::core and nothing else.
#include <cstdio>
#include <vector>

#include "fpq/format.hpp"
#include "fpq/quant/quantize.hpp"
#include "fpq/version.hpp"

int main() {
    std::vector<float> const w(64, 3.0F);
    fpq::observer_options options;
    fpq::packed_matrix const q =
        fpq::quantize(fpq::as_view(w.data(), 4, 16), fpq::nvfp4, options, 1);
    float const back = fpq::dequantize(q.view(), 1).front();
    std::printf("fpq %s: 3 -> %g\n", FPQ_VERSION_STRING, static_cast<double>(back));
    return back > 2.5F && back < 3.5F ? 0 : 1;
}
