// SPDX-License-Identifier: Apache-2.0
// The W4A4 mainloop on whatever card is here: emulated and reference atoms on sm_80 and later, the
// hardware's on the sm_120 family. Exact-range cases must agree bit for bit with sums in double.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <random>
#include <vector>

#include "catch.hpp"
#include "fpq/cuda/api/gemm.hpp"
#include "gemm_fixture.hpp"
#include "gpu.hpp"

using namespace fpq::cuda;
using namespace fpq_test;

namespace {

struct gemm_case {
    packed_matrix a;
    packed_matrix b;
    device_buffer<std::uint8_t> a_codes, a_scales, b_codes, b_scales;

    gemm_case(unsigned seed, fpq::quant_format format, std::size_t m, std::size_t n, std::size_t k,
              range r) {
        std::mt19937 gen(seed);
        a = random_packed(gen, format, m, k, r);
        b = random_packed(gen, format, n, k, r);
        upload();
    }
    void upload() {
        a_codes = on_device(a.codes);
        a_scales = on_device(a.swizzled);
        b_codes = on_device(b.codes);
        b_scales = on_device(b.swizzled);
    }
    w4a4_problem problem(float_type out = float_type::fp32) const {
        return {a.format, out, a.rows, b.rows, a.cols};
    }
    w4a4_operands operands() const {
        w4a4_operands o;
        o.a = a_codes.data();
        o.a_scales = a_scales.data();
        o.b = b_codes.data();
        o.b_scales = b_scales.data();
        return o;
    }
    /// The product with alpha 1, in float32; unwritten outputs stay NaN.
    std::vector<float> run(w4a4_atom atom) const {
        w4a4_plan plan;
        must(plan_w4a4(problem(), &plan));
        device_buffer<float> out;
        must(out.resize(a.rows * b.rows));
        must(out.fill(0xFF));
        device_buffer<std::uint8_t> workspace;
        must(workspace.resize(plan.workspace_bytes));
        if (workspace.size() > 0) {
            must(workspace.fill(0));
        }
        w4a4_operands o = operands();
        o.out = out.data();
        o.workspace = workspace.data();
        o.workspace_bytes = workspace.size();
        must(launch_w4a4(problem(), o, atom, nullptr));
        return on_host(out);
    }
    std::vector<double> expected() const {
        std::vector<double> sums(a.rows * b.rows);
        std::vector<std::vector<float>> columns(b.rows);
        for (std::size_t j = 0; j < b.rows; ++j) {
            columns[j] = b.decoded(j);
        }
        for (std::size_t i = 0; i < a.rows; ++i) {
            std::vector<float> const row = a.decoded(i);
            for (std::size_t j = 0; j < b.rows; ++j) {
                double sum = 0.0;
                for (std::size_t k = 0; k < a.cols; ++k) {
                    sum += static_cast<double>(row[k]) * static_cast<double>(columns[j][k]);
                }
                sums[i * b.rows + j] = sum;
            }
        }
        return sums;
    }
};

std::vector<w4a4_atom> atoms_here() {
    int major = 0;
    REQUIRE(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0) == cudaSuccess);
    if (major == 12) {
        return {w4a4_atom::hardware, w4a4_atom::emulated};
    }
    static bool const said = [] {
        std::printf("NOT RUN: the hardware atom; no card of the sm_120 family\n");
        return true;
    }();
    static_cast<void>(said);
    return {w4a4_atom::emulated};
}

}  // namespace

TEST_CASE("W4A4, exact range: no wrong value at any shape", "[cuda][w4a4]") {
    struct shape {
        std::size_t m, n, k;
    };
    for (fpq::quant_format format : {fpq::nvfp4, fpq::mxfp4}) {
        std::size_t const g = format.group;
        // Whole tiles; ragged m and n; k of one group, of odd groups; splits of k in a small tile.
        std::vector<shape> const shapes = {{128, 128, 128},  {256, 384, 1024},  {1, 128, 256},
                                           {16, 256, 4096},  {17, 129, 512},    {64, 200, 2048},
                                           {65, 77, g},      {131, 257, 3 * g}, {100, 130, 64 + g},
                                           {13, 1000, 9 * g}};
        for (shape const& s : shapes) {
            gemm_case const c(1, format, s.m, s.n, s.k, range::exact);
            std::vector<double> const expected = c.expected();
            for (w4a4_atom atom : atoms_here()) {
                INFO(name_of(format) << " m " << s.m << " n " << s.n << " k " << s.k << " atom "
                                     << static_cast<int>(atom));
                REQUIRE(wrong_values(c.run(atom), expected) == 0);
            }
        }
    }
}

