// SPDX-License-Identifier: Apache-2.0
// Coordinate descent on codes on a GPU against fpq::polish: no row's damped objective rises, the
// sum is the CPU's to 1e-4 and almost all codes are, the report is true, and the bytes are the same
// from run to run.
#include "gpu.hpp"
// (first: it ends the program where there is no device)

#include <cstddef>
#include <cstdint>
#include <vector>

#include "catch.hpp"
#include "fpq/core/half.hpp"
#include "fpq/cuda/api/gptq.hpp"
#include "fpq/format/pack.hpp"
#include "fpq/quant/quantize.hpp"
#include "fpq/solve/gptq.hpp"
#include "fpq/solve/polish.hpp"
#include "fpq/solve/rtn.hpp"
#include "gptq_support.hpp"

namespace {

namespace cuda = fpq::cuda;
using fpq_test::as_type;
using fpq_test::cpu_hessian;
using fpq_test::inputs;
using fpq_test::libraries;
using fpq_test::lower_half;
using fpq_test::many_formats;
using fpq_test::normal;
using fpq_test::on_device;
using fpq_test::on_host;
using fpq_test::options_for;
using fpq_test::require_ok;
using fpq_test::view_of;

constexpr auto activation = fpq::quant_order::activation;

struct device_options {
    int passes = 2;
    bool zero_dead = true;
    cuda::float_type type = cuda::float_type::fp32;
    std::size_t rows_at_once = 0;
};

struct polished {
    fpq::packed_matrix weight;
    cuda::polish_report report;
};

/// What the device makes of codes that the CPU solved.
polished device_polish(std::vector<float> const& w, fpq::hessian const& h,
                       fpq::solve_result const& solved, device_options const& o) {
    polished out{solved.weight, {}};
    std::size_t const stride = solved.weight.cols + 5;
    auto const device_w = on_device(as_type(w, solved.weight.cols, stride, o.type));
    auto const scales = on_device(solved.weight.scales);
    auto const zeros = on_device(solved.weight.zeros);
    auto const codes = on_device(solved.weight.codes);
    auto const device_h = lower_half(h.view());
    cuda::gptq_layer layer;
    layer.w = device_w.data();
    layer.type = o.type;
    layer.rows = solved.weight.rows;
    layer.cols = solved.weight.cols;
    layer.w_stride = stride;
    layer.format = solved.weight.format;
    layer.scales = scales.data();
    layer.zeros = zeros.data();
    layer.global_scale = solved.weight.global_scale;
    layer.zero_dead_columns = o.zero_dead;
    layer.codes = codes.data();
    cuda::polish_args args;
    args.h = device_h.data();
    args.damping = static_cast<float>(solved.report.damping);
    args.passes = o.passes;
    args.rows_at_once = o.rows_at_once;
    cuda::gptq_workspace workspace;
    require_ok(cuda::polish_codes(libraries(), nullptr, layer, args, workspace, out.report));
    out.weight.codes = on_host(codes, solved.weight.codes.size());
    return out;
}

fpq::solve_result cpu_polish(std::vector<float> const& w, fpq::hessian const& h,
                             fpq::solve_result solved, device_options const& o) {
    fpq::polish(view_of(w, solved.weight.rows), h, o.passes, o.zero_dead, 4, solved);
    return solved;
}

/// Of one row's errors e: e (H + damping I) e^T and e e^T.
struct row_sums {
    double damped = 0;
    double squared = 0;
};

std::vector<row_sums> sums_of(std::vector<float> const& w, fpq::packed_matrix const& q,
                              fpq::hessian const& h, double damping, bool zero_dead = false) {
    std::size_t const n = q.cols;
    auto const v = h.view();
    auto e = fpq::detail::weight_error(view_of(w, q.rows), q, 1);
    std::vector<row_sums> out(q.rows);
    for (std::size_t r = 0; r < q.rows; ++r) {
        for (std::size_t i = 0; i < n; ++i) {
            if (zero_dead && !(v(i, i) > 0.0F)) {
                e[r * n + i] -= w[r * n + i];
            }
        }
        for (std::size_t i = 0; i < n; ++i) {
            double const mine = static_cast<double>(e[r * n + i]);
            double slope = damping * mine;
            for (std::size_t j = 0; j < n; ++j) {
                slope += static_cast<double>(v(i, j)) * static_cast<double>(e[r * n + j]);
            }
            out[r].damped += slope * mine;
            out[r].squared += mine * mine;
        }
    }
    return out;
}

row_sums total(std::vector<row_sums> const& rows) {
    row_sums out;
    for (row_sums const& r : rows) {
        out.damped += r.damped;
        out.squared += r.squared;
    }
    return out;
}

/// The share of codes that are the same.
double agreement(fpq::packed_matrix const& a, fpq::packed_matrix const& b) {
    int const bits = fpq::element_bits(a.format.element);
    std::size_t const row_bytes = a.format.row_bytes(a.cols);
    std::size_t same = 0;
    for (std::size_t r = 0; r < a.rows; ++r) {
        for (std::size_t c = 0; c < a.cols; ++c) {
            same += fpq::packed_code(bits, a.codes.data() + r * row_bytes, c) ==
                            fpq::packed_code(bits, b.codes.data() + r * row_bytes, c)
                        ? 1
                        : 0;
        }
    }
    return static_cast<double>(same) / static_cast<double>(a.rows * a.cols);
}

}  // namespace

