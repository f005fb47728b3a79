// SPDX-License-Identifier: Apache-2.0
// The two errors of a search step: one equal to the group rule's, one within the bound that decides
// which candidates stay open; and the sets of candidates.
#include "fpq/cuda/api/vocabulary.hpp"
#include "fpq/cuda/quantize/group_search_window.cuh"

#include <cmath>
#include <memory>

#include "catch.hpp"
#include "fpq/core/half.hpp"
#include "fpq/core/random.hpp"
#include "fpq/cuda/quantize/group.cuh"

using namespace fpq::cuda;

namespace {

/// A group of 16 with its maximum in [1, 2).
struct normal_group {
    float x[16];
    float a = 0.0F;
    float norm = 0.0F;
    std::uint32_t pair[16];

    explicit normal_group(std::uint64_t draw) {
        for (std::uint64_t i = 0; i < 16; ++i) {
            float const v = fpq::round_to_bf16(fpq::philox{4, 2}.normal_at(draw * 16 + i));
            x[i] = std::fabs(draw % 5 == 0 ? std::round(v * 4.0F) * 0.25F : v);
        }
        scale();
    }
    /// Returns the power of two that it multiplied by.
    float scale() {
        for (float v : x) {
            a = std::fmax(a, v);
        }
        float const unit = a == 0.0F ? 1.0F : error_unit(a);
        norm = 0.0F;
        a = 0.0F;
        for (int i = 0; i < 16; ++i) {
            x[i] *= unit;
            a = std::fmax(a, x[i]);
            norm += x[i] * x[i];
            pair[i] = pair_of(x[i], x[i]);
        }
        return unit;
    }
};

/// By how much the fast error of step s may be off, one way, as search_limit counts it.
bool is_within(float fast, float exact, search_limit const& limit) {
    return fast <= limit(exact) && exact <= limit(fast);
}

}  // namespace

TEST_CASE("the exact error is the group rule's and the fast one is within its bound", "[cuda]") {
    std::size_t wrong = 0;
    std::size_t far = 0;
    for (std::uint64_t draw = 0; draw < 20000; ++draw) {
        normal_group g(draw);
        if (g.a == 0.0F) {
            continue;
        }
        float const wanted = 2.5F + 6.0F * fpq::uniform(fpq::philox{4, 3}.at(draw));
        float s = g.a / wanted;
        if (draw % 3 == 0) {  // next to midpoints, on both sides
            float const middle[] = {0.25F, 0.75F, 1.25F, 1.75F, 2.5F, 3.5F, 5.0F};
            for (int i = 0; i < 15; ++i) {
                float const side = (static_cast<float>(draw % 7) - 3.0F) * 1.2e-4F;
                g.x[i] = fpq::to_float(fpq::to_fp16(middle[i % 7] * s * (1.0F + side)));
            }
            g.a = 0.0F;
            s *= g.scale();
        }
        float const reach = g.a / s;
        search_step const step{s, half_reciprocal_of(s)};
        float lane[16];
        for (int i = 0; i < 16; ++i) {
            lane[i] = exact_loss(g.x[i], step);
        }
        for (int width = 8; width > 0; width /= 2) {
            for (int l = 0; l < width; ++l) {
                lane[l] += lane[l + width];
            }
        }
        float const exact = lane[0];
        wrong += exact == squared_error(g.x, 16, s, 1.0F) ? 0 : 1;
        float const fine = fine_error(g.x, step);
        far += std::fabs(fine - exact) < 0.5F * (fine_limit(exact) - exact) ? 0 : 1;
        search_limit const limit(g.norm, false);
        step_pair const steps = pair_of_steps(step, step);
        float fast = low_of_pair(quick_errors<search_reach::beyond>(g.pair, steps));
        far += is_within(fast, exact, limit) ? 0 : 1;
        if (reach < unclipped_reach) {
            fast = high_of_pair(quick_errors<search_reach::within>(g.pair, steps));
            far += is_within(fast, exact, limit) ? 0 : 1;
        }
        if (reach < 4.5F) {
            fast = low_of_pair(quick_errors<search_reach::short_of_five>(g.pair, steps));
            far += is_within(fast, exact, limit) ? 0 : 1;
        }
    }
    REQUIRE(wrong == 0);
    REQUIRE(far == 0);
}

