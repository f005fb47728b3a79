// SPDX-License-Identifier: Apache-2.0
// fpq/solve/joint.hpp: every kind of scale against brute force over near scales and all codes, no
// row's objective rises, what has no choice of scale keeps it, threads change nothing.
#include "fpq/solve/joint.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "catch.hpp"
#include "fpq/linalg/second_moment.hpp"
#include "fpq/solve/gptq.hpp"
#include "fpq/solve/rtn.hpp"
#include "solve/moments.hpp"
#include "support/gaussian.hpp"

namespace {

/// Formats with groups of 4: one for each kind of scale, element and zero point.
std::vector<fpq::quant_format> small_formats() {
    using fpq::granularity;
    return {{fpq::element_kind::e2m1, fpq::scale_kind::e4m3, granularity::group, 4, true, true},
            {fpq::element_kind::e2m1, fpq::scale_kind::e8m0, granularity::group, 4, true, false},
            fpq::fp4(4),
            fpq::int_format(3, 4),
            fpq::int_format(2, 4, false),
            fpq::int_format(4, 0, true, granularity::channel)};
}

fpq::solve_options options_for(fpq::quant_format const& format) {
    fpq::solve_options o;
    o.threads = 1;
    o.observer.global_scale = format.has_global ? 1024.0F : 1.0F;
    return o;
}

struct step_and_zero {
    float step;
    int zero;
};

/// The scales that one sweep may choose for group g of row r, found in the test's own way: by
/// distance in the list of all stored scales.
std::vector<step_and_zero> choices(fpq::packed_matrix const& q, std::size_t r, std::size_t g) {
    auto const& f = q.format;
    std::size_t const at = r * f.groups(q.cols) + g;
    std::vector<int> distances{0, 1, 2, 3, 4};
    int stored = q.scales[at];
    if (f.scale == fpq::scale_kind::e8m0) {
        distances = {0, 1, 2};
    }
    if (f.scale == fpq::scale_kind::fp16) {
        distances = {0, 1, 4, 16, 64};
        stored = q.scales[2 * at] | (q.scales[2 * at + 1] << 8);
    }
    std::vector<step_and_zero> out;
    for (int const distance : distances) {
        for (int const sign : {-1, 1}) {
            int const near = stored + sign * distance;
            std::uint8_t const bytes[2] = {static_cast<std::uint8_t>(near & 0xFF),
                                           static_cast<std::uint8_t>(near >> 8)};
            float const step = fpq::decode_scale(f.scale, bytes) / q.global_scale;
            for (int move = f.symmetric ? 0 : -1; move <= (f.symmetric ? 0 : 1); ++move) {
                int const zero = (f.symmetric ? 0 : q.zeros[at]) + move;
                if (zero >= 0 && zero < 1 << fpq::element_bits(f.element)) {
                    out.push_back({step, zero});
                }
            }
        }
    }
    return out;
}

/// All values that a code can stand for.
std::vector<double> values_of(fpq::quant_format const& f, step_and_zero const& s) {
    std::vector<double> out;
    for (int code = 0; code < 1 << fpq::element_bits(f.element); ++code) {
        float const element = f.symmetric
                                  ? fpq::decode_element(f.element, static_cast<std::uint8_t>(code))
                                  : static_cast<float>(code - s.zero);
        out.push_back(static_cast<double>(element * s.step));
    }
    return out;
}

}  // namespace

