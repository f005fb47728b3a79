// SPDX-License-Identifier: Apache-2.0
// GPTQ on a GPU against the CPU solver: Hessians against sums in double, factors against the CPU's
// in double, whole solves by the error at the layer's output, identity Hessians byte for byte.
#include "gpu.hpp"
// (first: it ends the program where there is no device)

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "catch.hpp"
#include "fpq/backend/cuda/gptq.hpp"
#include "fpq/core/half.hpp"
#include "fpq/cuda/api/gptq.hpp"
#include "fpq/cuda/gptq/linear_algebra.hpp"
#include "fpq/linalg/second_moment.hpp"
#include "fpq/quant/quantize.hpp"
#include "fpq/solve/gptq.hpp"
#include "fpq/solve/rtn.hpp"
#include "gptq_support.hpp"

namespace {

namespace cuda = fpq::cuda;
using fpq_test::as_type;
using fpq_test::cpu_hessian;
using fpq_test::differing;
using fpq_test::inputs;
using fpq_test::libraries;
using fpq_test::loss_of;
using fpq_test::lower_half;
using fpq_test::many_formats;
using fpq_test::normal;
using fpq_test::on_device;
using fpq_test::on_host;
using fpq_test::options_for;
using fpq_test::require_ok;
using fpq_test::view_of;

std::vector<double> gram(std::vector<float> const& x, std::size_t n) {
    std::vector<double> out(n * n, 0.0);
    for (std::size_t t = 0; t < x.size() / n; ++t) {
        for (std::size_t i = 0; i < n; ++i) {
            double const xi = static_cast<double>(x[t * n + i]);
            for (std::size_t j = 0; j <= i; ++j) {
                out[i * n + j] += xi * static_cast<double>(x[t * n + j]);
            }
        }
    }
    return out;
}

/// The largest |found - times * want| over sqrt(H_ii H_jj) in the lower half.
double worst(std::vector<float> const& found, std::vector<double> const& want, double times,
             std::size_t n) {
    double out = 0;
    for (std::size_t i = 0; i < n; ++i) {
        for (std::size_t j = 0; j <= i; ++j) {
            double const size = std::sqrt(want[i * n + i] * want[j * n + j]) * times;
            double const miss =
                std::abs(static_cast<double>(found[i * n + j]) - times * want[i * n + j]) / size;
            out = miss <= out ? out : miss;  // NaN stays
            if (std::isnan(miss)) {
                return miss;
            }
        }
    }
    return out;
}

void check_hessian(cuda::hessian_path path, cuda::float_type type, std::size_t tokens,
                   std::size_t n, std::size_t stride, double limit = 1e-5) {
    INFO("path " << static_cast<int>(path) << " type " << cuda::name_of(type) << " tokens "
                 << tokens << " cols " << n << " stride " << stride);
    auto const x = inputs(tokens, n, n);
    auto const device_x = on_device(as_type(x, n, stride, type));
    float const nan = std::numeric_limits<float>::quiet_NaN();
    auto const device_h = on_device(std::vector<float>(n * n, nan));
    cuda::hessian_args args;
    args.x = device_x.data();
    args.type = type;
    args.tokens = tokens;
    args.cols = n;
    args.x_stride = stride;
    args.h = device_h.data();
    args.path = path;
    args.accumulate = false;
    require_ok(cuda::launch_hessian(libraries(), nullptr, args));
    auto const want = gram(x, n);
    auto const once = on_host(device_h, n * n);
    CHECK(worst(once, want, 1.0, n) < limit);
    args.accumulate = true;
    require_ok(cuda::launch_hessian(libraries(), nullptr, args));
    auto const twice = on_host(device_h, n * n);
    CHECK(worst(twice, want, 2.0, n) < limit);
    if (path == cuda::hessian_path::tiles) {
        std::size_t touched = 0;
        for (std::size_t i = 0; i < n; ++i) {
            for (std::size_t j = i + 1; j < n; ++j) {
                touched += std::isnan(twice[i * n + j]) ? 0 : 1;
            }
        }
        CHECK(touched == 0);
    }
}

bool has_tiles() {
    int major = 0;
    REQUIRE(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0) == cudaSuccess);
    return major == 9;
}

