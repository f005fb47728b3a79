// SPDX-License-Identifier: Apache-2.0
// The W4A16 tiles on sm_90a against sums in double. On other cards the chooser takes other paths,
// and these tests say that they were not run.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <vector>

#include "catch.hpp"
#include "gemm_w4a16_case.hpp"
#include "gpu.hpp"

using namespace fpq::cuda;
using namespace fpq_test;

namespace {

bool tiles_run_here() {
    w4a16_plan plan;
    must(plan_w4a16(make(fpq::nvfp4, 32, 256, 256), false, true, &plan));
    if (plan.path != w4a16_path::tiles) {
        std::printf("NOT RUN: the W4A16 tiles; no card of compute capability 9.0\n");
        return false;
    }
    return true;
}

}  // namespace

TEST_CASE("W4A16 tiles, exact range: no wrong value", "[cuda][w4a16][tiles]") {
    if (!tiles_run_here()) {
        return;
    }
    std::vector<gemm_shape> const shapes = {{17, 256, 256}, {32, 1, 64},     {33, 300, 4096},
                                            {64, 257, 320}, {100, 513, 832}, {128, 31, 3584},
                                            {129, 64, 512}, {260, 96, 1088}, {20, 16, 14336}};
    require_exact(31, shapes, w4a16_path::tiles);
}

TEST_CASE("W4A16 tiles, wide scales and normal activations: close to double",
          "[cuda][w4a16][tiles]") {
    if (!tiles_run_here()) {
        return;
    }
    for (fpq::quant_format format : {fpq::nvfp4, fpq::mxfp4}) {
        for (float_type type : {float_type::bf16, float_type::fp16}) {
            // fp16 holds MXFP4 scales from 2^-18 on; the wide range here begins at 2^-20.
            if (format == fpq::mxfp4 && type == float_type::fp16) {
                continue;
            }
            weight_case const c(32, make(format, 70, 300, 4096, type), range::wide);
            REQUIRE(relative_error(c.run(), c.expected()) < 1e-5);
        }
    }
}

TEST_CASE("W4A16 tiles: every E4M3 scale code is exact", "[cuda][w4a16][tiles]") {
    if (!tiles_run_here()) {
        return;
    }
    for (float_type type : {float_type::bf16, float_type::fp16}) {
        // Token j has its one at column j: its output is the decoded weight itself.
        weight_case c(33, make(fpq::nvfp4, 64, 127, 64, type), range::exact);
        for (std::size_t i = 0; i < 64; ++i) {
            for (std::size_t j = 0; j < 64; ++j) {
                c.x[i * c.x_stride + j] = bits_as(type, i == j ? 1.0F : 0.0F);
            }
        }
        for (std::size_t row = 0; row < 127; ++row) {
            for (std::size_t g = 0; g < 4; ++g) {
                c.w.scales[4 * row + g] = static_cast<std::uint8_t>((row + 32 * g) % 127);
            }
        }
        REQUIRE(wrong_values(c.run(), c.expected()) == 0);
    }
}

TEST_CASE("W4A16 tiles: rows of x at any stride, what lies between them does not matter",
          "[cuda][w4a16][tiles]") {
    if (!tiles_run_here()) {
        return;
    }
    for (std::size_t extra : {1, 3, 8}) {
        weight_case c(34, make(fpq::nvfp4, 50, 64, 320), range::exact, extra);
        for (std::size_t i = 0; i < 50; ++i) {
            for (std::size_t j = 320; j < c.x_stride; ++j) {
                c.x[i * c.x_stride + j] =
                    bits_as(float_type::bf16, std::numeric_limits<float>::quiet_NaN());
            }
        }
        REQUIRE(wrong_values(c.run(), c.expected()) == 0);
    }
}

TEST_CASE("W4A16 tiles: alpha, bias, output types and addresses; the same bits every time",
          "[cuda][w4a16][tiles]") {
    if (!tiles_run_here()) {
        return;
    }
    for (float_type type : {float_type::bf16, float_type::fp16}) {
        for (std::size_t n : {95, 96}) {
            weight_case c(35, make(fpq::nvfp4, 40, n, 1024, type), range::exact);
            c.problem.out = type;
            std::vector<double> const sums = c.expected();
            std::vector<float> bias(n);
            for (std::size_t i = 0; i < n; ++i) {
                bias[i] = static_cast<float>(i) - 40.0F;
            }
            auto const codes = on_device(c.w.codes);
            auto const scales = on_device(c.w.scales);
            auto const x = on_device(c.x);
            auto const bias_there = on_device(bias);
            auto const factor = on_device(std::vector<float>{0.25F});
            w4a16_plan plan;
            must(plan_w4a16(c.problem, false, true, &plan));
            REQUIRE(plan.path == w4a16_path::tiles);
            device_buffer<std::uint8_t> workspace;
            must(workspace.resize(plan.workspace_bytes));
            must(workspace.fill(0xFF));  // NaN in all types: nothing of it may be read before
            REQUIRE(cudaMemset(workspace.data(), 0, plan.head_bytes) == cudaSuccess);  // counters
            device_buffer<std::uint16_t> out;
            must(out.resize(40 * n + 1));
            w4a16_operands o;
            o.x = x.data();
            o.x_stride = c.x_stride;
            o.codes = codes.data();
            o.scales = scales.data();
            o.alpha = 0.125F;
            o.alpha_device = factor.data();
            o.bias = bias_there.data();
            o.workspace = workspace.data();
            o.workspace_bytes = workspace.size();
            cudaStream_t stream = nullptr;
            REQUIRE(cudaStreamCreate(&stream) == cudaSuccess);
            for (std::size_t shift : {0, 1}) {
                for (bool overlap : {false, true}) {
                    must(out.fill(0xFF));
                    REQUIRE(cudaDeviceSynchronize() == cudaSuccess);
                    o.out = out.data() + shift;
                    o.overlap_previous = overlap;
                    for (int i = 0; i < 5; ++i) {
                        must(launch_w4a16(c.problem, o, stream));
                    }
                    REQUIRE(cudaStreamSynchronize(stream) == cudaSuccess);
                    std::vector<std::uint16_t> const found = on_host(out);
                    std::size_t wrong = 0;
                    for (std::size_t i = 0; i < 40 * n; ++i) {
                        auto const value = static_cast<float>(sums[i] * 0.03125 + bias[i % n]);
                        wrong += found[i + shift] != bits_as(type, value) ? 1 : 0;
                    }
                    REQUIRE(wrong == 0);
                    REQUIRE(found[shift == 0 ? 40 * n : 0] == 0xFFFF);
                }
            }
            cudaStreamDestroy(stream);
        }
    }
}
