// SPDX-License-Identifier: Apache-2.0
// Tests of model/settle.hpp: where config.json and the tensors disagree, the tensors count.
#include "fpq/model/settle.hpp"

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "catch.hpp"
#include "fpq/graph/families.hpp"
#include "support/tiny_checkpoint.hpp"

using namespace fpq_test;

namespace {

struct settled {
    explicit settled(tiny_checkpoint_options const& options)
        : source(make_tiny_checkpoint(directory.path(), options)),
          config(fpq::settle_model(source, fpq::shipped_architectures)) {}

    temporary_directory directory;
    fpq::checkpoint source;
    fpq::model_config config;
};

/// A config that ties a head which the file holds; `edit` sees every tensor.
tiny_checkpoint_options tied_with_head() {
    tiny_checkpoint_options options;
    options.tied = false;
    options.edit_config = [](nlohmann::json& c) { c["tie_word_embeddings"] = true; };
    return options;
}

}  // namespace

TEST_CASE("a head that differs from the embedding unties a tied config", "[model]") {
    settled const differs(tied_with_head());
    CHECK_FALSE(differs.config.tied_head);
    CHECK(differs.source.config().at("tie_word_embeddings") == false);
    REQUIRE(differs.config.contradictions.size() == 1);
    CHECK(differs.config.contradictions[0].find("lm_head.weight differs") != std::string::npos);

    tiny_checkpoint_options options = tied_with_head();
    std::string embedding;
    options.edit = [&](raw_tensor& t) {
        if (t.name == "model.embed_tokens.weight") {
            embedding = t.bytes;
        } else if (t.name == "lm_head.weight") {
            t.bytes = embedding;
        }
    };
    settled const equal(options);
    CHECK(equal.config.tied_head);
    CHECK(equal.config.contradictions.empty());
}

TEST_CASE("a head that is saved alone is the embedding", "[model]") {
    tiny_checkpoint_options options;
    options.edit = [](raw_tensor& t) {
        if (t.name == "model.embed_tokens.weight") {
            t.name = "lm_head.weight";
        }
    };
    settled const one(options);
    CHECK(one.config.tied_head);
    CHECK(one.source.contains("model.embed_tokens.weight"));
    CHECK_FALSE(one.source.contains("lm_head.weight"));
    CHECK(one.source.at("model.embed_tokens.weight").name == "model.embed_tokens.weight");
    CHECK(one.config.contradictions.size() == 1);
}

TEST_CASE("names without model. are read as they are, with or without a head", "[model]") {
    for (bool const tied : {true, false}) {
        tiny_checkpoint_options options;
        options.edit_config = [&](nlohmann::json& c) { c["tie_word_embeddings"] = tied; };
        options.edit = [](raw_tensor& t) { t.name = t.name.substr(6); };
        settled const one(options);
        CHECK(one.config.absent_prefix == "model.");
        CHECK(one.config.tied_head);
        CHECK(one.config.notes.empty() == tied);
        fpq::model_graph const graph(one.config);
        CHECK(graph.linears().front().module == "layers.0.self_attn.q_proj");
        CHECK(graph.linears()[1].group == "layers.0.self_attn.q_proj");
        CHECK(graph.head().module == "lm_head");
        graph.for_each_tensor([&](std::string const& name) { CHECK(one.source.contains(name)); });
    }
}

TEST_CASE("a quantization_config over plain weights is taken away, over others it stays",
          "[model]") {
    tiny_checkpoint_options options;
    options.edit_config = [](nlohmann::json& c) {
        c["quantization_config"] = {{"quant_method", "bitsandbytes"}};
    };
    settled const stale(options);
    CHECK_FALSE(stale.source.config().contains("quantization_config"));
    REQUIRE(stale.config.contradictions.size() == 1);
    CHECK(stale.config.contradictions[0].find("bitsandbytes") != std::string::npos);
    options.edit = [](raw_tensor& t) {
        if (t.name == "model.layers.1.input_layernorm.weight") {
            t.name = "model.layers.1.mlp.up_proj.weight_scale_inv";
        }
    };
    CHECK(settled(options).source.config().contains("quantization_config"));
}

TEST_CASE("a rotary embedding that is not implemented stops the forward pass only", "[model]") {
    for (std::string const kind : {"yarn", "su", "mrope", "another"}) {
        tiny_checkpoint_options options;
        options.edit_config = [&](nlohmann::json& c) {
            c["rope_scaling"] = {{"rope_type", kind}, {"factor", 4.0}};
        };
        settled const one(options);
        CHECK(one.config.unknown_rope == kind);
        CHECK_THROWS_WITH(one.config.require_sequence(2), Catch::Contains(kind));
    }
}

TEST_CASE("a git-lfs pointer is refused by its name, with what fetches the file", "[model]") {
    temporary_directory directory;
    make_tiny_checkpoint(directory.path(), {});
    std::string const pointer =
        "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n";
    for (char const* const name : {"model.safetensors", "config.json"}) {
        write_text(directory.path() / name, pointer);
        CHECK_THROWS_WITH(fpq::checkpoint(directory.path()), Catch::Contains("git-lfs pointer") &&
                                                                 Catch::Contains("git lfs pull") &&
                                                                 Catch::Contains(name));
    }
}