cuda::gptq_factor device_factor(fpq::matrix_view<float const> h, fpq::solve_options const& o,
                                std::size_t double_limit = 4096) {
    cuda::gptq_factor out;
    cuda::gptq_factor_options options;
    options.order = o.order == fpq::quant_order::activation ? cuda::gptq_order::activation
                                                            : cuda::gptq_order::natural;
    options.rel_damp = o.rel_damp;
    options.double_limit = double_limit;
    auto const device_h = lower_half(h);
    require_ok(cuda::factor_hessian(libraries(), nullptr, device_h.data(), h.rows, options, out));
    return out;
}

struct solved {
    fpq::packed_matrix weight;
    double loss = 0;
    double relative_error = 0;
};

/// The device's codes under the scales that the CPU found.
solved device_solve(std::vector<float> const& w, std::size_t rows, cuda::gptq_factor const& factor,
                    fpq::packed_matrix const& scales, bool zero_dead = true,
                    cuda::float_type type = cuda::float_type::fp32, std::size_t panel = 512,
                    fpq::hessian const* h = nullptr, bool tf32 = false) {
    std::size_t const cols = w.size() / rows;
    std::size_t const stride = cols + 3;
    auto const device_w = on_device(as_type(w, cols, stride, type));
    auto const device_scales = on_device(scales.scales);
    auto const device_zeros = on_device(scales.zeros);
    solved out;
    out.weight = scales;
    auto const device_codes = on_device(std::vector<std::uint8_t>(scales.codes.size(), 0xA5));
    cuda::gptq_layer layer;
    layer.w = device_w.data();
    layer.type = type;
    layer.rows = rows;
    layer.cols = cols;
    layer.w_stride = stride;
    layer.format = scales.format;
    layer.scales = device_scales.data();
    layer.zeros = device_zeros.data();
    layer.global_scale = scales.global_scale;
    layer.zero_dead_columns = zero_dead;
    layer.codes = device_codes.data();
    layer.panel = panel;
    layer.tf32 = tf32;
    cuda::gptq_workspace workspace;
    require_ok(cuda::launch_gptq(libraries(), nullptr, factor, layer, workspace));
    if (h != nullptr) {
        auto const device_h = lower_half(h->view());
        require_ok(
            cuda::launch_gptq_energy(libraries(), nullptr, device_h.data(), layer, workspace));
    }
    cuda::gptq_report report;
    require_ok(cuda::read_gptq_report(nullptr, layer, workspace, report));
    out.loss = report.loss;
    out.relative_error = report.relative_error();
    out.weight.codes = on_host(device_codes, scales.codes.size());
    return out;
}

constexpr fpq::quant_order orders[] = {fpq::quant_order::natural, fpq::quant_order::activation};

}  // namespace

TEST_CASE("a Hessian by cuBLAS is the sum in double", "[cuda]") {
    using path = cuda::hessian_path;
    for (auto const type :
         {cuda::float_type::bf16, cuda::float_type::fp16, cuda::float_type::fp32}) {
        check_hessian(path::blas, type, 97, 72, 80);
    }
    check_hessian(path::blas, cuda::float_type::bf16, 33, 61, 63);
    check_hessian(path::blas, cuda::float_type::bf16, 300, 1024, 1024);
}

