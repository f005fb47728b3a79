// SPDX-License-Identifier: Apache-2.0
// What a processor other than x86-64 compiles: the generic kernels alone, in a copy of the headers
// that takes this machine for one (run.sh). tests/aarch64.sh runs them on such a one.
#include "fpq/linalg/matmul.hpp"
#include "fpq/quant/quantize.hpp"
#include "fpq/transform/hadamard_quantize.hpp"

static_assert(FPQ_X86_KERNELS == 0);

void multiplied(fpq::matrix_view<float const> x, fpq::matrix_view<float> y) {
    fpq::matmul_nt(x, x, y, 1);
}

fpq::packed_matrix quantized(fpq::matrix_view<float const> w) {
    fpq::observer_options options;
    options.rule = fpq::scale_rule::sweep;
    return fpq::quantize(w, fpq::nvfp4, options, 1);
}

std::vector<float> restored(fpq::packed_matrix const& q) { return fpq::dequantize(q.view(), 1); }
