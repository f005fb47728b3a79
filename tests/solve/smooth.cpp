// SPDX-License-Identifier: Apache-2.0
// Scales of channels from the formulas, and channels that have no say.
#include "fpq/solve/smooth.hpp"

#include <cmath>
#include <string>
#include <vector>

#include "catch.hpp"
#include "fpq/core/hosted/error.hpp"

using namespace fpq;

TEST_CASE("smoothing scales are those of the formulas over their middle", "[solve]") {
    channel_sizes sizes{{16.0F, 1.0F, 0.25F}, {4.0F, 0.25F, 0.0625F}, {0.5F, 2.0F, 1.0F}};
    // 16^.5 / .5^.5 = 5.657, 1 / 1.414 = .7071, .5: middle sqrt(5.657 * .5) = 1.6818.
    std::vector<float> const s = smooth_scales(smooth_rule::smoothquant, sizes, 0.5);
    CHECK(s[0] == Approx(std::sqrt(32.0) / 1.6817928).epsilon(1e-6));
    CHECK(s[1] == Approx(std::sqrt(0.5) / 1.6817928).epsilon(1e-6));
    CHECK(s[2] == Approx(0.5 / 1.6817928).epsilon(1e-6));
    // All of it on the weights, and all on the inputs.
    CHECK(smooth_scales(smooth_rule::smoothquant, sizes, 0.0) ==
          std::vector<float>{2.0F, 0.5F, 1.0F});
    CHECK(smooth_scales(smooth_rule::smoothquant, sizes, 1.0) ==
          std::vector<float>{8.0F, 0.5F, 0.125F});
    // 4^.5 = 2, .5, .25 over sqrt(2 * .25).
    std::vector<float> const a = smooth_scales(smooth_rule::awq, sizes, 0.5);
    CHECK(a[0] == Approx(2.0 / std::sqrt(0.5)).epsilon(1e-6));
    CHECK(a[1] == Approx(0.5 / std::sqrt(0.5)).epsilon(1e-6));
    CHECK(a[2] == Approx(0.25 / std::sqrt(0.5)).epsilon(1e-6));
    CHECK(smooth_scales(smooth_rule::awq, sizes, 0.0) == std::vector<float>(3, 1.0F));
}

TEST_CASE("channels without input or weight keep a scale of 1, and none is extreme", "[solve]") {
    channel_sizes const sizes{
        {1e20F, 0.0F, 1.0F, 1e-20F}, {1e20F, 0.0F, 1.0F, 1e-20F}, {1.0F, 1.0F, 0.0F, 1.0F}};
    for (smooth_rule const rule : {smooth_rule::smoothquant, smooth_rule::awq}) {
        CHECK(smooth_scales(rule, sizes, 1.0) ==
              std::vector<float>{4096.0F, 1.0F, 1.0F, 1.0F / 4096.0F});
    }
    channel_sizes const dead{{0.0F}, {0.0F}, {1.0F}};
    CHECK(smooth_scales(smooth_rule::awq, dead, 0.5) == std::vector<float>{1.0F});
}

TEST_CASE("no exponent beyond its bounds, no rule none, no sizes that disagree", "[solve]") {
    channel_sizes const sizes{{1.0F}, {1.0F}, {1.0F}};
    CHECK_THROWS_AS(smooth_scales(smooth_rule::awq, sizes, 1.01), fpq::error);
    CHECK_THROWS_AS(smooth_scales(smooth_rule::awq, sizes, std::nan("")), fpq::error);
    CHECK_THROWS_AS(smooth_scales(smooth_rule::none, sizes, 0.5), fpq::error);
    CHECK_THROWS_AS(smooth_scales(smooth_rule::awq, {{1.0F}, {1.0F, 1.0F}, {1.0F}}, 0.5),
                    fpq::error);
}
