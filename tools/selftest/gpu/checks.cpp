// SPDX-License-Identifier: Apache-2.0
// Compares the conversion instructions with the software formats over all inputs, probes which lane
// and byte each scale of the block-scaled instruction comes from, multiplies matrices whose sums
// are exact, and times the products. Each line ends in pass, FAIL or not run.
#include "selftest/gpu/checks.hpp"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "fpq/core/half.hpp"
#include "fpq/core/hosted/error.hpp"
#include "fpq/cuda/api/buffer.hpp"
#include "fpq/cuda/api/gemm.hpp"
#include "fpq/cuda/gemm/lane_map.hpp"
#include "fpq/format/minifloat.hpp"
#include "fpq/format/scale_layout.hpp"
#include "selftest/gpu/probes.hpp"

using namespace fpq::cuda;
namespace selftest = fpq::selftest;

namespace {

int failed = 0;
int not_run = 0;

void say(std::string const& what, char const* verdict) {
    std::printf("%-72s %s\n", what.c_str(), verdict);
    std::fflush(stdout);
}
void verdict(std::string const& what, bool ok) {
    failed += ok ? 0 : 1;
    say(what, ok ? "pass" : "FAIL");
}
void skip(std::string const& what) {
    ++not_run;
    say(what, "not run");
}
void must(status const& s) {
    if (!s.ok()) {
        std::fprintf(stderr, "%s\n", s.text);
        std::exit(5);
    }
}

void conversions() {
    for (selftest::conversion which :
         {selftest::conversion::e2m1_from_float, selftest::conversion::e2m1_to_half,
          selftest::conversion::e4m3_from_float, selftest::conversion::e4m3_to_half}) {
        selftest::comparison c;
        must(selftest::compare_conversion(which, &c));
        std::string const name = selftest::name_of(which);
        if (!c.there) {
            skip(name + ": no such instruction here");
            continue;
        }
        std::string text = name + ": " + std::to_string(c.inputs) + " inputs, " +
                           std::to_string(c.differ) + " differ";
        if (c.differ > 0) {
            char example[32];
            std::snprintf(example, sizeof example, ", first 0x%llX", c.example);
            text += example;
        }
        verdict(text, c.differ == 0 && c.inputs > 0);
    }
}

/// What the lane maps say a probe must give: see probe_scales.
int wrong_probes(bool nvfp4, unsigned selectors, std::vector<float> const& sums) {
    int const byte_id = nvfp4 ? 0 : 2 * static_cast<int>(selectors & 1u);
    int const thread_a = static_cast<int>(selectors >> 1 & 1u);
    int const thread_b = static_cast<int>(selectors >> 2);
    int const groups = nvfp4 ? 4 : 2;
    int wrong = 0;
    for (int hot = 0; hot < 256; ++hot) {
        lane_slot const slot{hot / 4 % 32, 0, hot % 4};
        for (int row = 0; row < 16; ++row) {
            for (int col = 0; col < 8; ++col) {
                float sum = 0.0F;
                for (int k = 0; k < 64; ++k) {
                    int const g = k / (64 / groups);
                    lane_slot const at = hot < 128 ? m16n8k64::scale_a(row, g, byte_id, thread_a)
                                                   : m16n8k64::scale_b(g, col, byte_id, thread_b);
                    sum += 0.5F * static_cast<float>(1 << (k / 16)) * (at == slot ? 2.0F : 1.0F);
                }
                float const found = sums[static_cast<std::size_t>(hot * 128 + row * 8 + col)];
                wrong += found == sum ? 0 : 1;
            }
        }
    }
    return wrong;
}

void scale_lanes(bool hardware) {
    std::vector<float> sums(256 * 128);
    for (bool nvfp4 : {true, false}) {
        for (unsigned selectors = 0; selectors < 16; ++selectors) {
            if (nvfp4 && (selectors & 1u) != 0) {
                continue;  // byte-id is 0 with four scales a row
            }
            must(selftest::probe_scales(hardware, nvfp4, selectors, sums.data()));
            int const wrong = wrong_probes(nvfp4, selectors, sums);
            verdict(std::string(hardware ? "scale lanes, hardware " : "scale lanes, emulated ") +
                        (nvfp4 ? "nvfp4" : "mxfp4") + " byte-id " +
                        std::to_string(nvfp4 ? 0 : 2 * (selectors & 1u)) + " thread-id-a " +
                        std::to_string(selectors >> 1 & 1u) + " thread-id-b " +
                        std::to_string(selectors >> 2) + ": " + std::to_string(wrong) + " wrong",
                    wrong == 0);
        }
    }
}

struct matrix {
    std::size_t rows = 0;
    std::size_t cols = 0;
    std::size_t group = 16;
    std::vector<std::uint8_t> codes;
    std::vector<std::uint8_t> scales;
    device_buffer<std::uint8_t> codes_there;
    device_buffer<std::uint8_t> swizzled_there;  // padding holds NaN

