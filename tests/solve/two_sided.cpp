// SPDX-License-Identifier: Apache-2.0
// fpq/solve/two_sided.hpp, coupled_sweep.hpp and descent with coupled rows: H_O = I is the
// one-sided solver byte for byte; the whole is GPTQ on the explicit Kronecker product; losses add
// up to the objective; no descent raises it; threads change nothing; a budget falls back.
#include "fpq/solve/two_sided.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include "catch.hpp"
#include "fpq/core/hosted/error.hpp"
#include "fpq/solve/joint.hpp"
#include "fpq/solve/polish.hpp"
#include "solve/moments.hpp"
#include "support/gaussian.hpp"

namespace {

constexpr std::size_t no_limit = std::numeric_limits<std::size_t>::max();

fpq::solve_options options_for(fpq::quant_format const& format, fpq::quant_order order) {
    fpq::solve_options o;
    o.threads = 1;
    o.order = order;
    o.observer.rule = fpq::scale_rule::sweep;
    o.observer.global_scale = format.has_global ? 1024.0F : 1.0F;
    return o;
}

fpq::hessian identity(std::size_t m) {
    return fpq_test::diagonal_moment(m, [](std::size_t) { return 1.0F; });
}

}  // namespace

TEST_CASE("with H_O = I the two-sided solvers make the bytes of the one-sided ones", "[solve]") {
    std::size_t const m = 270;  // two chunks, the second ragged in every block
    std::size_t const n = 140;
    auto w = fpq_test::gaussian(m * n, 71, 0, 0.05F);
    for (std::size_t i = 0; i < w.size(); i += 37) {
        w[i] = -0.0F;
    }
    auto const wv = fpq::as_view(static_cast<float const*>(w.data()), m, n);
    auto const h = fpq_test::correlated_moment(n, 500, 72);
    auto const eye = identity(m);
    auto order = fpq::quant_order::natural;
    for (auto const& format : {fpq::nvfp4, fpq::mxfp4, fpq::mxfp6_e3m2, fpq::fp4(32),
                               fpq::int_format(4, 32), fpq::int_format(3, 16, false),
                               fpq::int_format(4, 0, true, fpq::granularity::tensor), fpq::nvfp4}) {
        order = order == fpq::quant_order::natural ? fpq::quant_order::activation
                                                   : fpq::quant_order::natural;
        auto const o = options_for(format, order);
        auto one = fpq::gptq(wv, h, format, o, "layer");
        auto two = fpq::gptq_two_sided(wv, h, eye, 0.01, no_limit, format, o, "layer");
        REQUIRE(two.weight.codes == one.weight.codes);
        REQUIRE(two.weight.scales == one.weight.scales);
        REQUIRE(two.weight.zeros == one.weight.zeros);
        CHECK(two.report.relative_error == Approx(one.report.relative_error).epsilon(1e-3));
        fpq::row_coupling const coupling(eye, two.report.row_damping, "layer");
        fpq::polish(wv, h, 2, true, 1, one);
        fpq::polish(wv, {h, &coupling, true}, 2, 1, two);
        REQUIRE(two.weight.codes == one.weight.codes);
        fpq::joint(wv, {h, nullptr, true}, 1, 1, one);
        fpq::joint(wv, {h, &coupling, true}, 1, 1, two);
        REQUIRE(two.weight.codes == one.weight.codes);
        REQUIRE(two.weight.scales == one.weight.scales);
        REQUIRE(two.weight.zeros == one.weight.zeros);
    }
}

TEST_CASE("two-sided GPTQ is GPTQ on vec(W) with the Hessian H_O x H_I", "[solve]") {
    std::size_t const m = 8;
    std::size_t const n = 32;
    auto const w = fpq_test::gaussian(m * n, 73, 0, 0.05F);
    auto const h_i = fpq_test::correlated_moment(n, 200, 74);
    auto const h_o = fpq_test::correlated_moment(m, 100, 75);
    std::vector<float> product(m * n * m * n);
    for (std::size_t a = 0; a < m * n; ++a) {
        for (std::size_t b = 0; b < m * n; ++b) {
            product[a * m * n + b] = h_o.view()(a / n, b / n) * h_i.view()(a % n, b % n);
        }
    }
    fpq::hessian const both(m * n, 1, std::move(product));
    auto o = options_for(fpq::nvfp4, fpq::quant_order::natural);
    o.observer.rule = fpq::scale_rule::minmax;
    using factor = fpq::basic_gptq_factor<double>;
    auto const natural = fpq::quant_order::natural;
    auto const columns = factor::make(h_i.view(), natural, 0.0, 1, "in");
    auto const rows = factor::make(h_o.view(), natural, 0.0, 1, "out");
    auto const whole = factor::make(both.view(), natural, 0.0, 1, "both");
    auto const two = fpq::gptq_two_sided(fpq::as_view(w.data(), m, n), h_i, columns, h_o, rows,
                                         fpq::nvfp4, o, "layer");
    auto const one = fpq::gptq(fpq::as_view(w.data(), 1, m * n), both, whole, fpq::nvfp4, o, "vec");
    CHECK(two.weight.scales == one.weight.scales);
    CHECK(two.weight.codes == one.weight.codes);
    CHECK(two.report.relative_error == Approx(one.report.relative_error).epsilon(1e-3));
}

