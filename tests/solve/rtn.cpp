// SPDX-License-Identifier: Apache-2.0
// fpq/solve/rtn.hpp: the codes are floor 2's, the weighting and the report are its own.
#include "fpq/solve/rtn.hpp"

#include <cmath>
#include <cstddef>
#include <vector>

#include "catch.hpp"
#include "fpq/core/hosted/error.hpp"
#include "fpq/linalg/second_moment.hpp"
#include "support/gaussian.hpp"

namespace {

std::vector<float> gaussian(std::size_t count, std::uint64_t stream) {
    return fpq_test::gaussian(count, 51, stream);
}

}  // namespace

TEST_CASE("rtn without a Hessian is quantize, and reports nothing", "[solve]") {
    auto const w = gaussian(10 * 172, 1);
    auto const v = fpq::as_view(w.data(), 10, 172);
    for (auto const kind :
         {fpq::scale_rule::minmax, fpq::scale_rule::mse, fpq::scale_rule::sweep}) {
        fpq::solve_options o;
        o.threads = 1;
        o.observer.rule = kind;
        o.observer.global_scale = 256.0F;
        auto const a = fpq::rtn(v, nullptr, fpq::nvfp4, o, "layer");
        auto const b = fpq::quantize(v, fpq::nvfp4, o.observer, 1);
        CHECK(a.weight.codes == b.codes);
        CHECK(a.weight.scales == b.scales);
        CHECK(a.weight.global_scale == 256.0F);
        CHECK(a.report.relative_error == 0.0);
    }
}

TEST_CASE("rtn's error is tr(dW H dW^T) / tr(W H W^T), and the diagonal lowers it", "[solve]") {
    std::size_t const n = 96;
    std::size_t const rows = 40;
    auto const w = gaussian(rows * n, 2);
    auto x = gaussian(500 * n, 3);
    for (std::size_t i = 0; i < x.size(); ++i) {
        x[i] *= i % n % 16 == 3 ? 20.0F : 1.0F;
    }
    fpq::hessian const h = fpq::hessian_of(fpq::as_view(x.data(), 500, n), 1);
    auto const v = fpq::as_view(w.data(), rows, n);
    fpq::solve_options o;
    o.threads = 1;
    o.observer.rule = fpq::scale_rule::sweep;
    o.observer.global_scale = 256.0F;
    auto const weighted = fpq::rtn(v, &h, fpq::nvfp4, o, "layer");
    o.weight_by_diagonal = false;
    auto const plain = fpq::rtn(v, &h, fpq::nvfp4, o, "layer");
    CHECK(weighted.report.relative_error < 0.5 * plain.report.relative_error);

    auto const q = fpq::dequantize(plain.weight.view(), 1);
    double miss = 0;
    double whole = 0;
    for (std::size_t t = 0; t < 500; ++t) {
        for (std::size_t r = 0; r < rows; ++r) {
            double y = 0;
            double e = 0;
            for (std::size_t j = 0; j < n; ++j) {
                double const a = static_cast<double>(x[t * n + j]);
                y += a * static_cast<double>(w[r * n + j]);
                e += a * (static_cast<double>(w[r * n + j]) - static_cast<double>(q[r * n + j]));
            }
            whole += y * y;
            miss += e * e;
        }
    }
    CHECK(plain.report.relative_error == Approx(miss / whole).epsilon(1e-4));

    // Weights that the caller brings are kept.
    std::vector<float> const flat(n, 1.0F);
    o.weight_by_diagonal = true;
    o.observer.column_weight = flat;
    CHECK(fpq::rtn(v, &h, fpq::nvfp4, o, "layer").weight.codes == plain.weight.codes);
    CHECK_THROWS_AS(fpq::rtn(v.cols_at(0, 32), &h, fpq::nvfp4, o, "layer"), fpq::error);
}
