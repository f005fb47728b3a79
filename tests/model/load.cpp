// SPDX-License-Identifier: Apache-2.0
// Loading: every family, every stored type, and tensors that are missing or of the wrong shape.
#include "fpq/backend/cpu/load.hpp"
#include "fpq/model/load.hpp"

#include <memory>
#include <optional>
#include <string>

#include "catch.hpp"
#include "fpq/backend/cpu/forward.hpp"
#include "fpq/graph/families.hpp"
#include "support/tiny_checkpoint.hpp"

using namespace fpq_test;

namespace {

/// Loads everything of a checkpoint made with these options; returns the refusal or "".
std::string refusal(const tiny_checkpoint_options& options) {
    const temporary_directory directory;
    make_tiny_checkpoint(directory.path(), options);
    try {
        const fpq::checkpoint source(directory.path());
        const fpq::cpu b{1};
        const auto graph = std::make_shared<fpq::model_graph>(
            fpq::load_model_config(source, fpq::shipped_architectures));
        static_cast<void>(fpq::load_decoder(b, source, graph, std::nullopt));
        for (std::size_t layer = 0; layer < graph->layers(); ++layer) {
            static_cast<void>(fpq::load_layer(b, source, *graph, layer));
        }
    } catch (const fpq::error& e) {
        REQUIRE(e.exit_code() == 3);
        return e.what();
    }
    return "";
}

}  // namespace

TEST_CASE("every family and every stored type loads", "[model]") {
    for (const std::string type : {"llama", "mistral", "qwen2", "qwen3"}) {
        for (const fpq::dtype stored : {fpq::dtype::bf16, fpq::dtype::f16, fpq::dtype::f32}) {
            tiny_checkpoint_options options;
            options.model_type = type;
            options.type = stored;
            options.tied = stored != fpq::dtype::f16;
            INFO(type);
            REQUIRE(refusal(options) == "");
        }
    }
}

TEST_CASE("missing tensors and wrong shapes are refused by name", "[model]") {
    tiny_checkpoint_options options;
    options.edit = [](raw_tensor& t) {
        if (t.name == "model.layers.1.mlp.up_proj.weight") {
            t.name = "something.else";
        }
    };
    REQUIRE(refusal(options).find("model.layers.1.mlp.up_proj.weight") != std::string::npos);
    options.edit = nullptr;
    options.edit_config = [](nlohmann::json& config) { config["tie_word_embeddings"] = false; };
    REQUIRE(refusal(options).find("lm_head.weight") != std::string::npos);
    options.edit_config = [](nlohmann::json& config) { config["intermediate_size"] = 64; };
    REQUIRE(refusal(options).find("mlp.gate_proj.weight") != std::string::npos);
    options.edit_config = [](nlohmann::json& config) { config["vocab_size"] = 95; };
    REQUIRE(refusal(options).find("model.embed_tokens.weight") != std::string::npos);
    options.edit_config = [](nlohmann::json& config) { config["model_type"] = "qwen3"; };
    REQUIRE(refusal(options).find("q_norm.weight") != std::string::npos);
}

TEST_CASE("values that are not finite are refused by tensor and element", "[model]") {
    for (const std::string name :
         {"model.embed_tokens.weight", "model.layers.0.self_attn.v_proj.weight",
          "model.norm.weight", "model.layers.1.post_attention_layernorm.weight"}) {
        tiny_checkpoint_options options;
        options.edit = [&](raw_tensor& t) {
            if (t.name == name) {
                t.bytes[10] = '\x80';
                t.bytes[11] = '\x7F';  // element 5 is +infinity in bf16
            }
        };
        const std::string message = refusal(options);
        INFO(message);
        REQUIRE(message.find(name) != std::string::npos);
        REQUIRE(message.find("element 5") != std::string::npos);
    }
}
