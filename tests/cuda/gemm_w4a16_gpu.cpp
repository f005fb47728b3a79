// SPDX-License-Identifier: Apache-2.0
// The W4A16 paths against sums in double: streaming, dequantize and cuBLASLt, and the reference.
#include <cublasLt.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "catch.hpp"
#include "fpq/cuda/api/gemm.hpp"
#include "fpq/cuda/gemm/w4a16_decode.hpp"
#include "gemm_w4a16_case.hpp"
#include "gpu.hpp"

using namespace fpq::cuda;
using namespace fpq_test;

TEST_CASE("W4A16 streaming, exact range: no wrong value", "[cuda][w4a16]") {
    std::vector<gemm_shape> const shapes = {{1, 512, 4096},  {8, 100, 1024}, {9, 33, 512},
                                            {16, 257, 4096}, {3, 16, 32},    {17, 40, 160},
                                            {2, 48, 14336},  {16, 31, 8224}, {40, 64, 2080},
                                            {1, 10571, 256}, {1, 700, 8224}};
    require_exact(11, shapes, w4a16_path::stream);
}

TEST_CASE("W4A16 of one token, exact range: no wrong value", "[cuda][w4a16]") {
    std::vector<gemm_shape> const shapes = {{1, 1, 64},      {1, 33, 192},   {1, 100, 1024},
                                            {1, 2117, 4096}, {1, 48, 14336}, {1, 700, 8256},
                                            {1, 31, 4160},   {1, 16, 128}};
    require_exact(23, shapes, w4a16_path::stream);
}

TEST_CASE("W4A16 of one token: activations of any size", "[cuda][w4a16]") {
    for (fpq::quant_format format : {fpq::nvfp4, fpq::mxfp4}) {
        for (int largest : {-40, 78, 79, 100}) {
            weight_case c(24, make(format, 1, 70, 512), range::exact);
            for (std::size_t j = 0; j < c.x.size(); ++j) {
                int const exponent = largest - static_cast<int>(j % 9) * 3;
                c.x[j] = bits_as(float_type::bf16, std::ldexp(j % 2 == 0 ? 1.5F : -1.0F, exponent));
            }
            INFO(name_of(format) << " up to 2^" << largest);
            REQUIRE(relative_error(c.run(), c.expected()) < 1e-6);
        }
        for (float_type type : {float_type::bf16, float_type::fp16}) {
            weight_case c(25, make(format, 1, 20, 256, type), range::exact);
            c.w.scales[c.w.scales.size() - 1] = format == fpq::nvfp4 ? 0x7F : 0xFF;
            std::vector<float> const one_nan = c.run();
            REQUIRE(std::count_if(one_nan.begin(), one_nan.end(),
                                  [](float y) { return std::isnan(y); }) == 1);
            REQUIRE(std::isnan(one_nan.back()));
            c.x[200] = bits_as(type, std::numeric_limits<float>::infinity());
            for (float y : c.run()) {
                REQUIRE_FALSE(std::isfinite(y));
            }
        }
    }
}

TEST_CASE("W4A16: rows of x at any stride and address", "[cuda][w4a16]") {
    for (std::size_t extra : {1, 3, 8}) {
        weight_case const c(12, make(fpq::nvfp4, 5, 64, 256), range::exact, extra);
        REQUIRE(wrong_values(c.run(), c.expected()) == 0);
    }
}

TEST_CASE("W4A16: shapes that cannot stream take the reference or cuBLASLt", "[cuda][w4a16]") {
    blas_handle const blas;
    w4a16_path path{};
    weight_case const narrow(13, make(fpq::nvfp4, 7, 50, 48), range::exact);
    REQUIRE(wrong_values(narrow.run(nullptr, 0, &path), narrow.expected()) == 0);
    REQUIRE(path == w4a16_path::reference);
    weight_case const shifted(14, make(fpq::mxfp4, 7, 50, 128), range::exact);
    REQUIRE(wrong_values(shifted.run(nullptr, 8, &path), shifted.expected()) == 0);
    REQUIRE(path == w4a16_path::reference);
    for (fpq::quant_format format : {fpq::nvfp4, fpq::mxfp4}) {
        for (float_type type : {float_type::bf16, float_type::fp16}) {
            weight_case const many(15, make(format, 513, 72, 320, type), range::exact);
            REQUIRE(wrong_values(many.run(blas.handle, 0, &path), many.expected()) == 0);
            REQUIRE(path == w4a16_path::dequantize_gemm);
            weight_case const odd(16, make(format, 67, 33, 96, type, scale_order::swizzled),
                                  range::exact);
            REQUIRE(wrong_values(odd.run(blas.handle, 0, &path), odd.expected()) == 0);
        }
    }
}

