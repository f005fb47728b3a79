// SPDX-License-Identifier: Apache-2.0
// fpq/solve/polish.hpp: no row's damped objective rises, it falls in the aggregate, the report
// stays true, and a code that no single change can better is left alone.
#include "fpq/solve/polish.hpp"

#include <cmath>
#include <cstddef>
#include <vector>

#include "catch.hpp"
#include "fpq/core/random.hpp"
#include "fpq/linalg/second_moment.hpp"
#include "fpq/quant/quantize.hpp"
#include "fpq/solve/gptq.hpp"
#include "fpq/solve/rtn.hpp"

namespace {

constexpr std::size_t rows = 140;
constexpr std::size_t n = 172;

std::vector<float> weights() {
    fpq::philox const source{61, 0};
    std::vector<float> w(rows * n);
    for (std::size_t i = 0; i < w.size(); ++i) {
        w[i] = 0.05F * source.normal_at(i);
    }
    return w;
}

fpq::hessian correlated() {
    fpq::philox const source{62, 0};
    std::size_t const tokens = 500;
    std::vector<float> x(tokens * n);
    for (std::size_t t = 0; t < tokens; ++t) {
        float carry = 0;
        for (std::size_t j = 0; j < n; ++j) {
            carry = 0.9F * carry + source.normal_at(t * n + j);
            x[t * n + j] = carry * (1.0F + static_cast<float>(j % 5));
        }
    }
    fpq::hessian const h = fpq::hessian_of(fpq::as_view(x.data(), tokens, n), 1);
    return h;
}

/// e (H + damping I) e^T of every row, in double.
std::vector<double> row_objectives(std::vector<float> const& w, fpq::packed_matrix const& q,
                                   fpq::hessian const& h, double damping) {
    auto const e = fpq::detail::weight_error(fpq::as_view(w.data(), rows, n), q, 1);
    auto const v = h.view();
    std::vector<double> out(rows, 0.0);
    for (std::size_t r = 0; r < rows; ++r) {
        for (std::size_t i = 0; i < n; ++i) {
            double sum = damping * static_cast<double>(e[r * n + i]);
            for (std::size_t j = 0; j < n; ++j) {
                sum += static_cast<double>(v(i, j)) * static_cast<double>(e[r * n + j]);
            }
            out[r] += sum * static_cast<double>(e[r * n + i]);
        }
    }
    return out;
}

}  // namespace

TEST_CASE("polish never raises a row's objective, lowers the sum, and reports what it left",
          "[solve]") {
    auto const w = weights();
    auto const h = correlated();
    auto const wv = fpq::as_view(w.data(), rows, n);
    for (auto const& format : {fpq::nvfp4, fpq::mxfp4, fpq::int_format(3, 16, false),
                               fpq::int_format(4, 0, true, fpq::granularity::channel)}) {
        fpq::solve_options o;
        o.threads = 1;
        o.order = fpq::quant_order::activation;
        o.observer.global_scale = format.has_global ? 1024.0F : 1.0F;
        auto const unpolished = fpq::gptq(wv, h, format, o, "layer");
        double const damping = unpolished.report.damping;
        auto before = row_objectives(w, unpolished.weight, h, damping);
        for (int passes = 1; passes <= 3; ++passes) {
            auto next = unpolished;
            fpq::polish(wv, h, passes, true, 2, next);
            auto const after = row_objectives(w, next.weight, h, damping);
            double sum_before = 0;
            double sum_after = 0;
            for (std::size_t r = 0; r < rows; ++r) {
                REQUIRE(after[r] <= before[r] * (1 + 1e-6));
                sum_before += before[r];
                sum_after += after[r];
            }
            CHECK(sum_after <= sum_before);
            if (passes == 1) {
                CHECK(sum_after < 0.999 * sum_before);
            }
            before = after;
            CHECK(next.weight.scales == unpolished.weight.scales);
            auto const e = fpq::detail::weight_error(wv, next.weight, 1);
            double const direct =
                fpq::quadratic_form(fpq::as_view(e.data(), rows, n), h.view(), 1) /
                fpq::quadratic_form(wv, h.view(), 1);
            CHECK(next.report.relative_error == Approx(direct).epsilon(1e-3));
        }
    }
}