    matrix(std::mt19937& gen, fpq::quant_format format, std::size_t m, std::size_t k)
        : rows(m), cols(k), group(format.group), codes(m * k / 2), scales(m * (k / group)) {
        bool const nv = format == fpq::nvfp4;
        for (auto& byte : codes) {
            byte = static_cast<std::uint8_t>(gen());
        }
        for (auto& byte : scales) {  // 1 .. 1.875, or 2^-1 .. 2^1: sums are exact
            byte = static_cast<std::uint8_t>(nv ? 0x38 + gen() % 8 : 126 + gen() % 3);
        }
        std::size_t const groups = k / group;
        std::vector<std::uint8_t> swizzled(fpq::swizzled_scales{groups}.size(m));
        fpq::swizzle_scales(scales.data(), m, groups, swizzled.data(),
                            nv ? std::uint8_t{0x7F} : std::uint8_t{0xFF});
        must(codes_there.resize(codes.size()));
        must(codes_there.upload(codes.data()));
        must(swizzled_there.resize(swizzled.size()));
        must(swizzled_there.upload(swizzled.data()));
    }
    float at(std::size_t row, std::size_t col) const {
        std::uint8_t const byte = codes[row * (cols / 2) + col / 2];
        std::uint8_t const scale = scales[row * (cols / group) + col / group];
        return fpq::e2m1::decode(static_cast<std::uint8_t>(byte >> (col % 2 * 4) & 15u)) *
               (group == 16 ? fpq::e4m3::decode(scale) : fpq::e8m0::decode(scale));
    }
};

struct product {
    w4a4_problem problem;
    matrix a;
    matrix b;
    device_buffer<float> out;
    device_buffer<std::uint8_t> workspace;