TEST_CASE("with a diagonal H a sweep finds the best of the near scales with the best codes",
          "[solve]") {
    std::size_t const m = 40;
    for (auto const& format : small_formats()) {
        std::size_t const n = format.grain == fpq::granularity::channel ? 4 : 12;
        auto const w = fpq_test::gaussian(m * n, 91, 0, 0.05F, format.symmetric ? 0.0F : 0.02F);
        auto const wv = fpq::as_view(static_cast<float const*>(w.data()), m, n);
        auto const h = fpq_test::diagonal_moment(
            n, [](std::size_t i) { return 1.0F + static_cast<float>(i % 3); });
        auto const rounded = fpq::rtn(wv, &h, format, options_for(format), "layer");
        auto solved = rounded;
        fpq::joint(wv, {h, nullptr, false}, 1, 1, solved);
        auto const values = fpq::dequantize(solved.weight.view(), 1);
        std::size_t better = 0;
        for (std::size_t r = 0; r < m; ++r) {
            for (std::size_t g = 0; g < format.groups(n); ++g) {
                double least = HUGE_VAL;
                double start = 0;
                double got = 0;
                for (step_and_zero const& s : choices(rounded.weight, r, g)) {
                    auto const grid = values_of(format, s);
                    double sum = 0;
                    for (std::size_t j = 4 * g; j < 4 * g + 4; ++j) {
                        double best = HUGE_VAL;
                        for (double const v : grid) {
                            best = std::min(best, std::abs(static_cast<double>(w[r * n + j]) - v));
                        }
                        sum += static_cast<double>(h.view()(j, j)) * best * best;
                    }
                    least = std::min(least, sum);
                }
                for (std::size_t j = 4 * g; j < 4 * g + 4; ++j) {
                    auto const weight = static_cast<double>(h.view()(j, j));
                    auto const x = static_cast<double>(w[r * n + j]);
                    got += weight * std::pow(x - static_cast<double>(values[r * n + j]), 2);
                    start +=
                        weight * std::pow(x - static_cast<double>(rounded.weight.view()(r, j)), 2);
                }
                REQUIRE(got <= start * (1 + 1e-5));
                REQUIRE(got <= least * (1 + 1e-3) + 1e-12);
                REQUIRE(got >= least * (1 - 1e-3) - 1e-12);
                better += got < 0.999 * start ? 1 : 0;
            }
        }
        CHECK(better > 0);
    }
}

TEST_CASE("with any H a sweep lies between brute force over scales and codes and its start",
          "[solve]") {
    std::size_t const m = 8;
    std::size_t const n = 4;
    auto const h = fpq_test::correlated_moment(n, 40, 92);
    for (auto const& format : small_formats()) {
        auto const w = fpq_test::gaussian(m * n, 93, 0, 0.05F);
        auto const wv = fpq::as_view(static_cast<float const*>(w.data()), m, n);
        auto const solver = fpq::gptq(wv, h, format, options_for(format), "layer");
        auto solved = solver;
        fpq::joint(wv, {h, nullptr, true}, 1, 1, solved);
        auto const objective = [&](std::size_t r, double const* v) {
            double sum = 0;
            for (std::size_t i = 0; i < n; ++i) {
                for (std::size_t j = 0; j < n; ++j) {
                    double const damped = static_cast<double>(h.view()(i, j)) +
                                          (i == j ? solver.report.damping : 0.0);
                    sum += damped * (static_cast<double>(w[r * n + i]) - v[i]) *
                           (static_cast<double>(w[r * n + j]) - v[j]);
                }
            }
            return sum;
        };
        double all_start = 0;
        double all_got = 0;
        double all_least = 0;
        for (std::size_t r = 0; r < m; ++r) {
            double before[n];
            double after[n];
            for (std::size_t j = 0; j < n; ++j) {
                before[j] = static_cast<double>(solver.weight.view()(r, j));
                after[j] = static_cast<double>(solved.weight.view()(r, j));
            }
            double least = HUGE_VAL;
            for (step_and_zero const& s : choices(solver.weight, r, 0)) {
                auto const grid = values_of(format, s);
                for (double const a : grid) {
                    for (double const b : grid) {
                        for (double const c : grid) {
                            for (double const d : grid) {
                                double const v[n] = {a, b, c, d};
                                least = std::min(least, objective(r, v));
                            }
                        }
                    }
                }
            }
            double const start = objective(r, before);
            double const got = objective(r, after);
            REQUIRE(got <= start * (1 + 1e-5) + 1e-12);
            REQUIRE(got >= least * (1 - 1e-4) - 1e-12);
            all_start += start;
            all_got += got;
            all_least += least;
        }
        // Measured: at least half of what brute force finds in one step, in every format.
        CHECK(all_got - all_least <= 0.5 * (all_start - all_least) + 1e-12);
    }
}

