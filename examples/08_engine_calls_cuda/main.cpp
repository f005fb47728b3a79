// SPDX-License-Identifier: Apache-2.0
// An inference engine's use of the CUDA wing: quantize weights once, quantize activations, multiply
// FP4 by FP4 (W4A4), and multiply 16-bit activations by FP4 weights (W4A16). Plain C++ with the
// CUDA toolkit and no other library. The card's own block-scaled instruction is used where there is
// one, else it is emulated; the results are compared with a product in double.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

#include "fpq/core/half.hpp"
#include "fpq/cuda/api.hpp"
#include "fpq/cuda/api/buffer.hpp"

namespace {

namespace fc = fpq::cuda;

void must(fc::status const& s) {
    if (!s.ok()) {
        std::fprintf(stderr, "%s\n", s.text);
        std::exit(1);
    }
}

/// A matrix on the device in bf16, and its NVFP4 form.
struct matrix {
    std::size_t rows;
    std::size_t cols;
    std::vector<float> values;
    float global_scale = 1.0F;
    fc::device_buffer<fpq::bf16> there;
    fc::device_buffer<std::uint8_t> codes;
    fc::device_buffer<std::uint8_t> scales;

    matrix(unsigned seed, std::size_t r, std::size_t c) : rows(r), cols(c), values(r * c) {
        std::mt19937 gen(seed);
        std::normal_distribution<float> normal;
        std::vector<fpq::bf16> rounded(values.size());
        float amax = 0.0F;
        for (std::size_t i = 0; i < values.size(); ++i) {
            rounded[i] = fpq::to_bf16(normal(gen));
            values[i] = fpq::to_float(rounded[i]);
            amax = std::max(amax, std::abs(values[i]));
        }
        global_scale = 2688.0F / amax;  // 6 * 448: the largest element times the largest scale
        must(there.resize(values.size()));
        must(there.upload(rounded.data()));
        must(codes.resize(rows * cols / 2));
    }
    void quantize(fc::scale_order order) {
        must(scales.resize(fpq::scales_size(order, rows, fpq::nvfp4.groups(cols))));
        fc::quantize_options options;
        options.global_scale = global_scale;
        must(fc::quantize({there.data(), fc::float_type::bf16, rows, cols, cols},
                          {codes.data(), scales.data(), fpq::nvfp4, order}, options, nullptr));
    }
};

/// ||found - expected|| / ||expected|| of out (m, n) against x w^T in double.
double relative_error(matrix const& x, matrix const& w, fc::device_buffer<float> const& out) {
    std::vector<float> found(out.size());
    must(out.download(found.data()));
    double difference = 0.0;
    double norm = 0.0;
    for (std::size_t i = 0; i < x.rows; ++i) {
        for (std::size_t j = 0; j < w.rows; ++j) {
            double sum = 0.0;
            for (std::size_t k = 0; k < x.cols; ++k) {
                sum += static_cast<double>(x.values[i * x.cols + k]) *
                       static_cast<double>(w.values[j * w.cols + k]);
            }
            double const d = static_cast<double>(found[i * w.rows + j]) - sum;
            difference += d * d;
            norm += sum * sum;
        }
    }
    return std::sqrt(difference / norm);
}

}  // namespace

int main() {
    int devices = 0;
    if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
        std::printf("SKIPPED: no CUDA device\n");
        return 77;
    }
    std::size_t const m = 24;
    std::size_t const n = 256;
    std::size_t const k = 512;
    matrix x(1, m, k);
    matrix w(2, n, k);
    fc::device_buffer<float> out;
    must(out.resize(m * n));
    fc::device_buffer<std::uint8_t> workspace;

    // FP4 times FP4. Both operands with scales in the order that the tensor cores read.
    x.quantize(fc::scale_order::swizzled);
    w.quantize(fc::scale_order::swizzled);
    fc::w4a4_problem const both{fpq::nvfp4, fc::float_type::fp32, m, n, k};
    fc::w4a4_plan plan;
    must(fc::plan_w4a4(both, &plan));
    if (plan.workspace_bytes > 0) {
        must(workspace.resize(plan.workspace_bytes));
        must(workspace.fill(0));
    }
    fc::w4a4_operands o;
    o.a = x.codes.data();
    o.a_scales = x.scales.data();
    o.b = w.codes.data();
    o.b_scales = w.scales.data();
    o.alpha = 1.0F / (x.global_scale * w.global_scale);
    o.out = out.data();
    o.workspace = workspace.data();
    o.workspace_bytes = workspace.size();
    must(fc::launch_w4a4(both, o, fc::w4a4_atom::automatic, nullptr));
    double const w4a4 = relative_error(x, w, out);

    // 16-bit activations times FP4 weights, scales row-major as in a checkpoint.
    w.quantize(fc::scale_order::row_major);
    fc::w4a16_problem weights;
    weights.out = fc::float_type::fp32;
    weights.m = m;
    weights.n = n;
    weights.k = k;
    fc::w4a16_plan stream;
    must(fc::plan_w4a16(weights, false, true, &stream));
    if (stream.workspace_bytes > 0) {
        must(workspace.resize(stream.workspace_bytes));
        must(workspace.fill(0));
    }
    fc::w4a16_operands s;
    s.x = x.there.data();
    s.x_stride = k;
    s.codes = w.codes.data();
    s.scales = w.scales.data();
    s.alpha = 1.0F / w.global_scale;
    s.out = out.data();
    s.workspace = workspace.data();
    s.workspace_bytes = workspace.size();
    must(fc::launch_w4a16(weights, s, nullptr));
    double const w4a16 = relative_error(x, w, out);

    std::printf("relative error of the product: W4A4 %.4f, W4A16 %.4f\n", w4a4, w4a16);
    // Normal values in NVFP4 have a relative error near 0.09; two operands near 0.13.
    return w4a4 < 0.16 && w4a16 < 0.12 && w4a16 > 0.01 ? 0 : 1;
}
