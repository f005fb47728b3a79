// SPDX-License-Identifier: Apache-2.0
// Names, shapes, biases, groups and norms of the shipped families, and the names of the committed
// models.
#include "fpq/graph/graph.hpp"
#include "fpq/backend/cpu/load.hpp"

#include <array>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "catch.hpp"
#include "fpq/graph/families.hpp"
#include "fpq/model/load.hpp"
#include "model/fused_family.hpp"

#ifndef FPQ_SOURCE_DIR
#define FPQ_SOURCE_DIR "."
#endif

namespace {

fpq::model_config config_of(const fpq::architecture& family) {
    fpq::model_config c;
    c.family = &family;
    c.hidden_size = 20;
    c.intermediate_size = 36;
    c.layers = 12;
    c.heads = 4;
    c.kv_heads = 2;
    c.head_dim = 6;
    c.vocab_size = 50;
    return c;
}

std::set<std::string> biased(const fpq::model_config& c) {
    const fpq::model_graph graph(c);
    std::set<std::string> out;
    for (const fpq::linear_node& node : graph.layer(0)) {
        if (node.bias) {
            out.insert(node.module.substr(node.module.rfind('.') + 1));
        }
    }
    return out;
}

}  // namespace

TEST_CASE("modules are named as the checkpoints name them", "[graph]") {
    const fpq::model_graph graph(config_of(fpq::families::llama));
    REQUIRE(graph.layer(0)[0].module == "model.layers.0.self_attn.q_proj");
    REQUIRE(graph.layer(11)[3].module == "model.layers.11.self_attn.o_proj");
    REQUIRE(graph.layer(3)[6].weight() == "model.layers.3.mlp.down_proj.weight");
    REQUIRE(graph.layer(3)[1].bias_name() == "model.layers.3.self_attn.k_proj.bias");
    REQUIRE(graph.head().module == "lm_head");
    REQUIRE(graph.embedding() == "model.embed_tokens");
    REQUIRE(graph.final_norm() == "model.norm.weight");
    REQUIRE(fpq::name_in_layer("a.{layer}.b", 7) == "a.7.b");
    REQUIRE(fpq::name_in_layer("head", 7) == "head");
}

TEST_CASE("shapes follow from what a linear reads and holds", "[graph]") {
    const fpq::model_graph graph(config_of(fpq::families::llama));
    const std::vector<std::array<std::size_t, 2>> shapes{{24, 20}, {12, 20}, {12, 20}, {20, 24},
                                                         {36, 20}, {36, 20}, {20, 36}};
    for (std::size_t i = 0; i < shapes.size(); ++i) {
        CHECK(graph.layer(5)[i].out == shapes[i][0]);
        CHECK(graph.layer(5)[i].in == shapes[i][1]);
        CHECK(graph.layer(5)[i].layer == 5);
        CHECK(graph.layer(5)[i].row == i);
    }
    CHECK(graph.head().out == 50);
    CHECK(graph.head().in == 20);
    CHECK(graph.head().layer == graph.layers());
    CHECK(graph.linears().size() == 12 * 7);
    CHECK(graph.linears()[5 * 7 + 6].module == "model.layers.5.mlp.down_proj");
    CHECK(graph.layer(5)[4].values() == 36 * 20);
}

TEST_CASE("a fused linear is as high as its parts together", "[graph]") {
    const fpq::model_config c = config_of(fpq_test::fused_family);
    const std::vector<std::size_t> widths{24, 12, 12, 20, 36, 36, 20, 50};
    for (std::size_t i = 0; i < widths.size(); ++i) {
        CHECK(fpq::part_width(c, static_cast<fpq::part>(i)) == widths[i]);
    }
    CHECK(fpq::tap_width(c, fpq::tap::attention_input) == 20);
    CHECK(fpq::tap_width(c, fpq::tap::attention_output) == 24);
    CHECK(fpq::tap_width(c, fpq::tap::mlp_input) == 20);
    CHECK(fpq::tap_width(c, fpq::tap::mlp_middle) == 36);
    CHECK(fpq::tap_width(c, fpq::tap::head_input) == 20);

    const fpq::model_graph graph(c);
    const std::vector<std::array<std::size_t, 2>> shapes{
        {24 + 12 + 12, 20}, {20, 24}, {36 + 36, 20}, {20, 36}};
    REQUIRE(graph.layer(11).size() == shapes.size());
    for (std::size_t i = 0; i < shapes.size(); ++i) {
        CHECK(graph.layer(11)[i].out == shapes[i][0]);
        CHECK(graph.layer(11)[i].in == shapes[i][1]);
    }
    // Already one linear: nothing is left to fuse.
    const auto groups = graph.groups(11);
    REQUIRE(groups.size() == 4);
    for (std::size_t i = 0; i < 4; ++i) {
        CHECK(groups[i].size() == 1);
        CHECK(groups[i].front()->group == graph.layer(11)[i].module);
    }
}