TEST_CASE("no sweep raises a row's objective, and sweeps bring more than polish", "[solve]") {
    std::size_t const m = 260;  // two chunks
    std::size_t const n = 108;
    auto const w = fpq_test::gaussian(m * n, 94, 0, 0.05F);
    auto const wv = fpq::as_view(static_cast<float const*>(w.data()), m, n);
    auto const h = fpq_test::correlated_moment(n, 500, 95);
    for (auto const& format :
         {fpq::nvfp4, fpq::mxfp4, fpq::fp4(32), fpq::int_format(4, 32),
          fpq::int_format(3, 48, false), fpq::int_format(4, 0, true, fpq::granularity::channel)}) {
        auto o = options_for(format);
        o.order = fpq::quant_order::activation;
        auto const solver = fpq::gptq(wv, h, format, o, "layer");
        auto const row_objectives = [&](fpq::solve_result const& one) {
            auto const e = fpq::detail::weight_error(wv, one.weight, 1);
            std::vector<double> sums;
            for (std::size_t r = 0; r < m; r += 23) {
                double sum = 0;
                for (std::size_t i = 0; i < n; ++i) {
                    double right = one.report.damping * static_cast<double>(e[r * n + i]);
                    for (std::size_t j = 0; j < n; ++j) {
                        right +=
                            static_cast<double>(h.view()(i, j)) * static_cast<double>(e[r * n + j]);
                    }
                    sum += right * static_cast<double>(e[r * n + i]);
                }
                sums.push_back(sum);
            }
            return sums;
        };
        auto polished = solver;
        fpq::polish(wv, h, 2, true, 1, polished);
        auto last = solver;
        for (int sweep = 0; sweep < 2; ++sweep) {
            auto next = last;
            fpq::joint(wv, {h, nullptr, true}, 1, 2, next);
            auto const before = row_objectives(last);
            auto const after = row_objectives(next);
            for (std::size_t i = 0; i < before.size(); ++i) {
                REQUIRE(after[i] <= before[i] * (1 + 1e-6));
            }
            CHECK(next.report.relative_error < last.report.relative_error);
            last = next;
        }
        CHECK(last.report.relative_error < polished.report.relative_error);
        auto const e = fpq::detail::weight_error(wv, last.weight, 1);
        CHECK(last.report.relative_error ==
              Approx(fpq::quadratic_form(fpq::as_view(e.data(), m, n), h.view(), 1) /
                     fpq::quadratic_form(wv, h.view(), 1))
                  .epsilon(1e-3));
        auto three = solver;
        fpq::joint(wv, {h, nullptr, true}, 2, 3, three);
        auto one = solver;
        fpq::joint(wv, {h, nullptr, true}, 2, 1, one);
        CHECK(three.weight.codes == one.weight.codes);
        CHECK(three.weight.scales == one.weight.scales);
        CHECK(three.weight.zeros == one.weight.zeros);
    }
}

TEST_CASE("one scale a tensor stays, and joint is then a polish of its codes", "[solve]") {
    std::size_t const m = 20;
    std::size_t const n = 64;
    auto const w = fpq_test::gaussian(m * n, 96, 0, 0.05F);
    auto const wv = fpq::as_view(static_cast<float const*>(w.data()), m, n);
    auto const h = fpq_test::correlated_moment(n, 300, 97);
    auto const format = fpq::int_format(4, 0, true, fpq::granularity::tensor);
    auto const solver = fpq::rtn(wv, &h, format, options_for(format), "layer");
    auto solved = solver;
    fpq::joint(wv, {h, nullptr, false}, 2, 1, solved);
    CHECK(solved.weight.scales == solver.weight.scales);
    CHECK(solved.weight.codes != solver.weight.codes);
    CHECK(solved.report.relative_error < solver.report.relative_error);
    auto const e = fpq::detail::weight_error(wv, solved.weight, 1);  // of the codes as they decode
    CHECK(solved.report.relative_error ==
          Approx(fpq::quadratic_form(fpq::as_view(e.data(), m, n), h.view(), 1) /
                 fpq::quadratic_form(wv, h.view(), 1))
              .epsilon(1e-3));
    auto same = solver;
    fpq::joint(wv, {h, nullptr, false}, 0, 1, same);
    CHECK(same.weight.codes == solver.weight.codes);
}
