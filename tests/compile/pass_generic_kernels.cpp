// SPDX-License-Identifier: Apache-2.0
// What a processor other than x86-64 compiles: the generic kernels alone. tests/aarch64.sh runs
// them on such a one.
#define FPQ_NO_X86_KERNELS
#include "fpq/quant/quantize.hpp"
#include "fpq/transform/hadamard_quantize.hpp"

fpq::packed_matrix quantized(fpq::matrix_view<float const> w) {
    fpq::observer_options options;
    options.rule = fpq::scale_rule::sweep;
    return fpq::quantize(w, fpq::nvfp4, options, 1);
}

std::vector<float> restored(fpq::packed_matrix const& q) { return fpq::dequantize(q.view(), 1); }