TEST_CASE("a Hessian by our tiles is the sum in double, upper half untouched", "[cuda]") {
    if (!has_tiles()) {
        WARN("SKIPPED: our Hessian tiles need compute capability 9.0");
        return;
    }
    using path = cuda::hessian_path;
    auto const bf16 = cuda::float_type::bf16;
    for (auto const p : {path::tiles, path::automatic}) {
        check_hessian(p, bf16, 64, 128, 128);
        check_hessian(p, bf16, 256, 256, 256);
        check_hessian(p, bf16, 100, 200, 208);
        check_hessian(p, bf16, 37, 61, 64);
        check_hessian(p, bf16, 513, 640, 648);
        check_hessian(p, bf16, 300, 1096, 1096);
        // The tensor cores cut sums towards zero: the error grows with the tokens of a call.
        check_hessian(p, bf16, 16384, 136, 136, 1e-4);
        check_hessian(p, bf16, 40000, 72, 72, 1e-4);  // in three parts
    }
}

TEST_CASE("more units than multiprocessors: persistent blocks lose none", "[cuda]") {
    if (!has_tiles()) {
        WARN("SKIPPED: our Hessian tiles need compute capability 9.0");
        return;
    }
    std::size_t const n = 5000;
    std::size_t const tokens = 130;
    auto const x = inputs(tokens, n, 3);
    auto const device_x = on_device(as_type(x, n, n, cuda::float_type::bf16));
    cuda::hessian_args args;
    args.x = device_x.data();
    args.tokens = tokens;
    args.cols = n;
    args.x_stride = n;
    args.accumulate = false;
    auto const a = on_device(std::vector<float>(n * n, 0.0F));
    args.h = a.data();
    args.path = cuda::hessian_path::blas;
    require_ok(cuda::launch_hessian(libraries(), nullptr, args));
    auto const want = on_host(a, n * n);
    for (auto const path : {cuda::hessian_path::tiles, cuda::hessian_path::automatic}) {
        auto const b = on_device(std::vector<float>(n * n, 7.0F));
        args.h = b.data();
        args.path = path;
        require_ok(cuda::launch_hessian(libraries(), nullptr, args));
        auto const found = on_host(b, n * n);
        double miss = 0;
        for (std::size_t i = 0; i < n; ++i) {
            for (std::size_t j = 0; j <= i; ++j) {
                double const size = std::sqrt(static_cast<double>(want[i * n + i]) *
                                              static_cast<double>(want[j * n + j]));
                miss = std::max(miss, std::abs(static_cast<double>(found[i * n + j]) -
                                               static_cast<double>(want[i * n + j])) /
                                          size);
            }
        }
        INFO("path " << static_cast<int>(path));
        CHECK(miss < 1e-5);
    }
}

TEST_CASE("the factor is the CPU's in double, in both precisions and orders", "[cuda]") {
    std::size_t const n = 300;
    auto const h = cpu_hessian(inputs(900, n, 11), n);
    for (auto const order : orders) {
        auto const want = fpq::basic_gptq_factor<double>::make(h.view(), order, 0.01, 4, "layer");
        for (std::size_t const limit : {std::size_t{4096}, std::size_t{0}}) {
            fpq::solve_options o;
            o.threads = 1;
            o.order = order;
            auto const f = device_factor(h.view(), o, limit);
            CHECK(f.host_order == want.order());
            CHECK(f.retries == 0);
            CHECK(f.damping == Approx(want.damping()).epsilon(1e-12));
            auto const feedback = on_host(f.feedback, n * n);
            auto const cost = on_host(f.cost, n);
            double miss = 0;
            double largest = 0;
            for (std::size_t k = 0; k < n; ++k) {
                REQUIRE(static_cast<double>(cost[k].innovation) ==
                        Approx(want.innovation()[k]).epsilon(limit == 0 ? 1e-3 : 1e-6));
                for (std::size_t j = 0; j < k; ++j) {
                    largest = std::max(largest, std::abs(want.feedback()(k, j)));
                    miss = std::max(miss, std::abs(static_cast<double>(feedback[j * n + k]) -
                                                   want.feedback()(k, j)));
                }
            }
            INFO("limit " << limit);
            CHECK(miss < (limit == 0 ? 1e-3 : 1e-6) * largest);
        }
    }
}