TEST_CASE("the losses of all entries add up to the damped two-sided objective", "[solve]") {
    std::size_t const m = 530;  // three chunks
    std::size_t const n = 300;  // three blocks of columns
    auto const w = fpq_test::gaussian(m * n, 76, 0, 0.05F);
    auto const wv = fpq::as_view(static_cast<float const*>(w.data()), m, n);
    auto const h_i = fpq_test::correlated_moment(n, 700, 77);
    auto const h_o = fpq_test::correlated_moment(m, 900, 78);
    auto const o = options_for(fpq::nvfp4, fpq::quant_order::activation);
    using factor = fpq::basic_gptq_factor<double>;
    auto const columns = factor::make(h_i.view(), o.order, 0.01, 1, "in");
    auto const rows = factor::make(h_o.view(), fpq::quant_order::natural, 0.01, 1, "out");
    fpq::detail::gptq_start<double> start(wv, columns, fpq::nvfp4, o, "layer");
    double const loss = fpq::detail::solve_coupled(start.input(o), rows, 2, start.result.weight);
    auto const solved = start.finish();
    double const exact =
        fpq_test::damped_objective(w, solved.weight, h_i, columns.damping(), &h_o, rows.damping());
    CHECK(loss == Approx(exact).epsilon(1e-9));
}

TEST_CASE("two-sided GPTQ takes what the rows above left, whatever its blocks", "[solve]") {
    std::size_t const m = 300;
    std::size_t const n = 300;
    auto const w = fpq_test::gaussian(m * n, 81, 0, 0.05F);
    auto const wv = fpq::as_view(static_cast<float const*>(w.data()), m, n);
    auto const h_i = fpq_test::correlated_moment(n, 700, 82);
    auto const h_o = fpq_test::correlated_moment(m, 700, 83);
    auto o = options_for(fpq::nvfp4, fpq::quant_order::natural);
    auto const usual = fpq::gptq_two_sided(wv, h_i, h_o, 0.01, no_limit, fpq::nvfp4, o, "layer");
    for (std::size_t const block : {1u, 16u, 64u, 100u}) {  // 100: leaves lie across 128
        o.block = block;
        auto const other =
            fpq::gptq_two_sided(wv, h_i, h_o, 0.01, no_limit, fpq::nvfp4, o, "layer");
        std::size_t differ = 0;
        for (std::size_t i = 0; i < usual.weight.codes.size(); ++i) {
            differ += usual.weight.codes[i] != other.weight.codes[i] ? 1 : 0;
        }
        INFO("blocks of " << block);
        CHECK(differ < usual.weight.codes.size() / 50);  // sums in another order
        CHECK(other.report.relative_error == Approx(usual.report.relative_error).epsilon(5e-3));
    }
}

TEST_CASE("two-sided GPTQ and descent lower their objective, each step, at any thread count",
          "[solve]") {
    std::size_t const m = 260;
    std::size_t const n = 140;
    auto const w = fpq_test::gaussian(m * n, 79, 0, 0.05F);
    auto const wv = fpq::as_view(static_cast<float const*>(w.data()), m, n);
    auto const h_i = fpq_test::correlated_moment(n, 500, 80);
    auto const h_o = fpq_test::correlated_moment(m, 600, 81);
    for (auto const& format : {fpq::nvfp4, fpq::int_format(3, 32, false)}) {
        auto o = options_for(format, fpq::quant_order::activation);
        auto const plain = fpq::gptq(wv, h_i, format, o, "layer");
        auto solved = fpq::gptq_two_sided(wv, h_i, h_o, 0.01, no_limit, format, o, "layer");
        o.threads = 3;
        auto threaded = fpq::gptq_two_sided(wv, h_i, h_o, 0.01, no_limit, format, o, "layer");
        CHECK(threaded.weight.codes == solved.weight.codes);
        CHECK(threaded.report.relative_error == solved.report.relative_error);
        CHECK(solved.report.objective == fpq::solve_objective::two_sided);
        double const damping = solved.report.damping;
        double const row_damping = solved.report.row_damping;
        auto const objective = [&](fpq::solve_result const& one) {
            return fpq_test::damped_objective(w, one.weight, h_i, damping, &h_o, row_damping);
        };
        fpq::row_coupling const coupling(h_o, row_damping, "layer");
        double last = objective(solved);
        CHECK(last < 0.8 * objective(plain));
        for (int step = 0; step < 4; ++step) {
            auto const run = [&](fpq::solve_result& one, int threads) {
                if (step < 2) {
                    fpq::polish(wv, {h_i, &coupling, true}, 1, threads, one);
                } else {
                    fpq::joint(wv, {h_i, &coupling, true}, 1, threads, one);
                }
            };
            run(solved, 1);
            run(threaded, 3);
            CHECK(threaded.weight.codes == solved.weight.codes);
            CHECK(threaded.weight.scales == solved.weight.scales);
            double const now = objective(solved);
            CHECK(now <= last);
            if (step == 0 || step == 2) {
                CHECK(now < 0.99 * last);
            }
            last = now;
        }
        fpq::two_sided_report(wv, h_i, h_o, 1, solved);
        double const direct =
            fpq_test::damped_objective(w, solved.weight, h_i, 0, &h_o, 0) / solved.report.energy;
        CHECK(solved.report.relative_error == Approx(direct).epsilon(1e-3));
    }
}

