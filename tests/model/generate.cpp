// SPDX-License-Identifier: Apache-2.0
// The cached pass against the whole-window pass, and what sampling depends on.
#include "fpq/model/generate.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "catch.hpp"
#include "fpq/backend/cpu/forward.hpp"
#include "fpq/backend/cpu/sample.hpp"
#include "model/fused_family.hpp"
#include "model/random_model.hpp"

using namespace fpq_test;

TEST_CASE("a token at a time gives the logits of the whole window", "[model]") {
    fpq::model_config c = small_config();
    SECTION("llama") {}
    SECTION("norms of heads and biases") {
        c.family = &fpq::families::qwen3;
        c.attention_bias = true;
    }
    SECTION("fused linears, norms behind the blocks") { c.family = &shuffled_family; }
    const random_model model(c);
    const fpq::decoder<fpq::cpu> frame = model.frame();
    constexpr std::size_t length = 12;
    const std::vector<std::int32_t> a = some_tokens(length, 50);
    std::vector<std::int32_t> b = a;
    std::reverse(b.begin(), b.end());
    const std::vector<float> whole_a = model.logits(a, 1);
    const std::vector<float> whole_b = model.logits(b, 1);
    fpq::cached_decoder<fpq::cpu> cache(fpq::cpu{1}, frame, model.layers, 2, length);
    std::vector<float> found(2 * 50);
    for (std::size_t t = 0; t < length; ++t) {
        REQUIRE(cache.position() == t);
        const std::vector<std::int32_t> step = {a[t], b[t]};
        cache.step(fpq::cpu{2}, step, fpq::as_view(found.data(), 2, 50));
        for (std::size_t v = 0; v < 50; ++v) {
            REQUIRE(found[v] == Approx(whole_a[t * 50 + v]).margin(2e-4));
            REQUIRE(found[50 + v] == Approx(whole_b[t * 50 + v]).margin(2e-4));
        }
    }
    const std::vector<std::int32_t> more = {1, 2};
    REQUIRE_THROWS_AS(cache.step(fpq::cpu{1}, more, fpq::as_view(found.data(), 2, 50)), fpq::error);
}

TEST_CASE("a draw follows the probabilities", "[model]") {
    const std::vector<float> logits = {0.0F, std::log(2.0F), -1000.0F, std::log(5.0F)};
    const auto draw = [&](float u) {
        std::vector<float> copy = logits;
        return fpq::detail::draw_token(copy.data(), copy.size(), u);
    };
    REQUIRE(draw(0.0F) == 0);
    REQUIRE(draw(0.124F) == 0);
    REQUIRE(draw(0.126F) == 1);
    REQUIRE(draw(0.374F) == 1);
    REQUIRE(draw(0.376F) == 3);
    REQUIRE(draw(0.9999999F) == 3);
}

TEST_CASE("sampled text depends on the seed and not on threads", "[model]") {
    const random_model model(small_config());
    const fpq::decoder<fpq::cpu> frame = model.frame();
    fpq::sample_options options;
    options.sequences = 3;
    options.length = 20;
    const auto sample = [&](int threads) {
        return fpq::sample_tokens<fpq::cpu>(fpq::cpu{threads}, frame, model.layers, options);
    };
    const auto one = sample(1);
    REQUIRE(one.size() == 60);
    REQUIRE(std::all_of(one.begin(), one.end(), [](auto t) { return t >= 0 && t < 50; }));
    REQUIRE_FALSE(std::equal(one.begin(), one.begin() + 20, one.begin() + 20));
    REQUIRE(sample(3) == one);
    options.seed = 43;
    REQUIRE(sample(1) != one);
    options.first_token = 7;
    const auto begun = sample(1);
    REQUIRE(begun[0] == 7);
    REQUIRE(begun[20] == 7);
    REQUIRE(begun[40] == 7);
    options.first_token = 50;
    REQUIRE_THROWS_AS(sample(1), fpq::error);
    options.sequences = 0;
    REQUIRE(sample(1).empty());
}