TEST_CASE("with independent inputs there is nothing to polish", "[solve]") {
    auto const w = weights();
    std::vector<float> eye(n * n, 0.0F);
    for (std::size_t i = 0; i < n; ++i) {
        eye[i * n + i] = 1.0F + static_cast<float>(i % 3);
    }
    fpq::hessian const h = fpq::hessian_of(fpq::as_view(eye.data(), n, n), 1);
    fpq::solve_options o;
    o.threads = 1;
    o.observer.global_scale = 1024.0F;
    auto const wv = fpq::as_view(w.data(), rows, n);
    auto const plain = fpq::gptq(wv, h, fpq::nvfp4, o, "layer");
    auto polished = plain;
    fpq::polish(wv, h, 2, true, 1, polished);
    CHECK(polished.weight.codes == plain.weight.codes);
}

TEST_CASE("polish leaves dead columns as the solver left them", "[solve]") {
    auto const w = weights();
    fpq::philox const source{63, 0};
    std::vector<float> x(300 * n);
    for (std::size_t i = 0; i < x.size(); ++i) {
        x[i] = i % n == 5 || i % n == 100 ? 0.0F : source.normal_at(i);
    }
    fpq::solve_options o;
    o.threads = 1;
    o.observer.global_scale = 1024.0F;
    auto const wv = fpq::as_view(w.data(), rows, n);
    fpq::hessian const h = fpq::hessian_of(fpq::as_view(x.data(), 300, n), 1);
    auto zeroed = fpq::gptq(wv, h, fpq::nvfp4, o, "layer");
    fpq::polish(wv, h, 2, true, 1, zeroed);
    auto const rounded = fpq::rtn(wv, &h, fpq::nvfp4, o, "layer");
    auto kept = rounded;
    fpq::polish(wv, h, 2, false, 1, kept);
    CHECK(kept.weight.codes != rounded.weight.codes);
    o.zero_dead_columns = false;
    auto swept = fpq::gptq(wv, h, fpq::nvfp4, o, "layer");
    fpq::polish(wv, h, 2, false, 1, swept);
    auto const before = fpq::dequantize(rounded.weight.view(), 1);
    auto const z = fpq::dequantize(zeroed.weight.view(), 1);
    auto const k = fpq::dequantize(kept.weight.view(), 1);
    auto const s = fpq::dequantize(swept.weight.view(), 1);
    for (std::size_t r = 0; r < rows; ++r) {
        for (std::size_t const dead : {5, 100}) {
            REQUIRE(z[r * n + dead] == 0.0F);
            REQUIRE(k[r * n + dead] == before[r * n + dead]);
            REQUIRE(s[r * n + dead] == before[r * n + dead]);
        }
    }
}

TEST_CASE("polish improves rounding to nearest too, with the same bytes at any thread count",
          "[solve]") {
    auto const w = weights();
    auto const h = correlated();
    auto const wv = fpq::as_view(w.data(), rows, n);
    fpq::solve_options o;
    o.threads = 1;
    o.observer.global_scale = 1024.0F;
    auto const rounded = fpq::rtn(wv, &h, fpq::nvfp4, o, "layer");
    auto one = rounded;
    fpq::polish(wv, h, 2, false, 1, one);
    CHECK(one.report.relative_error < 0.9 * rounded.report.relative_error);
    CHECK(one.weight.scales == rounded.weight.scales);
    auto three = rounded;
    fpq::polish(wv, h, 2, false, 3, three);
    CHECK(three.weight.codes == one.weight.codes);
    CHECK(three.report.relative_error == one.report.relative_error);
    auto same = rounded;
    fpq::polish(wv, h, 0, false, 1, same);
    CHECK(same.weight.codes == rounded.weight.codes);
    CHECK_THROWS_AS(fpq::polish(fpq::as_view(w.data(), rows, n - 1), h, 1, false, 1, same),
                    fpq::error);
}
