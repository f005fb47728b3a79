// SPDX-License-Identifier: Apache-2.0
// The two errors of a search step: one equal to the group rule's, one within the slack of it.
#include "fpq/cuda/group_search.cuh"

#include <cmath>

#include "catch.hpp"
#include "fpq/core/half.hpp"
#include "fpq/core/random.hpp"
#include "fpq/cuda/quantize_group.cuh"

using namespace fpq::cuda;

TEST_CASE("the exact error is the group rule's and the quick one is within its slack", "[cuda]") {
    std::size_t wrong = 0;
    std::size_t far = 0;
    for (std::uint64_t draw = 0; draw < 20000; ++draw) {
        float x[16];
        float a = 0.0F;
        for (std::uint64_t i = 0; i < 16; ++i) {
            float const v = fpq::round_to_bf16(fpq::philox{4, 2}.normal_at(draw * 16 + i));
            x[i] = std::fabs(draw % 5 == 0 ? std::round(v * 4.0F) * 0.25F : v);
            a = std::fmax(a, x[i]);
        }
        if (a == 0.0F) {
            continue;
        }
        float const unit = error_unit(a);
        for (float& v : x) {
            v *= unit;
        }
        a *= unit;
        float const reach = 2.5F + 6.0F * fpq::uniform(fpq::philox{4, 3}.at(draw));
        float const s = a / reach;
        search_step const step{s, half_reciprocal_of(s)};
        float lane[16];
        for (int i = 0; i < 16; ++i) {
            lane[i] = exact_loss(x[i], step);
        }
        float const exact = sum_of_lanes(lane);
        wrong += exact == squared_error(x, 16, s, 1.0F) ? 0 : 1;
        float const r = 2.0F * step.half.hi;
        float quick = quick_error<search_reach::beyond>(x, r) * s * s;
        far += std::fabs(quick - exact) < 0.5F * search_slack(exact) ? 0 : 1;
        if (reach < 6.5F) {
            quick = quick_error<search_reach::within>(x, r) * s * s;
            far += std::fabs(quick - exact) < 0.5F * search_slack(exact) ? 0 : 1;
        }
        if (reach < 4.5F) {
            quick = quick_error<search_reach::short_of_five>(x, r) * s * s;
            far += std::fabs(quick - exact) < 0.5F * search_slack(exact) ? 0 : 1;
        }
    }
    REQUIRE(wrong == 0);
    REQUIRE(far == 0);
}