TEST_CASE("a solve costs what the CPU's does, within 1e-3, in every format and order", "[cuda]") {
    std::size_t const rows = 203;  // ragged for tiles of 32 rows
    std::size_t const n = 684;     // ragged for blocks of 128, panels of 512, groups of 16 and 32
    auto const w = normal(rows * n, 1, 0.05F);
    auto const h = cpu_hessian(inputs(1500, n, 1), n);
    for (auto const order : orders) {
        auto const first = options_for(fpq::nvfp4, w, order);
        auto const cpu_factor = fpq::factor(h, first, "layer");
        auto const factor = device_factor(h.view(), first);
        for (auto const& format : many_formats()) {
            auto const o = options_for(format, w, order);
            auto const want = fpq::gptq(view_of(w, rows), h, cpu_factor, format, o, "layer");
            auto const found = device_solve(w, rows, factor, want.weight);
            double const ours = loss_of(w, rows, found.weight, h);
            double const theirs = loss_of(w, rows, want.weight, h);
            double const codes = static_cast<double>(want.weight.codes.size());
            INFO("bits " << fpq::element_bits(format.element) << " group " << format.group
                         << " order " << static_cast<int>(order) << " differing bytes "
                         << differing(found.weight.codes, want.weight.codes) << " of " << codes);
            CHECK(ours == Approx(theirs).epsilon(1e-3));
            CHECK(found.loss == Approx(ours).epsilon(1e-3));
            CHECK(static_cast<double>(differing(found.weight.codes, want.weight.codes)) <
                  0.05 * codes);
            auto const again =
                device_solve(w, rows, factor, want.weight, true, cuda::float_type::fp32, 512, &h);
            CHECK((again.weight.codes == found.weight.codes));
            CHECK(again.loss == found.loss);
            CHECK(again.relative_error == Approx(want.report.relative_error).epsilon(2e-3));
            auto const coarse = device_solve(w, rows, factor, want.weight, true,
                                             cuda::float_type::fp32, 128, nullptr, true);
            // A third of the rows round somewhere else and go another way: noise of so few rows.
            CHECK(loss_of(w, rows, coarse.weight, h) == Approx(theirs).epsilon(1e-2));
            CHECK(coarse.loss == Approx(loss_of(w, rows, coarse.weight, h)).epsilon(1e-3));
        }
    }
}

TEST_CASE("with an identity Hessian the device rounds to nearest, byte for byte", "[cuda]") {
    std::size_t const rows = 33;
    std::size_t const n = 172;
    auto const w = normal(rows * n, 4, 0.05F);
    std::vector<float> eye(n * n, 0.0F);
    for (std::size_t i = 0; i < n; ++i) {
        eye[i * n + i] = 1.0F;
    }
    auto const h = cpu_hessian(eye, n);
    for (auto const& format : many_formats()) {
        for (auto const order : orders) {
            auto const o = options_for(format, w, order);
            auto const want = fpq::rtn(view_of(w, rows), &h, format, o, "layer");
            auto const found = device_solve(w, rows, device_factor(h.view(), o), want.weight);
            CHECK((found.weight.codes == want.weight.codes));
        }
    }
}

TEST_CASE("weights in bf16 and fp16, and other panels, give the same solve", "[cuda]") {
    std::size_t const rows = 40;
    std::size_t const n = 600;
    auto w = normal(rows * n, 6, 0.05F);
    for (float& v : w) {
        v = fpq::to_float(fpq::to_fp16(fpq::round_to_bf16(v)));  // exact in both, mostly
        v = std::abs(v) < 0x1p-13F ? 0.0F : v;
    }
    auto const h = cpu_hessian(inputs(900, n, 6), n);
    auto const o = options_for(fpq::nvfp4, w, fpq::quant_order::activation);
    auto const cpu = fpq::gptq(view_of(w, rows), h, fpq::nvfp4, o, "layer");
    auto const factor = device_factor(h.view(), o);
    auto const want = device_solve(w, rows, factor, cpu.weight);
    for (auto const type : {cuda::float_type::bf16, cuda::float_type::fp16}) {
        CHECK((device_solve(w, rows, factor, cpu.weight, true, type).weight.codes ==
               want.weight.codes));
    }
    for (std::size_t const panel : {std::size_t{128}, std::size_t{256}, std::size_t{1024}}) {
        auto const other =
            device_solve(w, rows, factor, cpu.weight, true, cuda::float_type::fp32, panel);
        CHECK(loss_of(w, rows, other.weight, h) ==
              Approx(loss_of(w, rows, want.weight, h)).epsilon(2e-3));
    }
}

