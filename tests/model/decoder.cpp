// SPDX-License-Identifier: Apache-2.0
// The decoder against the slow forward pass, and what hooks, threads and masks may and may not do.
#include "fpq/model/decoder.hpp"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "catch.hpp"
#include "model/random_model.hpp"

using namespace fpq_test;

namespace {

void require_agreement(const fpq::model_config& config, std::size_t tokens) {
    const random_model model(config);
    const std::vector<std::int32_t> ids = some_tokens(tokens, config.vocab_size);
    const std::vector<float> found = model.logits(ids, 1);
    const std::vector<double> expected = slow_forward(model).logits(ids);
    double worst = 0;
    double size = 0;
    for (std::size_t i = 0; i < expected.size(); ++i) {
        worst = std::max(worst, std::abs(static_cast<double>(found[i]) - expected[i]));
        size = std::max(size, std::abs(expected[i]));
    }
    INFO("worst " << worst << " of " << size);
    REQUIRE(size > 1.0);
    REQUIRE(worst < 1e-4 * size);
}

}  // namespace

TEST_CASE("the forward pass agrees with the formulas for every kind of layer", "[model]") {
    fpq::model_config c = small_config();
    SECTION("llama, tied head, head_dim that is not hidden / heads") { require_agreement(c, 70); }
    SECTION("untied head") {
        c.tied_head = false;
        require_agreement(c, 9);
    }
    SECTION("biases everywhere") {
        c.qkv_bias = c.output_bias = c.mlp_bias = true;
        require_agreement(c, 9);
    }
    SECTION("biases of q, k and v only") {
        c.qkv_bias = true;
        require_agreement(c, 9);
    }
    SECTION("norms of q and k") {
        c.qk_norm = true;
        require_agreement(c, 9);
    }
    SECTION("one key/value head, and as many as query heads") {
        c.kv_heads = 1;
        require_agreement(c, 9);
        c.kv_heads = 4;
        require_agreement(c, 9);
    }
    SECTION("one token") { require_agreement(c, 1); }
    SECTION("more tokens than a tile of queries") { require_agreement(c, 131); }
}

TEST_CASE("a later token changes no earlier logits", "[model]") {
    const random_model model(small_config());
    std::vector<std::int32_t> ids = some_tokens(150, 50);
    const std::vector<float> before = model.logits(ids, 2);
    constexpr std::size_t changed = 101;
    ids[changed] = (ids[changed] + 1) % 50;
    const std::vector<float> after = model.logits(ids, 2);
    const auto border = static_cast<std::ptrdiff_t>(changed * 50);
    REQUIRE(std::equal(before.begin(), before.begin() + border, after.begin()));
    REQUIRE_FALSE(
        std::equal(before.begin() + border, before.begin() + border + 50, after.begin() + border));
    REQUIRE_FALSE(std::equal(before.end() - 50, before.end(), after.end() - 50));
}

TEST_CASE("logits are the same bits for any number of threads", "[model]") {
    fpq::model_config c = small_config();
    c.vocab_size = 1100;  // more than two tiles of the head
    const random_model model(c);
    const std::vector<std::int32_t> ids = some_tokens(300, c.vocab_size);
    const std::vector<float> one = model.logits(ids, 1);
    for (const int threads : {2, 3, 7}) {
        REQUIRE(model.logits(ids, threads) == one);
    }
}

TEST_CASE("the hook is called once per shared input, in order, with its width", "[model]") {
    const random_model model(small_config());
    std::vector<std::pair<fpq::linear_role, std::size_t>> calls;
    fpq::layer_hooks hooks;
    hooks.on_input = [&](fpq::linear_role role, fpq::matrix_view<float> x) {
        REQUIRE(x.rows == 5);
        calls.emplace_back(role, x.cols);
    };
    static_cast<void>(model.logits(some_tokens(5, 50), 2, hooks));
    const std::vector<std::pair<fpq::linear_role, std::size_t>> once = {
        {fpq::linear_role::q, 20},
        {fpq::linear_role::o, 24},
        {fpq::linear_role::gate, 20},
        {fpq::linear_role::down, 36}};
    REQUIRE(calls.size() == 2 * once.size());
    REQUIRE(std::equal(once.begin(), once.end(), calls.begin()));
    REQUIRE(std::equal(once.begin(), once.end(), calls.begin() + 4));
}

TEST_CASE("linears consume what the hook wrote, and the residual does not", "[model]") {
    const random_model model(small_config());
    const std::vector<std::int32_t> ids = some_tokens(12, 50);
    for (const fpq::linear_role role : {fpq::linear_role::q, fpq::linear_role::o,
                                        fpq::linear_role::gate, fpq::linear_role::down}) {
        fpq::layer_hooks doubling;
        doubling.on_input = [&](fpq::linear_role at, fpq::matrix_view<float> x) {
            for (std::size_t i = 0; at == role && i < x.rows; ++i) {
                std::for_each(x.row(i), x.row(i) + x.cols, [](float& v) { v *= 2; });
            }
        };
        random_model halved = model;  // weights halved: exactly undoes the doubling
        for (fpq::decoder_layer& layer : halved.layers) {
            for (const fpq::linear_role member : fpq::fused_group(role)) {
                for (float& w : layer.at(member).weight) {
                    w *= 0.5F;
                }
            }
        }
        INFO(fpq::role_name(role));
        REQUIRE(model.logits(ids, 1, doubling) != model.logits(ids, 1));
        REQUIRE(halved.logits(ids, 1, doubling) == model.logits(ids, 1));
    }
}

TEST_CASE("tokens outside the vocabulary and windows past the sliding window are refused",
          "[model]") {
    fpq::model_config c = small_config();
    c.sliding_window = 4;
    const random_model model(c);
    REQUIRE_NOTHROW(model.logits({1, 2, 3, 4}, 1));
    REQUIRE_THROWS_WITH(model.logits({1, 2, 3, 4, 5}, 1),
                        "sliding-window attention is not supported: small config: "
                        "sliding_window: expected a window of at least the sequence length 5, "
                        "found 4");
    REQUIRE_THROWS_WITH(model.logits({1, 50}, 1),
                        "token outside the model's vocabulary: small config: token 1: expected 0 "
                        "to 49, found 50");
    REQUIRE_THROWS_AS(model.logits({-1}, 1), fpq::error);
}

TEST_CASE("frames that do not fit the configuration are refused", "[model]") {
    const random_model model(small_config());
    const auto rows = [&](std::size_t n, std::size_t cols) {
        return fpq::weight_rows::from_floats(std::vector<float>(n * cols), n, cols);
    };
    REQUIRE_THROWS_AS(fpq::decoder(model.config, rows(49, 20), model.final_norm, std::nullopt),
                      fpq::error);
    REQUIRE_THROWS_AS(fpq::decoder(model.config, rows(50, 20), {1.0F}, std::nullopt), fpq::error);
    REQUIRE_THROWS_AS(fpq::decoder(model.config, rows(50, 20), model.final_norm, rows(50, 19)),
                      fpq::error);
}