TEST_CASE("a coupled descent ends where no single code is better", "[solve]") {
    std::size_t const m = 12;
    std::size_t const n = 80;  // two blocks of columns
    auto const w = fpq_test::gaussian(m * n, 82, 0, 0.05F);
    auto const wv = fpq::as_view(static_cast<float const*>(w.data()), m, n);
    auto const h_i = fpq_test::correlated_moment(n, 300, 83);
    auto const h_o = fpq_test::correlated_moment(m, 100, 84);
    auto const o = options_for(fpq::nvfp4, fpq::quant_order::natural);
    auto solved = fpq::gptq_two_sided(wv, h_i, h_o, 0.01, no_limit, fpq::nvfp4, o, "layer");
    fpq::row_coupling const coupling(h_o, solved.report.row_damping, "layer");
    fpq::polish(wv, {h_i, &coupling, true}, 50, 1, solved);
    auto const objective = [&] {
        return fpq_test::damped_objective(w, solved.weight, h_i, solved.report.damping, &h_o,
                                          solved.report.row_damping);
    };
    double const least = objective();
    for (std::size_t i = 0; i < m * n; i += 29) {
        std::uint8_t& byte = solved.weight.codes[i / 2];
        std::uint8_t const kept = byte;
        for (unsigned code = 0; code < 16; ++code) {
            byte = static_cast<std::uint8_t>(i % 2 == 0 ? (kept & 0xF0U) | code
                                                        : (kept & 0x0FU) | (code << 4));
            REQUIRE(objective() >= least * (1 - 1e-5));
        }
        byte = kept;
    }
}

TEST_CASE("a coupled pass sees every change before it: plain loops with exact slopes agree",
          "[solve]") {
    std::size_t const m = 40;   // two blocks of rows
    std::size_t const n = 160;  // three blocks of columns
    auto const w = fpq_test::gaussian(m * n, 64, 0, 0.05F);
    auto const wv = fpq::as_view(static_cast<float const*>(w.data()), m, n);
    auto const h_i = fpq_test::correlated_moment(n, 400, 65);
    auto const h_o = fpq_test::correlated_moment(m, 200, 66);
    auto const o = options_for(fpq::nvfp4, fpq::quant_order::natural);
    auto solved = fpq::gptq_two_sided(wv, h_i, h_o, 0.01, no_limit, fpq::nvfp4, o, "layer");
    auto const damped = [](fpq::hessian const& h, double damping, std::size_t i, std::size_t j) {
        return static_cast<double>(h.view()(i, j)) + (i == j ? damping : 0.0);
    };
    auto const start = fpq::dequantize(solved.weight.view(), 1);
    std::vector<double> slope(m * n, 0.0);  // of E, H_O E H_I
    std::vector<double> value(start.begin(), start.end());
    auto const move = [&](std::size_t r, std::size_t k, double change) {
        for (std::size_t i = 0; i < m; ++i) {
            double const factor = change * damped(h_o, solved.report.row_damping, i, r);
            for (std::size_t j = 0; j < n; ++j) {
                slope[i * n + j] += factor * damped(h_i, solved.report.damping, k, j);
            }
        }
    };
    for (std::size_t i = 0; i < m * n; ++i) {
        move(i / n, i % n, static_cast<double>(w[i]) - value[i]);
    }
    std::size_t changed = 0;
    for (std::size_t c0 = 0; c0 < n; c0 += fpq::detail::descent_block) {
        for (std::size_t r = 0; r < m; ++r) {
            for (std::size_t k = c0; k < std::min(n, c0 + fpq::detail::descent_block); ++k) {
                double const curvature = damped(h_i, solved.report.damping, k, k) *
                                         damped(h_o, solved.report.row_damping, r, r);
                float const step = solved.weight.view().step(r, k / 16);
                auto const target =
                    static_cast<float>(value[r * n + k] + slope[r * n + k] / curvature);
                auto const best =
                    static_cast<double>(fpq::e2m1::decode(fpq::e2m1::encode(target / step)) * step);
                if (best != value[r * n + k]) {
                    move(r, k, value[r * n + k] - best);
                    value[r * n + k] = best;
                    ++changed;
                }
            }
        }
    }
    fpq::row_coupling const coupling(h_o, solved.report.row_damping, "layer");
    fpq::polish(wv, {h_i, &coupling, true}, 1, 1, solved);
    auto const polished = fpq::dequantize(solved.weight.view(), 1);
    std::size_t unlike = 0;  // targets within rounding of a midpoint, and what follows them
    for (std::size_t i = 0; i < m * n; ++i) {
        unlike += value[i] == static_cast<double>(polished[i]) ? 0 : 1;
    }
    CHECK(changed > 100);
    CHECK(unlike <= 3);
}