TEST_CASE("dead columns become zero on the device, or are rounded to nearest", "[cuda]") {
    std::size_t const rows = 20;
    std::size_t const n = 64;
    auto const w = normal(rows * n, 7, 0.05F);
    auto x = inputs(400, n, 7);
    for (std::size_t t = 0; t < 400; ++t) {
        x[t * n + 3] = 0;
        x[t * n + 40] = 0;
    }
    auto const h = cpu_hessian(x, n);
    auto o = options_for(fpq::nvfp4, w, fpq::quant_order::activation);
    auto const factor = device_factor(h.view(), o);
    CHECK(factor.dead_columns == 2);
    for (bool const zero : {true, false}) {
        o.zero_dead_columns = zero;
        auto const want = fpq::gptq(view_of(w, rows), h, fpq::nvfp4, o, "layer");
        auto const found = device_solve(w, rows, factor, want.weight, zero);
        auto const a = fpq::dequantize(found.weight.view(), 1);
        auto const b = fpq::dequantize(want.weight.view(), 1);
        for (std::size_t r = 0; r < rows; ++r) {
            REQUIRE(a[r * n + 3] == b[r * n + 3]);
            REQUIRE(a[r * n + 40] == b[r * n + 40]);
            REQUIRE((!zero || a[r * n + 3] == 0.0F));
        }
        CHECK(found.loss == Approx(loss_of(w, rows, found.weight, h)).epsilon(1e-3));
    }
}

TEST_CASE("failed factorisations are damped tenfold, six tries, then refused", "[cuda]") {
    std::size_t const n = 48;
    auto const h = cpu_hessian(inputs(5, n, 8), n);  // rank 5 of 48
    fpq::solve_options o;
    o.threads = 1;
    CHECK(device_factor(h.view(), o).retries == 0);
    o.rel_damp = 0;
    auto const f = device_factor(h.view(), o);
    auto const want = fpq::factor(h, o, "layer");
    CHECK(f.retries == want.retries());
    CHECK(f.damping == Approx(want.damping()));

    std::vector<float> const bad{1, -3, -3, 1};
    o.rel_damp = 0.01;
    auto const g = device_factor(fpq::as_view(bad.data(), 2, 2), o);
    CHECK(g.retries == 3);
    CHECK(g.damping == Approx(10.0));

    cuda::gptq_factor out;
    cuda::gptq_factor_options const options;
    auto const refused = [&](std::vector<float> const& values, char const* word) {
        auto const device = on_device(values);
        auto const s = cuda::factor_hessian(libraries(), nullptr, device.data(), 2, options, out);
        INFO(s.text);
        CHECK(s.code == cuda::status_code::numeric);
        CHECK(std::string(s.text).find(word) != std::string::npos);
    };
    float const nan = std::numeric_limits<float>::quiet_NaN();
    refused({1, -1e9F, -1e9F, 1}, "6 tries");
    refused({1, 0, nan, 1}, "H[1, 0]");
    refused({1, 0, 0, -2}, "H[1, 1]");
}