TEST_CASE("candidates and bits of a search correspond, equal errors go to the CPU path's first",
          "[cuda]") {
    for (int offset = lowest_offset; offset <= 16; ++offset) {
        std::uint32_t const bit = bit_of_offset(offset);
        int index = 0;
        while (bit >> index != 1u) {
            ++index;
        }
        REQUIRE(offset_of_bit(index) == offset);
        if (offset < 16) {
            std::uint32_t below = 0;
            for (int k = lowest_offset; k <= offset; ++k) {
                below |= bit_of_offset(k);
            }
            REQUIRE(bits_up_to(offset) == below);
        }
    }
    int last = -1;
    for (int k = 0; k >= lowest_offset; --k) {
        REQUIRE(rank_of_offset(k) == ++last);
    }
    for (int k = 1; k <= 16; ++k) {
        REQUIRE(rank_of_offset(k) == ++last);
    }
}

TEST_CASE("the best byte is among the candidates that fast errors leave open", "[cuda]") {
    for (float global : {512.0F, 2688.0F / 5.3F, 3.0F, 700.1F, 0.05F, 1500.0F}) {
        auto const table = std::make_unique<search_table>();
        table->fill_sizes(global, 0, 1);
        table->fill_pairs(
            global, [&](std::uint32_t byte) { return half_reciprocal_of(table->size[byte]); }, 0,
            1);
        search_window window(*table, global);
        bool const exact = global == 512.0F;
        std::size_t lost = 0;
        std::size_t open_groups = 0;
        std::size_t groups = 0;
        for (std::uint64_t draw = 0; draw < 8000; ++draw) {
            float w[16];
            float a = 0.0F;
            for (std::uint64_t i = 0; i < 16; ++i) {
                float v = fpq::philox{4, 5}.normal_at(draw * 16 + i);
                v = draw % 6 == 1 ? std::round(v * 4.0F) * 0.25F : v;
                v *= draw % 6 == 3 ? std::exp2(static_cast<float>(draw % 21) - 14.0F) : 1.0F;
                w[i] = fpq::round_to_bf16(v);
                a = std::fmax(a, std::fabs(w[i]));
            }
            int const six = nv_byte_of_maximum(scale_rule::minmax, a, global);
            bool const far = a > unclipped_reach * table->size[126] && six == 126;
            if (a == 0.0F || far) {
                continue;
            }
            window.normalise(a);
            std::uint32_t pair[16];
            float norm = 0.0F;
            for (int i = 0; i < 16; ++i) {
                float const x = std::fabs(w[i]) * window.unit;
                pair[i] = pair_of(x, x);
                norm += x * x;
            }
            search_limit const limit(norm, exact);
            std::uint32_t const open = open_candidates(pair, a * window.unit, six, limit, window);
            group_rule rule{fpq::nvfp4, scale_rule::sweep, global, false, {}};
            int const best = group_byte(rule, w, 16) - six;
            lost +=
                best >= lowest_offset && best <= 16 && (open & bit_of_offset(best)) != 0 ? 0 : 1;
            ++groups;
            open_groups += (open & (open - 1)) != 0 ? 1 : 0;

            int const four = nv_byte(0.25F * a, global);
            std::uint32_t const two = open_of_two(pair, six, four, limit, window);
            rule.method = scale_rule::four_over_six;
            lost += (two & bit_of_offset(group_byte(rule, w, 16) - six)) != 0 ? 0 : 1;
        }
        CAPTURE(global, groups, open_groups);
        REQUIRE(lost == 0);
        if (global > 500.0F && global < 1000.0F) {  // most groups are decided by fast errors
            CHECK(open_groups * 3 < groups);
        }
    }
}

TEST_CASE("half a step that the maximum is below 3.5 of is never worse", "[cuda]") {
    // What lets a search stop: value by value, exactly, for all significands of bf16 and E4M3.
    std::size_t worse = 0;
    for (float global : {1.0F, 3.0F, 512.0F, 2688.0F / 3.7F, 2688.0F / 5.3F, 700.1F}) {
        for (int m = 8; m < 16; ++m) {
            float const s = div_rn(static_cast<float>(m), global);
            search_step const whole{s, half_reciprocal_of(s)};
            search_step const half{0.5F * s, half_reciprocal_of(0.5F * s)};
            for (std::uint32_t bits = 0; bits < 0x7F80u; ++bits) {
                float const x = fpq::to_float(fpq::bf16{static_cast<std::uint16_t>(bits)});
                if (x > s * 1e-3F && x * 1.00001F <= 3.5F * s) {
                    worse += exact_loss(x, half) <= exact_loss(x, whole) ? 0 : 1;
                }
            }
        }
    }
    REQUIRE(worse == 0);
}