TEST_CASE("q, k and v are one group, and so are gate and up", "[graph]") {
    const fpq::model_graph graph(config_of(fpq::families::qwen2));
    const auto groups = graph.groups(2);
    REQUIRE(groups.size() == 4);
    CHECK(groups[0].size() == 3);
    CHECK(groups[1].size() == 1);
    CHECK(groups[2].size() == 2);
    CHECK(groups[3].size() == 1);
    for (const auto& group : groups) {
        for (const fpq::linear_node* const node : group) {
            CHECK(node->group == group.front()->module);
            CHECK(node->input == group.front()->input);
        }
    }
}

TEST_CASE("biases are each family's own", "[graph]") {
    using names = std::set<std::string>;
    const names attention{"q_proj", "k_proj", "v_proj", "o_proj"};
    for (const bool key : {false, true}) {
        fpq::model_config c = config_of(fpq::families::llama);
        c.attention_bias = key;
        CHECK(biased(c) == (key ? attention : names{}));
        c.family = &fpq::families::qwen3;
        CHECK(biased(c) == (key ? attention : names{}));
        c.family = &fpq::families::qwen2;
        CHECK(biased(c) == names{"q_proj", "k_proj", "v_proj"});
        c.family = &fpq::families::mistral;
        CHECK(biased(c).empty());
    }
    fpq::model_config c = config_of(fpq::families::llama);
    c.mlp_bias = true;
    CHECK(biased(c) == names{"gate_proj", "up_proj", "down_proj"});
}

TEST_CASE("norms have the width of what they act on", "[graph]") {
    std::map<std::string, std::size_t> found;
    for (const fpq::norm_node& norm : fpq::model_graph(config_of(fpq::families::qwen3)).norms(1)) {
        found[norm.tensor] = norm.width;
    }
    CHECK(found ==
          std::map<std::string, std::size_t>{{"model.layers.1.input_layernorm.weight", 20},
                                             {"model.layers.1.post_attention_layernorm.weight", 20},
                                             {"model.layers.1.self_attn.k_norm.weight", 6},
                                             {"model.layers.1.self_attn.q_norm.weight", 6}});
    CHECK(fpq::model_graph(config_of(fpq::families::llama)).norms(1).size() == 2);
    const auto post = fpq::model_graph(config_of(fpq_test::fused_family)).norms(1);
    REQUIRE(post.size() == 2);
    CHECK(post[0].place == fpq::norm_place::attention_output);
    CHECK(post[1].place == fpq::norm_place::mlp_output);
    CHECK(fpq_test::fused_family.has_norm(fpq::norm_place::mlp_output));
    CHECK_FALSE(fpq_test::fused_family.has_norm(fpq::norm_place::mlp_input));
}

TEST_CASE("the tensors of a family of one's own, in the order in which they are read", "[graph]") {
    fpq::model_config c = config_of(fpq_test::fused_family);
    c.layers = 1;
    c.mlp_bias = true;
    const auto names = [](const fpq::model_config& config) {
        std::vector<std::string> out;
        fpq::model_graph(config).for_each_tensor(
            [&](const std::string& tensor) { out.push_back(tensor); });
        return out;
    };
    std::vector<std::string> expected{"tokens.weight",       "b.0.attention_norm.weight",
                                      "b.0.mlp_norm.weight", "b.0.qkv.weight",
                                      "b.0.qkv.bias",        "b.0.o.weight",
                                      "b.0.gate_up.weight",  "b.0.gate_up.bias",
                                      "b.0.down.weight",     "last_norm.weight",
                                      "output.weight"};
    CHECK(names(c) == expected);
    c.tied_head = true;
    expected.pop_back();
    CHECK(names(c) == expected);
}

TEST_CASE("the committed models hold exactly the tensors that are named", "[graph]") {
    for (const std::string name : {"tiny-llama", "tiny-qwen3"}) {
        const fpq::checkpoint source(std::string(FPQ_SOURCE_DIR) + "/examples/models/" + name);
        std::set<std::string> expected;
        fpq::model_graph(fpq::load_model_config(source, fpq::shipped_architectures))
            .for_each_tensor([&](const std::string& tensor) { expected.insert(tensor); });
        REQUIRE(std::set<std::string>(source.names().begin(), source.names().end()) == expected);
    }
}