TEST_CASE("W4A16, wide scales and normal activations: close to double", "[cuda][w4a16]") {
    for (fpq::quant_format format : {fpq::nvfp4, fpq::mxfp4}) {
        for (float_type type : {float_type::bf16, float_type::fp16}) {
            // fp16 holds MXFP4 scales from 2^-18 on; the wide range here begins at 2^-20.
            if (format == fpq::mxfp4 && type == float_type::fp16) {
                continue;
            }
            for (std::size_t m : {1, 12}) {
                weight_case const c(17, make(format, m, 300, 4096, type), range::wide);
                REQUIRE(relative_error(c.run(), c.expected()) < 1e-5);
            }
        }
    }
}

TEST_CASE("W4A16: every scale code is exact", "[cuda][w4a16]") {
    for (fpq::quant_format format : {fpq::nvfp4, fpq::mxfp4}) {
        for (float_type type : {float_type::bf16, float_type::fp16}) {
            decode_range const mx = type == float_type::bf16 ? mxfp4_bf16_range : mxfp4_fp16_range;
            bool const nv = format == fpq::nvfp4;
            int const least = nv ? 0 : 127 + mx.least;
            int const most = nv ? 126 : 127 + mx.most;
            for (std::size_t k : {32, 64}) {  // 64: the kernel for one token
                // A row a scale code, one non-zero activation: the output is a decoded weight.
                auto const rows = static_cast<std::size_t>(most - least + 1);
                weight_case c(18, make(format, 1, rows, k, type), range::exact);
                std::size_t const groups = k / c.w.group();
                for (std::size_t i = 0; i < c.w.scales.size(); ++i) {
                    c.w.scales[i] =
                        static_cast<std::uint8_t>(static_cast<std::size_t>(least) + i / groups);
                }
                for (std::size_t at = 0; at < k; ++at) {
                    for (std::size_t j = 0; j < k; ++j) {
                        c.x[j] = bits_as(type, j == at ? 1.0F : 0.0F);
                    }
                    REQUIRE(wrong_values(c.run(), c.expected()) == 0);
                }
            }
        }
    }
}

TEST_CASE("W4A16: every scale code is exact on the way to cuBLASLt", "[cuda][w4a16]") {
    blas_handle const blas;
    for (fpq::quant_format format : {fpq::nvfp4, fpq::mxfp4}) {
        for (float_type type : {float_type::bf16, float_type::fp16}) {
            // A row a scale code, a token a column: the outputs are the decoded weights. In fp16
            // only powers of two that it holds with E2M1's significand.
            bool const nv = format == fpq::nvfp4;
            unsigned const least = nv ? 0 : type == float_type::bf16 ? 20 : 127 - 23;
            unsigned const most = nv ? 126 : type == float_type::bf16 ? 235 : 127 + 13;
            weight_case c(22, make(format, 514, most - least + 1, 64, type), range::exact);
            std::size_t const groups = 64 / c.w.group();
            for (std::size_t i = 0; i < c.w.scales.size(); ++i) {
                c.w.scales[i] = static_cast<std::uint8_t>(least + i / groups);
            }
            for (std::size_t i = 0; i < c.x.size(); ++i) {
                c.x[i] = bits_as(type, i / 64 % 64 == i % 64 ? 1.0F : 0.0F);
            }
            w4a16_path path{};
            REQUIRE(wrong_values(c.run(blas.handle, 0, &path), c.expected()) == 0);
            REQUIRE(path == w4a16_path::dequantize_gemm);
        }
    }
}