TEST_CASE("no row gets worse on the device, and the sum and the codes are the CPU's", "[cuda]") {
    struct shape {
        std::size_t rows, n;
    };
    for (auto const [rows, n] : {shape{130, 320}, shape{130, 96}, shape{7, 320}, shape{1, 96},
                                 shape{1, 64}, shape{33, 600}}) {
        auto const w = normal(rows * n, 100 + n + rows, 0.05F);
        auto const h = cpu_hessian(inputs(2 * n, n, 100 + n), n);
        for (auto const& format : many_formats()) {
            auto const solved =
                fpq::gptq(view_of(w, rows), h, format, options_for(format, w, activation), "layer");
            double const damping = solved.report.damping;
            auto const before = sums_of(w, solved.weight, h, damping);
            for (int const passes : {1, 3}) {
                INFO("rows " << rows << " n " << n << " bits " << fpq::element_bits(format.element)
                             << " group " << format.group << " passes " << passes);
                device_options const o{passes};
                auto const found = device_polish(w, h, solved, o);
                auto const want = cpu_polish(w, h, solved, o);
                auto const after = sums_of(w, found.weight, h, damping);
                for (std::size_t r = 0; r < rows; ++r) {
                    REQUIRE(after[r].damped <= before[r].damped * (1 + 1e-6));
                }
                // A code near a midpoint sends its row another way: noise where rows are few.
                bool const many = rows * n > 10000;
                CHECK(total(after).damped ==
                      Approx(total(sums_of(w, want.weight, h, damping)).damped)
                          .epsilon(many ? 1e-4 : 1e-2));
                CHECK(agreement(found.weight, want.weight) >= (many ? 0.995 : 0.9));
                CHECK(found.report.damped == Approx(total(after).damped).epsilon(1e-4));
                CHECK(found.report.squared == Approx(total(after).squared).epsilon(1e-5));
                CHECK(agreement(found.weight, solved.weight) < (many ? 0.999 : 1.1));
                auto const again = device_polish(w, h, solved, o);
                CHECK((again.weight.codes == found.weight.codes));
                CHECK(again.report.damped == found.report.damped);
            }
        }
    }
}

TEST_CASE("rows in parts, other types of weights, and rounding to nearest", "[cuda]") {
    std::size_t const rows = 130;
    std::size_t const n = 320;
    auto w = normal(rows * n, 21, 0.05F);
    for (float& v : w) {
        v = fpq::to_float(fpq::to_fp16(fpq::round_to_bf16(v)));  // exact in both, mostly
        v = v < 0x1p-13F && v > -0x1p-13F ? 0.0F : v;
    }
    auto const h = cpu_hessian(inputs(700, n, 21), n);
    for (auto const& format : {fpq::nvfp4, fpq::mxfp6_e2m3, fpq::int_format(3, 16, false),
                               fpq::int_format(4, 0, true, fpq::granularity::tensor),
                               fpq::int_format(4, 0, false, fpq::granularity::tensor)}) {
        INFO("bits " << fpq::element_bits(format.element) << " group " << format.group);
        auto const solved =
            fpq::rtn(view_of(w, rows), &h, format, options_for(format, w, activation), "layer");
        device_options o;
        o.zero_dead = false;
        auto const whole = device_polish(w, h, solved, o);
        auto const cpu = cpu_polish(w, h, solved, o);
        CHECK(agreement(whole.weight, cpu.weight) >= 0.995);
        CHECK(cpu.report.relative_error < 0.9 * solved.report.relative_error);
        double const miss = whole.report.damped - solved.report.damping * whole.report.squared;
        CHECK(miss / solved.report.energy == Approx(cpu.report.relative_error).epsilon(1e-3));
        for (auto const type : {cuda::float_type::bf16, cuda::float_type::fp16}) {
            o.type = type;
            CHECK((device_polish(w, h, solved, o).weight.codes == whole.weight.codes));
        }
        o.type = cuda::float_type::fp32;
        for (std::size_t const part : {std::size_t{1}, std::size_t{64}, std::size_t{1000}}) {
            o.rows_at_once = part;
            auto const parts = device_polish(w, h, solved, o);
            CHECK(agreement(parts.weight, whole.weight) >= 0.995);
            CHECK(parts.report.damped == Approx(whole.report.damped).epsilon(1e-4));
            CHECK(parts.report.squared == Approx(whole.report.squared).epsilon(1e-3));
        }
    }
}