TEST_CASE("where the output side does not fit, GPTQ under H_I alone, and the report says so",
          "[solve]") {
    std::size_t const m = 40;
    std::size_t const n = 64;
    auto const w = fpq_test::gaussian(m * n, 85, 0, 0.05F);
    auto const wv = fpq::as_view(static_cast<float const*>(w.data()), m, n);
    auto const h_i = fpq_test::correlated_moment(n, 300, 86);
    auto const h_o = fpq_test::correlated_moment(m, 100, 87);
    auto const o = options_for(fpq::nvfp4, fpq::quant_order::activation);
    std::size_t const bytes = fpq::two_sided_bytes(m, n);
    auto const fits = fpq::gptq_two_sided(wv, h_i, h_o, 0.01, bytes, fpq::nvfp4, o, "layer");
    auto const guided = fpq::gptq_two_sided(wv, h_i, h_o, 0.01, bytes - 1, fpq::nvfp4, o, "layer");
    CHECK(fits.report.objective == fpq::solve_objective::two_sided);
    CHECK(guided.report.objective == fpq::solve_objective::guided);
    CHECK(guided.weight.codes == fpq::gptq(wv, h_i, fpq::nvfp4, o, "layer").weight.codes);
    CHECK(guided.weight.codes != fits.weight.codes);
}

TEST_CASE("outputs that no loss depends on, wrong shapes and orders", "[solve]") {
    std::size_t const m = 24;
    std::size_t const n = 64;
    auto const w = fpq_test::gaussian(m * n, 88, 0, 0.05F);
    auto const wv = fpq::as_view(static_cast<float const*>(w.data()), m, n);
    auto const h_i = fpq_test::correlated_moment(n, 300, 89);
    auto const o = options_for(fpq::nvfp4, fpq::quant_order::activation);
    auto const dead =
        fpq_test::diagonal_moment(m, [](std::size_t i) { return i % 4 == 0 ? 0.0F : 2.0F; });
    auto one = fpq::gptq(wv, h_i, fpq::nvfp4, o, "layer");
    auto two = fpq::gptq_two_sided(wv, h_i, dead, 0.0, no_limit, fpq::nvfp4, o, "layer");
    CHECK(two.weight.codes == one.weight.codes);  // a diagonal H_O couples nothing
    fpq::row_coupling const coupling(dead, 0.0, "layer");
    fpq::polish(wv, h_i, 1, true, 1, one);
    fpq::polish(wv, {h_i, &coupling, true}, 1, 1, two);
    CHECK(two.weight.codes == one.weight.codes);
    auto const negative =
        fpq_test::diagonal_moment(m, [](std::size_t i) { return i == 3 ? -1.0F : 1.0F; });
    CHECK_THROWS_AS(fpq::row_coupling(negative, 0.0, "layer"), fpq::error);
    CHECK_THROWS_AS(fpq::gptq_two_sided(wv, h_i, h_i, 0.01, no_limit, fpq::nvfp4, o, "layer"),
                    fpq::error);
    fpq::row_coupling const wide(h_i, 0.0, "layer");
    CHECK_THROWS_AS(fpq::polish(wv, {h_i, &wide, true}, 1, 1, two), fpq::error);
    auto const sizes = fpq_test::correlated_moment(m, 100, 90);
    auto const sorted =
        fpq::gptq_factor::make(sizes.view(), fpq::quant_order::activation, 0.01, 1, "out");
    auto const columns = fpq::factor(h_i, o, "layer");
    CHECK_THROWS_AS(fpq::gptq_two_sided(wv, h_i, columns, sizes, sorted, fpq::nvfp4, o, "layer"),
                    fpq::error);
}