    product(std::mt19937& gen, fpq::quant_format format, std::size_t m, std::size_t n,
            std::size_t k)
        : problem{format, float_type::fp32, m, n, k}, a(gen, format, m, k), b(gen, format, n, k) {
        w4a4_plan plan;
        must(plan_w4a4(problem, &plan));
        must(out.resize(m * n));
        must(workspace.resize(plan.workspace_bytes + 256));
        must(workspace.fill(0));
    }
    void launch(w4a4_atom atom) {
        w4a4_operands o;
        o.a = a.codes_there.data();
        o.a_scales = a.swizzled_there.data();
        o.b = b.codes_there.data();
        o.b_scales = b.swizzled_there.data();
        o.out = out.data();
        o.workspace = workspace.data();
        o.workspace_bytes = workspace.size();
        must(launch_w4a4(problem, o, atom, nullptr));
    }
    /// Outputs that differ from sums in double; every one, or `samples` of them.
    std::size_t wrong(std::mt19937& gen, std::size_t samples) const {
        std::vector<float> found(out.size());
        must(out.download(found.data()));
        std::size_t count = 0;
        for (std::size_t i = 0; i < std::min(samples, found.size()); ++i) {
            std::size_t const at = samples < found.size() ? gen() % found.size() : i;
            double sum = 0.0;
            for (std::size_t k = 0; k < problem.k; ++k) {
                sum += static_cast<double>(a.at(at / problem.n, k)) *
                       static_cast<double>(b.at(at % problem.n, k));
            }
            count += static_cast<double>(found[at]) == sum ? 0 : 1;
        }
        return count;
    }
    double time_us(w4a4_atom atom) {
        cudaEvent_t begin = nullptr;
        cudaEvent_t end = nullptr;
        must(from_cuda(cudaEventCreate(&begin), "event"));
        must(from_cuda(cudaEventCreate(&end), "event"));
        std::vector<float> times;
        for (int i = 0; i < 12; ++i) {
            must(from_cuda(cudaEventRecord(begin, nullptr), "event"));
            launch(atom);
            must(from_cuda(cudaEventRecord(end, nullptr), "event"));
            must(from_cuda(cudaEventSynchronize(end), "timing"));
            float ms = 0.0F;
            must(from_cuda(cudaEventElapsedTime(&ms, begin, end), "timing"));
            if (i >= 2) {
                times.push_back(ms);
            }
        }
        cudaEventDestroy(begin);
        cudaEventDestroy(end);
        std::sort(times.begin(), times.end());
        return 1e3 * static_cast<double>(times[times.size() / 2]);
    }
};

void products(w4a4_atom atom, char const* atom_name) {
    struct shape {
        std::size_t m, n, k;
    };
    std::mt19937 gen(1);
    for (fpq::quant_format format : {fpq::nvfp4, fpq::mxfp4}) {
        for (shape const& s :
             {shape{128, 128, 128}, shape{256, 384, 1024}, shape{16, 256, 4096},
              shape{50, 200, 2048}, shape{131, 257, 96}, shape{4096, 4096, 4096}}) {
            product p(gen, format, s.m, s.n, s.k);
            p.launch(atom);
            std::size_t const samples = s.m * s.n > 200000 ? 20000 : s.m * s.n;
            std::size_t const wrong = p.wrong(gen, samples);
            verdict(std::string("exact-range product, ") + atom_name + ' ' + name_of(format) + ' ' +
                        std::to_string(s.m) + " x " + std::to_string(s.n) + " x " +
                        std::to_string(s.k) + ": " + std::to_string(wrong) + " wrong of " +
                        std::to_string(samples),
                    wrong == 0);
        }
    }
}

void timings(w4a4_atom atom, char const* atom_name) {
    std::mt19937 gen(2);
    for (fpq::quant_format format : {fpq::nvfp4, fpq::mxfp4}) {
        for (std::size_t m : {1, 16, 64, 4096}) {
            product p(gen, format, m, 4096, 4096);
            double const us = p.time_us(atom);
            std::printf("time, %s %s, m %zu, n 4096, k 4096: %.1f us, %.1f TFLOP/s\n", atom_name,
                        name_of(format), m, us, 2e-6 * static_cast<double>(m) * 4096 * 4096 / us);
        }
    }
}

}  // namespace

int fpq::selftest::run_checks() {
    int count = 0;
    cudaDeviceProp device{};
    cudaError_t const error = cudaGetDeviceCount(&count);
    if (error != cudaSuccess || count == 0 || cudaGetDeviceProperties(&device, 0) != cudaSuccess) {
        fpq::fail(fpq::error_category::device, "nothing was tested", {}, "a CUDA device",
                  error != cudaSuccess ? cudaGetErrorString(error) : "none");
    }
    std::printf("%s, compute capability %d.%d, %d multiprocessors\n", device.name, device.major,
                device.minor, device.multiProcessorCount);
    bool const hardware = device.major == 12;
    conversions();
    scale_lanes(false);
    if (hardware) {
        scale_lanes(true);
    } else {
        skip("scale lanes of the hardware instruction: no card of the sm_120 family");
    }
    products(w4a4_atom::emulated, "emulated");
    if (hardware) {
        products(w4a4_atom::hardware, "hardware");
        timings(w4a4_atom::hardware, "hardware");
    } else {
        skip("exact-range products by the hardware instruction");
    }
    timings(w4a4_atom::emulated, "emulated");
    std::printf("%d failed, %d not run\n", failed, not_run);
    return failed == 0 ? 0 : 1;
}