TEST_CASE("nothing to do changes nothing: no passes, no rows, independent inputs", "[cuda]") {
    std::size_t const rows = 33;
    std::size_t const n = 172;
    auto const w = normal(rows * n, 22, 0.05F);
    std::vector<float> eye(n * n, 0.0F);
    for (std::size_t i = 0; i < n; ++i) {
        eye[i * n + i] = 1.0F + static_cast<float>(i % 3);
    }
    auto const independent = cpu_hessian(eye, n);
    auto const h = cpu_hessian(inputs(400, n, 22), n);
    for (auto const& format : many_formats()) {
        auto const o = options_for(format, w, activation);
        auto const plain = fpq::gptq(view_of(w, rows), independent, format, o, "layer");
        CHECK((device_polish(w, independent, plain, {5}).weight.codes == plain.weight.codes));
        auto const solved = fpq::gptq(view_of(w, rows), h, format, o, "layer");
        auto const measured = device_polish(w, h, solved, {0});
        CHECK((measured.weight.codes == solved.weight.codes));
        auto const sums = total(sums_of(w, solved.weight, h, solved.report.damping));
        CHECK(measured.report.damped == Approx(sums.damped).epsilon(1e-4));
        CHECK(measured.report.squared == Approx(sums.squared).epsilon(1e-5));
    }
    cuda::gptq_layer none;
    none.cols = 32;
    none.w_stride = 32;
    cuda::gptq_workspace workspace;
    cuda::polish_report report{1, 1};
    require_ok(cuda::polish_codes(libraries(), nullptr, none, {}, workspace, report));
    CHECK(report.damped == 0.0);
    none.rows = 1;
    CHECK_FALSE(cuda::polish_codes(libraries(), nullptr, none, {}, workspace, report).ok());
}

TEST_CASE("dead columns stay zero on the device, or as they were rounded", "[cuda]") {
    std::size_t const rows = 40;
    std::size_t const n = 172;
    auto const w = normal(rows * n, 23, 0.05F);
    auto x = inputs(400, n, 23);
    for (std::size_t t = 0; t < 400; ++t) {
        x[t * n + 5] = 0;
        x[t * n + 100] = 0;
    }
    auto const h = cpu_hessian(x, n);
    for (auto const& format : {fpq::nvfp4, fpq::int_format(4, 32, false)}) {
        for (bool const zero : {true, false}) {
            auto options = options_for(format, w, activation);
            options.zero_dead_columns = zero;
            auto const solved = fpq::gptq(view_of(w, rows), h, format, options, "layer");
            CHECK(solved.report.dead_columns == 2);
            device_options o;
            o.zero_dead = zero;
            auto const found = device_polish(w, h, solved, o);
            auto const want = cpu_polish(w, h, solved, o);
            CHECK((found.weight.codes != solved.weight.codes));
            CHECK(agreement(found.weight, want.weight) >= 0.98);
            auto const before = fpq::dequantize(solved.weight.view(), 1);
            auto const after = fpq::dequantize(found.weight.view(), 1);
            for (std::size_t r = 0; r < rows; ++r) {
                for (std::size_t const dead : {5, 100}) {
                    REQUIRE(after[r * n + dead] == before[r * n + dead]);
                    REQUIRE((!zero || after[r * n + dead] == 0.0F));
                }
            }
            auto const sums = total(sums_of(w, found.weight, h, solved.report.damping, zero));
            CHECK(found.report.damped == Approx(sums.damped).epsilon(1e-4));
            CHECK(found.report.squared == Approx(sums.squared).epsilon(1e-4));
        }
    }
}
