// SPDX-License-Identifier: Apache-2.0
// Tests of quant/saturate.hpp and of local_loss: values at the end of float32, and blocks that a
// large value wipes out.
#include "fpq/quant/saturate.hpp"

#include <cmath>
#include <limits>
#include <vector>

#include "catch.hpp"
#include "fpq/core/half.hpp"
#include "fpq/method/rounded_rows.hpp"
#include "fpq/quant/error_stats.hpp"
#include "fpq/quant/quantize.hpp"

TEST_CASE("codes that decode to infinity become the largest that do not, others stay", "[quant]") {
    for (fpq::quant_format const& format : {fpq::mxfp4, fpq::mxfp6_e2m3, fpq::mxfp8_e4m3}) {
        std::vector<float> w(32, 1e38F);
        w[0] = std::numeric_limits<float>::max();
        w[1] = -3.3e38F;
        for (fpq::scale_rule const rule : {fpq::scale_rule::even, fpq::scale_rule::ceil}) {
            fpq::observer_options options;
            options.mx = rule;
            auto const view = fpq::as_view(static_cast<float const*>(w.data()), 1, w.size());
            fpq::packed_matrix const before = fpq::quantize(view, format, options, 1);
            fpq::packed_matrix q = before;
            fpq::saturate_to_finite(q);
            CHECK(q.scales == before.scales);
            std::vector<float> const was = fpq::dequantize(before.view(), 1);
            std::vector<float> const is = fpq::dequantize(q.view(), 1);
            for (std::size_t i = 0; i < w.size(); ++i) {
                CHECK(std::isfinite(is[i]));
                CHECK(std::signbit(is[i]) == std::signbit(w[i]));
                CHECK((is[i] == was[i] || std::isinf(was[i])));
            }
            CHECK(is[0] > 2e38F);
        }
    }
}

TEST_CASE("E4M3 scales that decode to infinity are lowered, others stay", "[quant]") {
    for (float const most : {3.38953139e38F, std::numeric_limits<float>::max(), 1e38F, 1.0F}) {
        std::vector<float> w(32, most / 1e4F);
        w[0] = -most;
        fpq::observer_options options;
        options.global_scale = fpq::nvfp_global_scale(most, true);
        auto const view = fpq::as_view(static_cast<float const*>(w.data()), 1, w.size());
        fpq::packed_matrix const before = fpq::quantize(view, fpq::nvfp4, options, 1);
        fpq::packed_matrix q = before;
        fpq::saturate_to_finite(q);
        CHECK(q.codes == before.codes);
        CHECK(q.scales[1] == before.scales[1]);
        std::vector<float> const was = fpq::dequantize(before.view(), 1);
        std::vector<float> const is = fpq::dequantize(q.view(), 1);
        CHECK(std::isfinite(fpq::round_to_bf16(is[0])));
        CHECK(is[0] < -0.9F * most);
        CHECK((q.scales == before.scales || !std::isfinite(fpq::round_to_bf16(was[0]))));
    }
}

TEST_CASE("a large value that wipes out other blocks is seen by block and by row", "[quant]") {
    std::size_t const cols = 64;
    std::vector<float> w(2 * cols, 0.01F);
    w[0] = 1e7F;
    fpq::packed_matrix q;
    fpq::observer_options options;
    options.global_scale = fpq::nvfp_global_scale(1e7F, true);
    auto const view = fpq::as_view(static_cast<float const*>(w.data()), 2, cols);
    auto const loss = fpq::detail::round_rows(view, fpq::nvfp4, options, 1e7F, 1, q);
    CHECK(loss.error.sqnr_db() > 20.0);  // the sum over all hides it
    CHECK(loss.local.blocks == 8);
    CHECK(loss.local.zeroed_blocks == 7);
    CHECK(loss.local.worst_row_db < 1.0);
    std::vector<float> const decoded = fpq::dequantize(q.view(), 1);
    auto const again = fpq::measure_local_loss(
        view, fpq::as_view(static_cast<float const*>(decoded.data()), 2, cols), 16);
    CHECK(again.blocks == loss.local.blocks);
    CHECK(again.zeroed_blocks == loss.local.zeroed_blocks);
}