TEST_CASE("W4A4 4096 x 4096 x 4096, exact range: no wrong value of 16.8 million", "[cuda][w4a4]") {
    // The oracle is the obvious W4A16 product of the decoded A, itself tested against double.
    for (fpq::quant_format format : {fpq::nvfp4, fpq::mxfp4}) {
        std::size_t const size = 4096;
        gemm_case const c(10, format, size, size, size, range::exact);
        std::vector<std::uint16_t> decoded;
        for (std::size_t i = 0; i < size; ++i) {
            for (float value : c.a.decoded(i)) {
                decoded.push_back(fpq::to_bf16(value).bits);
            }
        }
        auto const x = on_device(decoded);
        std::vector<std::uint8_t> codes(8, 0);  // eight bytes off, codes cannot be streamed
        codes.insert(codes.end(), c.b.codes.begin(), c.b.codes.end());
        auto const shifted = on_device(codes);
        auto const scales = on_device(c.b.scales);
        device_buffer<float> out;
        must(out.resize(size * size));
        w4a16_operands o;
        o.x = x.data();
        o.x_stride = size;
        o.codes = shifted.data() + 8;
        o.scales = scales.data();
        o.out = out.data();
        w4a16_problem p;
        p.format = format;
        p.out = float_type::fp32;
        p.m = p.n = p.k = size;
        must(launch_w4a16(p, o, nullptr));
        std::vector<float> const expected = on_host(out);
        for (w4a4_atom atom : atoms_here()) {
            std::vector<float> const found = c.run(atom);
            std::size_t wrong = 0;
            for (std::size_t i = 0; i < found.size(); ++i) {
                wrong += found[i] == expected[i] ? 0 : 1;
            }
            INFO(name_of(format) << " atom " << static_cast<int>(atom));
            REQUIRE(wrong == 0);
        }
    }
}

TEST_CASE("W4A4: the reference atom agrees through the lane maps", "[cuda][w4a4]") {
    for (fpq::quant_format format : {fpq::nvfp4, fpq::mxfp4}) {
        gemm_case const c(2, format, 128, 128, 256, range::exact);
        REQUIRE(wrong_values(c.run(w4a4_atom::reference), c.expected()) == 0);
        gemm_case const ragged(3, format, 70, 131, 96, range::exact);
        REQUIRE(wrong_values(ragged.run(w4a4_atom::reference), ragged.expected()) == 0);
    }
}

TEST_CASE("W4A4: a wrong scale map changes exactly the rows it touches", "[cuda][w4a4]") {
    // Rows 0..7 and 8..15 of each 16 exchange their scales: what a wrong lane order would do.
    gemm_case c(4, fpq::nvfp4, 128, 128, 128, range::exact);
    std::vector<double> const expected = c.expected();
    std::size_t const groups = 128 / 16;
    packed_matrix const right = c.a;
    for (std::size_t row = 0; row < 128; row += 32) {
        for (std::size_t i = 0; i < 8 * groups; ++i) {
            std::swap(c.a.scales[row * groups + i], c.a.scales[(row + 8) * groups + i]);
        }
    }
    c.a.swizzle();
    c.upload();
    for (w4a4_atom atom : atoms_here()) {
        std::vector<float> const found = c.run(atom);
        std::size_t wrong_touched = 0;
        std::size_t wrong_elsewhere = 0;
        for (std::size_t i = 0; i < found.size(); ++i) {
            bool const touched = i / 128 % 32 < 16;
            (touched ? wrong_touched : wrong_elsewhere) +=
                static_cast<double>(found[i]) != expected[i] ? 1 : 0;
        }
        REQUIRE(wrong_elsewhere == 0);
        REQUIRE(wrong_touched > 8000);  // of 8192; a few sums agree by chance
    }
}

