// SPDX-License-Identifier: Apache-2.0
// The decoder against the slow forward pass, and what hooks, threads and masks may and may not do.
#include "fpq/model/forward.hpp"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "catch.hpp"
#include "model/fused_family.hpp"
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
        c.attention_bias = c.mlp_bias = true;
        require_agreement(c, 9);
    }
    SECTION("biases of q, k and v only") {
        c.family = &fpq::families::qwen2;
        require_agreement(c, 9);
    }
    SECTION("norms of q and k") {
        c.family = &fpq::families::qwen3;
        require_agreement(c, 9);
    }
    SECTION("fused q/k/v and gate/up, norms behind the blocks instead of before them") {
        c.family = &fused_family;
        require_agreement(c, 9);
        c.attention_bias = c.mlp_bias = true;
        c.tied_head = false;
        require_agreement(c, 70);
    }
    SECTION("parts and rows in another order, norms before and behind a block") {
        c.family = &shuffled_family;
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

TEST_CASE("the hook is called once a tap, in order, with its width", "[model]") {
    fpq::model_config c = small_config();
    SECTION("a linear each") {}
    SECTION("fused, in another order, without a norm before attention") {
        c.family = &shuffled_family;
    }
    const random_model model(c);
    std::vector<std::pair<fpq::tap, std::size_t>> calls;
    fpq::layer_hooks<fpq::cpu> hooks;
    hooks.on_input = [&](fpq::tap at, fpq::matrix_view<float> x) {
        REQUIRE(x.rows == 5);
        calls.emplace_back(at, x.cols);
    };
    static_cast<void>(model.logits(some_tokens(5, 50), 2, hooks));
    const std::vector<std::pair<fpq::tap, std::size_t>> once = {{fpq::tap::attention_input, 20},
                                                                {fpq::tap::attention_output, 24},
                                                                {fpq::tap::mlp_input, 20},
                                                                {fpq::tap::mlp_middle, 36}};
    REQUIRE(calls.size() == 2 * once.size() + 1);
    REQUIRE(std::equal(once.begin(), once.end(), calls.begin()));
    REQUIRE(std::equal(once.begin(), once.end(), calls.begin() + 4));
    REQUIRE(calls.back() == std::pair(fpq::tap::head_input, std::size_t{20}));
}

TEST_CASE("linears consume what the hook wrote, and the residual does not", "[model]") {
    fpq::model_config c = small_config();
    c.tied_head = false;
    SECTION("behind norms") {}
    SECTION("fused, and the residual itself") { c.family = &fused_family; }
    const random_model model(c);
    const std::vector<std::int32_t> ids = some_tokens(12, 50);
    for (const fpq::tap which : {fpq::tap::attention_input, fpq::tap::attention_output,
                                 fpq::tap::mlp_input, fpq::tap::mlp_middle, fpq::tap::head_input}) {
        fpq::layer_hooks<fpq::cpu> doubling;
        doubling.on_input = [&](fpq::tap at, fpq::matrix_view<float> x) {
            for (std::size_t i = 0; at == which && i < x.rows; ++i) {
                std::for_each(x.row(i), x.row(i) + x.cols, [](float& v) { v *= 2; });
            }
        };
        random_model halved = model;  // weights halved: exactly undoes the doubling
        for (fpq::decoder_layer<fpq::cpu>& layer : halved.layers) {
            for (const fpq::linear_node& node : model.graph->layer(0)) {
                const fpq::matrix_view<float> w = layer.linears[node.row].weight.view();
                for (std::size_t i = 0; node.input == which && i < w.size(); ++i) {
                    w.data[i] *= 0.5F;
                }
            }
        }
        for (float& w : halved.head) {
            w *= which == fpq::tap::head_input ? 0.5F : 1.0F;
        }
        INFO(static_cast<int>(which));
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

TEST_CASE("a replaced head is the one that is used", "[model]") {
    const random_model model(small_config());
    fpq::decoder<fpq::cpu> frame = model.frame();
    const std::vector<float> hidden = random_values(3 * 20, 77, 1.0F);
    const fpq::matrix_view<const float> h = fpq::as_view(hidden.data(), 3, 20);
    std::vector<float> normed(3 * 20);
    (void)frame.head_input(fpq::cpu{1}, h, {}, fpq::as_view(normed.data(), 3, 20));
    std::vector<float> picked(50 * 20, 0.0F);
    for (std::size_t i = 0; i < 20; ++i) {
        picked[i * 20 + i] = 1.0F;  // row i of the head picks value i
    }
    frame.replace_head(fpq::weight_rows::from_floats(picked, 50, 20));
    std::vector<float> logits(3 * 50);
    frame.head_logits(fpq::cpu{1}, h, {}, fpq::as_view(logits.data(), 3, 50));
    for (std::size_t t = 0; t < 3; ++t) {
        for (std::size_t v = 0; v < 50; ++v) {
            REQUIRE(logits[t * 50 + v] == (v < 20 ? normed[t * 20 + v] : 0.0F));
        }
    }
}

TEST_CASE("frames that do not fit the configuration are refused", "[model]") {
    const random_model model(small_config());
    const auto rows = [&](std::size_t n, std::size_t cols) {
        return fpq::weight_rows::from_floats(std::vector<float>(n * cols), n, cols);
    };
    REQUIRE_THROWS_AS(
        fpq::decoder<fpq::cpu>(model.graph, rows(49, 20), model.final_norm, std::nullopt),
        fpq::error);
    REQUIRE_THROWS_AS(fpq::decoder<fpq::cpu>(model.graph, rows(50, 20), {1.0F}, std::nullopt),
                      fpq::error);
    REQUIRE_THROWS_AS(
        fpq::decoder<fpq::cpu>(model.graph, rows(50, 20), model.final_norm, rows(50, 19)),
        fpq::error);
}