TEST_CASE("W4A16: alpha, bias and 16-bit outputs", "[cuda][w4a16]") {
    blas_handle const blas;
    for (std::size_t m : {6, 100, 600}) {
        weight_case c(19, make(fpq::nvfp4, m, 96, 512), range::exact);
        std::vector<double> const sums = c.expected();
        std::vector<float> bias(96);
        for (std::size_t i = 0; i < bias.size(); ++i) {
            bias[i] = static_cast<float>(i) - 40.0F;
        }
        c.problem.out = float_type::bf16;
        auto const codes = on_device(c.w.codes);
        auto const scales = on_device(c.w.scales);
        auto const x = on_device(c.x);
        auto const bias_there = on_device(bias);
        auto const factor = on_device(std::vector<float>{0.25F});
        w4a16_plan plan;
        must(plan_w4a16(c.problem, true, true, &plan));
        device_buffer<std::uint8_t> workspace;
        must(workspace.resize(plan.workspace_bytes + 256));
        must(workspace.fill(0));
        device_buffer<std::uint16_t> out;
        must(out.resize(m * 96));
        must(out.fill(0xFF));
        w4a16_operands o;
        o.x = x.data();
        o.x_stride = c.x_stride;
        o.codes = codes.data();
        o.scales = scales.data();
        o.alpha = 2.0F;
        o.alpha_device = factor.data();
        o.bias = bias_there.data();
        o.out = out.data();
        o.workspace = workspace.data();
        o.workspace_bytes = workspace.size();
        o.blas = blas.handle;
        must(launch_w4a16(c.problem, o, nullptr));
        std::vector<std::uint16_t> const found = on_host(out);
        std::size_t wrong = 0;
        for (std::size_t i = 0; i < found.size(); ++i) {
            float const value = static_cast<float>(sums[i] * 0.5 + bias[i % 96]);
            wrong += found[i] != fpq::to_bf16(value).bits ? 1 : 0;
        }
        REQUIRE(wrong == 0);
    }
}

TEST_CASE("W4A16 streams give the same bits every time, overlapped launches too", "[cuda][w4a16]") {
    auto const m = GENERATE(std::size_t{1}, std::size_t{16});
    weight_case const c(20, make(fpq::nvfp4, m, 512, 14336), range::wide);
    auto const codes = on_device(c.w.codes);
    auto const scales = on_device(c.w.scales);
    auto const x = on_device(c.x);
    w4a16_plan plan;
    must(plan_w4a16(c.problem, false, true, &plan));
    REQUIRE(plan.windows > 1);
    device_buffer<std::uint8_t> workspace;
    must(workspace.resize(plan.workspace_bytes));
    must(workspace.fill(0));
    device_buffer<float> out;
    must(out.resize(c.problem.m * c.problem.n));
    w4a16_operands o;
    o.x = x.data();
    o.x_stride = c.x_stride;
    o.codes = codes.data();
    o.scales = scales.data();
    o.out = out.data();
    o.workspace = workspace.data();
    o.workspace_bytes = workspace.size();
    must(launch_w4a16(c.problem, o, nullptr));
    std::vector<float> const first = on_host(out);
    cudaStream_t stream = nullptr;
    REQUIRE(cudaStreamCreate(&stream) == cudaSuccess);
    o.overlap_previous = true;
    for (int round = 0; round < 4; ++round) {
        must(out.fill(0xFF));
        REQUIRE(cudaDeviceSynchronize() == cudaSuccess);
        for (int i = 0; i < 5; ++i) {
            must(launch_w4a16(c.problem, o, stream));
        }
        REQUIRE(cudaStreamSynchronize(stream) == cudaSuccess);
        REQUIRE(on_host(out) == first);
    }
    cudaStreamDestroy(stream);
}

TEST_CASE("launch_w4a16 refuses what it cannot do and says why", "[cuda][w4a16]") {
    weight_case const c(21, make(fpq::mxfp4, 2, 16, 64), range::exact);
    auto const codes = on_device(c.w.codes);
    auto const scales = on_device(c.w.scales);
    auto const x = on_device(c.x);
    device_buffer<float> out;
    must(out.resize(32));
    w4a16_operands o;
    o.x = x.data();
    o.x_stride = 64;
    o.codes = codes.data();
    o.scales = scales.data();
    o.out = out.data();
    must(launch_w4a16(c.problem, o, nullptr));
    w4a16_problem p = c.problem;
    p.k = 48;
    REQUIRE(std::string(launch_w4a16(p, o, nullptr).text) ==
            "launch_w4a16: k: expected a positive multiple of 32, found 48");
    p = c.problem;
    p.activations = float_type::fp32;
    REQUIRE_FALSE(launch_w4a16(p, o, nullptr).ok());
    w4a16_operands bad = o;
    bad.x_stride = 63;
    REQUIRE(std::string(launch_w4a16(c.problem, bad, nullptr).text) ==
            "launch_w4a16: x_stride: expected at least k, found 63");
    bad = o;
    bad.out = nullptr;
    REQUIRE_FALSE(launch_w4a16(c.problem, bad, nullptr).ok());
    REQUIRE(cudaDeviceSynchronize() == cudaSuccess);
}