TEST_CASE("W4A4, wide scales: float32 sums stay close to double", "[cuda][w4a4]") {
    for (fpq::quant_format format : {fpq::nvfp4, fpq::mxfp4}) {
        gemm_case const c(5, format, 192, 256, 2048, range::wide);
        for (w4a4_atom atom : atoms_here()) {
            REQUIRE(relative_error(c.run(atom), c.expected()) < 1e-5);
        }
    }
}

TEST_CASE("W4A4: alpha, bias and output types", "[cuda][w4a4]") {
    gemm_case const c(6, fpq::nvfp4, 33, 130, 320, range::exact);
    std::vector<double> const expected = c.expected();
    std::vector<float> bias(130);
    for (std::size_t i = 0; i < bias.size(); ++i) {
        bias[i] = static_cast<float>(i) - 60.0F;
    }
    auto const bias_there = on_device(bias);
    auto const factor_there = on_device(std::vector<float>{0.25F});
    device_buffer<std::uint16_t> out;
    must(out.resize(33 * 130));
    w4a4_plan plan;
    must(plan_w4a4(c.problem(), &plan));
    device_buffer<std::uint8_t> workspace;
    must(workspace.resize(plan.workspace_bytes + 1));
    must(workspace.fill(0));
    for (float_type type : {float_type::bf16, float_type::fp16}) {
        w4a4_operands o = c.operands();
        o.alpha = 2.0F;
        o.alpha_device = factor_there.data();
        o.bias = bias_there.data();
        o.out = out.data();
        o.workspace = workspace.data();
        o.workspace_bytes = workspace.size();
        must(out.fill(0xFF));
        must(launch_w4a4(c.problem(type), o, w4a4_atom::automatic, nullptr));
        std::vector<std::uint16_t> const found = on_host(out);
        std::size_t wrong = 0;
        for (std::size_t i = 0; i < found.size(); ++i) {
            float const value = static_cast<float>(expected[i] * 0.5 + bias[i % 130]);
            std::uint16_t const right =
                type == float_type::bf16 ? fpq::to_bf16(value).bits : fpq::to_fp16(value).bits;
            wrong += found[i] != right ? 1 : 0;
        }
        REQUIRE(wrong == 0);
    }
}

TEST_CASE("W4A4 gives the same bits every time, splits of k included", "[cuda][w4a4]") {
    gemm_case const c(7, fpq::nvfp4, 9, 256, 8192, range::wide);
    w4a4_plan plan;
    must(plan_w4a4(c.problem(), &plan));
    REQUIRE(plan.splits > 1);
    for (w4a4_atom atom : atoms_here()) {
        std::vector<float> const first = c.run(atom);
        for (int i = 0; i < 5; ++i) {
            REQUIRE(c.run(atom) == first);
        }
    }
}

TEST_CASE("launch_w4a4 refuses what it cannot do and says why", "[cuda][w4a4]") {
    gemm_case const c(8, fpq::nvfp4, 16, 16, 64, range::exact);
    device_buffer<float> out;
    must(out.resize(16 * 16));
    w4a4_operands good = c.operands();
    good.out = out.data();
    w4a4_problem p = c.problem();
    must(launch_w4a4(p, good, w4a4_atom::automatic, nullptr));
    p.k = 40;
    status s = launch_w4a4(p, good, w4a4_atom::automatic, nullptr);
    REQUIRE(std::string(s.text) == "launch_w4a4: k: expected a positive multiple of 16, found 40");
    p = c.problem();
    p.format = fpq::mxfp8_e4m3;
    REQUIRE(launch_w4a4(p, good, w4a4_atom::automatic, nullptr).code ==
            status_code::invalid_argument);
    p = c.problem();
    w4a4_operands bad = good;
    bad.b_scales = nullptr;
    REQUIRE(std::string(launch_w4a4(p, bad, w4a4_atom::automatic, nullptr).text) ==
            "launch_w4a4: b_scales: expected a device pointer, found null");
    bad = good;
    bad.a = good.a + 1;
    REQUIRE_FALSE(launch_w4a4(p, bad, w4a4_atom::automatic, nullptr).ok());
    gemm_case const deep(9, fpq::nvfp4, 4, 16, 4096, range::exact);
    bad = deep.operands();
    bad.out = out.data();
    REQUIRE_FALSE(launch_w4a4(deep.problem(), bad, w4a4_atom::automatic, nullptr).ok());
}
