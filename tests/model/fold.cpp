// SPDX-License-Identifier: Apache-2.0
// Scales per channel folded into a model: it stays what it was, to the bit for powers of two.
#include "fpq/model/fold.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "catch.hpp"
#include "fpq/core/hosted/error.hpp"
#include "model/fused_family.hpp"
#include "model/random_model.hpp"
#include "support/numeric_gradient.hpp"

using namespace fpq_test;

namespace {

constexpr fpq::tap taps[] = {fpq::tap::attention_input, fpq::tap::attention_output,
                             fpq::tap::mlp_input, fpq::tap::mlp_middle};

/// Scales from 1/8 to 8, powers of two or not.
std::vector<float> some_scales(std::size_t count, std::uint64_t stream, bool powers) {
    fpq::philox const source{5, stream};
    std::vector<float> out(count);
    for (std::size_t i = 0; i < count; ++i) {
        float const exponent = 6.0F * fpq::uniform(source.at(i)) - 3.0F;
        out[i] = std::exp2(powers ? std::round(exponent) : exponent);
    }
    return out;
}

/// Folds scales into every tap that has a target; how many have.
std::size_t fold_all(random_model& model, bool powers, fpq::dtype stored) {
    std::size_t folds = 0;
    for (fpq::decoder_layer<fpq::cpu>& layer : model.layers) {
        for (fpq::tap const at : taps) {
            if (auto const target = fpq::fold_target_of(*model.graph, at)) {
                std::vector<float> const scales = some_scales(target->channels, folds++, powers);
                std::vector<float> const folded =
                    fpq::fold_scales(fpq::cpu{2}, *model.graph, layer, at, scales, stored);
                if (powers) {
                    REQUIRE(folded == scales);
                }
            }
        }
    }
    return folds;
}

void require_unchanged(fpq::model_config const& config, std::size_t folds) {
    random_model model(config);
    std::vector<std::int32_t> const ids = some_tokens(21, config.vocab_size);
    std::vector<float> const before = model.logits(ids, 1);
    random_model other(config);
    REQUIRE(fold_all(model, true, fpq::dtype::f32) == folds);
    auto const rows = config.family->linears;
    for (std::size_t r = 0; r < rows.size(); ++r) {  // it did something
        auto const w = model.layers[0].linears[r].weight.view();
        auto const was = other.layers[0].linears[r].weight.view();
        CHECK((!std::equal(w.data, w.data + w.size(), was.data) ||
               !fpq::fold_target_of(*model.graph, rows[r].input)));
    }
    CHECK(model.logits(ids, 1) == before);
    (void)fold_all(other, false, fpq::dtype::f32);
    std::vector<float> const after = other.logits(ids, 1);
    double const worst = worst_error(after, widened(before));
    INFO("worst " << worst);
    CHECK(worst < 2e-6);
    CHECK(worst > 0.0);
}

}  // namespace

TEST_CASE("folded scales leave the logits: bits by powers of two, else up to rounding", "[model]") {
    fpq::model_config c = small_config();
    SECTION("llama, grouped heads") { require_unchanged(c, 8); }
    SECTION("biases everywhere") {
        c.attention_bias = c.mlp_bias = true;
        require_unchanged(c, 8);
    }
    SECTION("qwen2") {
        c.family = &fpq::families::qwen2;
        require_unchanged(c, 8);
    }
    SECTION("qwen3") {
        c.family = &fpq::families::qwen3;
        require_unchanged(c, 8);
    }
    SECTION("as many key/value heads as query heads, and one") {
        c.kv_heads = 4;
        require_unchanged(c, 8);
        c.kv_heads = 1;
        require_unchanged(c, 8);
    }
    SECTION("fused rows, no norm before a block") {
        c.family = &fused_family;
        c.attention_bias = c.mlp_bias = true;
        require_unchanged(c, 4);
    }
    SECTION("parts in another order, a norm before the MLP alone") {
        c.family = &shuffled_family;
        require_unchanged(c, 6);
    }
}

TEST_CASE("a norm or bias that is stored in bf16 or fp16 loses nothing to its type", "[model]") {
    for (fpq::dtype const type : {fpq::dtype::bf16, fpq::dtype::f16}) {
        fpq::model_config c = small_config();
        c.family = &fpq::families::qwen2;
        random_model model(c);
        for (fpq::decoder_layer<fpq::cpu>& layer : model.layers) {  // as a file holds them
            for (auto& norm : layer.norms) {
                for (float& x : norm) {
                    x = fpq::as_stored(type, x);
                }
            }
            for (auto& linear : layer.linears) {
                for (float& x : linear.bias) {
                    x = fpq::as_stored(type, x);
                }
            }
        }
        std::vector<std::int32_t> const ids = some_tokens(21, c.vocab_size);
        std::vector<float> const before = model.logits(ids, 1);
        (void)fold_all(model, false, type);
        std::vector<float> const after = model.logits(ids, 1);
        double const worst = worst_error(after, widened(before));
        INFO("worst " << worst);
        CHECK(worst < 2e-6);  // half a unit of bf16 would be 2e-3
        for (fpq::decoder_layer<fpq::cpu> const& layer : model.layers) {
            for (float const x : layer.norm(fpq::norm_place::mlp_input)) {
                REQUIRE(fpq::as_stored(type, x) == x);
            }
            for (float const x : layer.linears[2].bias) {
                REQUIRE(fpq::as_stored(type, x) == x);
            }
        }
    }
}

TEST_CASE("a channel whose quotient its type cannot hold keeps its scale of 1", "[model]") {
    random_model model(small_config());
    auto& layer = model.layers[0];
    auto& norm = layer.norm(fpq::norm_place::attention_input);
    norm[0] = 0.0F;
    norm[1] = 60000.0F;
    norm[2] = fpq::as_stored(fpq::dtype::f16, 1e-7F);
    std::vector<float> scales(norm.size(), 1.0F);
    scales[0] = 3.0F;
    scales[1] = 0.01F;    // to infinity
    scales[2] = 1000.0F;  // to 0
    std::vector<float> const kept = norm;
    std::vector<float> const folded = fpq::fold_scales(
        fpq::cpu{1}, *model.graph, layer, fpq::tap::attention_input, scales, fpq::dtype::f16);
    CHECK(folded[0] == 3.0F);
    CHECK(folded[1] == 1.0F);
    CHECK(folded[2] == 1.0F);
    CHECK(norm[0] == 0.0F);
    CHECK(norm[1] == kept[1]);
    CHECK(norm[2] == kept[2]);
}

TEST_CASE("scales that cannot be folded are refused", "[model]") {
    random_model model(small_config());
    auto const why = [&](fpq::tap at, std::size_t count) -> std::string {
        try {
            (void)fpq::fold_scales(fpq::cpu{1}, *model.graph, model.layers[0], at,
                                   std::vector<float>(count, 1.0F), fpq::dtype::f32);
        } catch (fpq::error const& e) {
            return e.what();
        }
        return {};
    };
    CHECK(why(fpq::tap::attention_output, 12).empty());  // 2 heads of 6, shared by 4
    CHECK(why(fpq::tap::attention_output, 24) ==
          "scales of a tap: fold_scales: expected 12, found 24");
    CHECK(why(fpq::tap::head_input, 20).find("whose channels can be scaled") != std::string::npos);
}