TEST_CASE("a weight that is not finite is refused by place", "[cuda]") {
    std::size_t const rows = 4;
    std::size_t const n = 32;
    auto w = normal(rows * n, 9);
    auto const h = cpu_hessian(inputs(50, n, 9), n);
    auto const o = options_for(fpq::nvfp4, w, fpq::quant_order::activation);
    auto const cpu = fpq::gptq(view_of(w, rows), h, fpq::nvfp4, o, "layer");
    auto const factor = device_factor(h.view(), o);
    w[2 * n + 5] = std::numeric_limits<float>::infinity();
    auto const device_w = on_device(w);
    auto const scales = on_device(cpu.weight.scales);
    auto const codes = on_device(cpu.weight.codes);
    cuda::gptq_layer layer;
    layer.w = device_w.data();
    layer.type = cuda::float_type::fp32;
    layer.rows = rows;
    layer.cols = n;
    layer.w_stride = n;
    layer.scales = scales.data();
    layer.global_scale = o.observer.global_scale;
    layer.codes = codes.data();
    cuda::gptq_workspace workspace;
    require_ok(cuda::launch_gptq(libraries(), nullptr, factor, layer, workspace));
    cuda::gptq_report report;
    auto const s = cuda::read_gptq_report(nullptr, layer, workspace, report);
    CHECK(s.code == cuda::status_code::numeric);
    CHECK(std::string(s.text).find("w[2, 5]") != std::string::npos);
}

TEST_CASE("launchers refuse what they cannot do, before any work", "[cuda]") {
    cuda::gptq_factor const none;
    cuda::gptq_layer layer;
    cuda::gptq_workspace workspace;
    layer.rows = 4;
    layer.cols = 32;
    layer.w_stride = 32;
    CHECK_FALSE(cuda::launch_gptq(libraries(), nullptr, none, layer, workspace).ok());
    cuda::hessian_args args;
    args.cols = 32;
    args.x_stride = 16;
    CHECK_FALSE(cuda::launch_hessian(libraries(), nullptr, args).ok());
    args.x_stride = 32;
    args.tokens = 4;
    CHECK_FALSE(cuda::launch_hessian(libraries(), nullptr, args).ok());
}

TEST_CASE("the edge to the CPU solver: the same arguments, report and errors", "[cuda]") {
    std::size_t const rows = 70;
    std::size_t const n = 300;
    auto const w = normal(rows * n, 12, 0.05F);
    auto x = inputs(700, n, 12);
    for (std::size_t t = 0; t < 700; ++t) {
        x[t * n + 17] = 0;
    }
    auto const h = cpu_hessian(x, n);
    fpq::backend::gptq_on_cuda device;
    for (auto const order : orders) {
        for (auto const& format : {fpq::nvfp4, fpq::int_format(4, 32, false)}) {
            auto o = options_for(format, w, order);
            o.observer.rule = fpq::scale_rule::sweep;
            for (bool const innovation : {false, true}) {
                o.weight_by_innovation = innovation;
                auto const want = fpq::gptq(view_of(w, rows), h, format, o, "layer");
                auto const f = device.factor(h, o, "layer");
                auto const found = device.solve(view_of(w, rows), f, format, o, "layer");
                CHECK((found.weight.zeros == want.weight.zeros));
                if (!innovation) {  // whose weights are made in double on the CPU alone
                    CHECK((found.weight.scales == want.weight.scales));
                }
                CHECK(found.report.relative_error ==
                      Approx(want.report.relative_error).epsilon(5e-3));
                CHECK(found.report.dead_columns == 1);
                CHECK(found.report.damping == Approx(want.report.damping));
            }
        }
    }
    auto o = options_for(fpq::nvfp4, w, orders[0]);
    auto const f = device.factor(h, o, "layer");
    auto bad = w;
    bad[n + 2] = std::numeric_limits<float>::quiet_NaN();
    try {
        static_cast<void>(device.solve(view_of(bad, rows), f, fpq::nvfp4, o, "layers.0.q"));
        FAIL("no error");
    } catch (fpq::error const& e) {
        CHECK(e.category() == fpq::error_category::input);
        CHECK(std::string(e.what()).find("layers.0.q[1, 2]") != std::string::npos);
    }
}
