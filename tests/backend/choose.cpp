// SPDX-License-Identifier: Apache-2.0
// fpq/backend/cpu/choose.hpp: what is chosen from a row of logits, against a plain reference that
// keeps probabilities in a sorted list.
#include "fpq/backend/cpu/choose.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "fpq/core/random.hpp"
#include "support/gaussian.hpp"

namespace {

/// id -> probability of what top_k, then top_p leave, by sorting pairs.
std::map<std::int32_t, double> reference(std::vector<float> const& logits,
                                         fpq::row_query const& how) {
    std::vector<std::pair<double, std::int32_t>> all;
    for (std::size_t i = 0; i < logits.size(); ++i) {
        all.emplace_back(-static_cast<double>(logits[i]), static_cast<std::int32_t>(i));
    }
    std::sort(all.begin(), all.end());
    if (how.top_k != 0 && how.top_k < all.size()) {
        all.resize(how.top_k);
    }
    double total = 0;
    for (auto const& [minus, id] : all) {
        total += std::exp(-minus / static_cast<double>(how.temperature));
    }
    std::map<std::int32_t, double> kept;
    double sum = 0;
    for (auto const& [minus, id] : all) {
        if (sum >= static_cast<double>(how.top_p) && !kept.empty()) {
            break;
        }
        double const p = std::exp(-minus / static_cast<double>(how.temperature)) / total;
        kept[id] = p;
        sum += p;
    }
    for (auto& [id, p] : kept) {
        p /= sum;
    }
    return kept;
}

}  // namespace

TEST_CASE("choices follow the probabilities that top_k and top_p leave", "[backend]") {
    auto const logits = fpq_test::gaussian(40, 3, 9, 2.0F);
    for (float const temperature : {0.5F, 1.0F, 1.7F}) {
        for (std::size_t const top_k : {0, 1, 5, 40, 100}) {
            for (float const top_p : {1.0F, 0.95F, 0.5F, 0.01F}) {
                fpq::row_query how;
                how.temperature = temperature;
                how.top_k = top_k;
                how.top_p = top_p;
                auto const expected = reference(logits, how);
                std::map<std::int32_t, std::size_t> counts;
                constexpr std::size_t draws = 4000;
                for (std::size_t i = 0; i < draws; ++i) {
                    how.uniform = (static_cast<float>(i) + 0.5F) / draws;
                    ++counts[fpq::detail::sampled_token(logits, how)];
                }
                CAPTURE(temperature, top_k, top_p);
                // Evenly spaced numbers: each token gets its share to within one or two.
                for (auto const& [id, p] : expected) {
                    double const share = static_cast<double>(counts[id]) / draws;
                    REQUIRE(share == Approx(p).margin(2.0 / draws));
                }
                for (auto const& [id, count] : counts) {
                    REQUIRE((count == 0 || expected.contains(id)));
                }
            }
        }
    }
}

TEST_CASE("the likeliest come in order, lower ids first among equals", "[backend]") {
    std::vector<float> const logits{1.0F, 3.0F, 2.0F, 3.0F, -1.0F, 2.0F};
    CHECK(fpq::detail::likeliest(logits, 4) == std::vector<std::int32_t>{1, 3, 2, 5});
    CHECK(fpq::detail::likeliest(logits, 100) == std::vector<std::int32_t>{1, 3, 2, 5, 0, 4});
    CHECK(fpq::detail::likeliest(logits, 0).empty());
}

TEST_CASE("a row is answered with what was asked", "[backend]") {
    std::vector<float> rows{0.0F, std::log(3.0F), std::log(4.0F), 0.0F, std::log(4.0F), 0.0F};
    std::vector<fpq::row_query> queries(2);
    queries[0].target = 1;
    queries[0].top = 2;
    std::vector<fpq::row_answer> answers(2);
    fpq::answer_rows(fpq::cpu{2}, fpq::as_view(static_cast<float const*>(rows.data()), 2, 3), {}, 0,
                     queries, answers);
    CHECK(answers[0].token == 1);
    CHECK(answers[0].logprob == Approx(std::log(3.0 / 8.0)).margin(1e-6));
    REQUIRE(answers[0].top.size() == 2);
    CHECK(answers[0].top[0].first == 2);
    CHECK(answers[0].top[0].second == Approx(std::log(0.5)).margin(1e-6));
    CHECK(answers[0].top[1].first == 1);
    CHECK(answers[1].token == 1);
    CHECK(answers[1].top.empty());
    for (float const bad :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
        rows[4] = bad;
        fpq::answer_rows(fpq::cpu{1}, fpq::as_view(static_cast<float const*>(rows.data()), 2, 3),
                         {}, 0, queries, answers);
        CHECK(answers[0].finite);
        CHECK_FALSE(answers[1].finite);
    }
}
