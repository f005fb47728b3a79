// SPDX-License-Identifier: Apache-2.0
// A whole export is spoiled in one place at a time; verify must name the place.
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "catch.hpp"
#include "pipeline/line.hpp"
#include "pipeline/models.hpp"
#include "pipeline/spoiled_export.hpp"
#include "support/tiny_checkpoint.hpp"

using namespace fpq;
using namespace fpq_test;

TEST_CASE("what a forward pass or a client needs is checked by name", "[pipeline]") {
    temporary_directory const dir;
    auto const out = export_of(dir, false);
    CHECK(findings(out, {}, {}) == "");
    std::string const up = "model.layers.1.mlp.up_proj";
    CHECK_THAT(findings(out, without("model.norm.weight"), {}), Catch::Contains("model.norm"));
    CHECK_THAT(findings(out, without("lm_head.weight"), {}), Catch::Contains("lm_head"));
    CHECK_THAT(findings(out, without("model.embed_tokens.weight"), {}), Catch::Contains("embed"));
    CHECK_THAT(findings(out, with(bf16_values("model.norm.weight", 64, "\xc0\x7f")), {}),
               Catch::Contains("model.norm"));
    CHECK_THAT(findings(out, with(bf16_values("model.norm.weight", 32, "\x80\x3f")), {}),
               Catch::Contains("model.norm"));
    for (char const* const stray :
         {"model.layers.0.mlp.up_proj.bias", "model.layers.0.mlp.up_proj.weight_g_idx"}) {
        CHECK_THAT(findings(out, with(bf16_values(stray, 64, "\x80\x3f")), {}),
                   Catch::Contains(stray));
    }
    // What lies under no linear: a fault, unless the export's recipe says that it carried it along,
    // or nobody knows.
    nlohmann::json recipe = nlohmann::json::parse(read_text(out / "recipe.json"));
    for (char const* const stray : {"foo.bar", "model.layers.7.input_layernorm.weight"}) {
        auto const found = [&] {
            return findings(out, with(bf16_values(stray, 64, "\x80\x3f")), {}, true);
        };
        CHECK_THAT(found(), Catch::Contains(std::string("tensor '") + stray +
                                            "': no part of the model reads it"));
        recipe["carried"] = {stray};
        write_text(out / "recipe.json", recipe.dump());
        CHECK_THAT(found(), Catch::StartsWith("warning: ") && Catch::Contains(stray));
        std::filesystem::remove(out / "recipe.json");
        CHECK_THAT(found(), Catch::StartsWith("warning: ") && Catch::Contains(stray));
        recipe.erase("carried");
        write_text(out / "recipe.json", recipe.dump());
    }
    CHECK(findings(out,
                   with(bf16_values("model.layers.0.self_attn.rotary_emb.inv_freq", 8, "\x80\x3f")),
                   {}) == "");
    auto const overflow = [&](std::vector<raw_tensor>& all) {
        for (raw_tensor& t : all) {
            if (t.name == up + ".weight_scale") {
                t.bytes[0] = '\xfe';
            } else if (t.name == up + ".weight_packed") {
                std::fill_n(t.bytes.begin(), 16, '\x77');
            }
        }
    };
    CHECK_THAT(findings(out, overflow, {}), Catch::Contains(up) && Catch::Contains("infinity"));
}

TEST_CASE("a config that contradicts the tensors of an export is a fault", "[pipeline]") {
    temporary_directory const dir;
    auto const out = export_of(dir, false);
    auto const args = [](char const* key, nlohmann::json const& value) {
        return [=](nlohmann::json& c) {
            c["quantization_config"]["config_groups"]["group_0"]["weights"][key] = value;
        };
    };
    CHECK_THAT(findings(out, {}, args("dynamic", true)), Catch::Contains("dynamic"));
    CHECK_THAT(findings(out, {}, args("symmetric", false)), Catch::Contains("symmetric"));
    CHECK_THAT(findings(out, {}, args("strategy", "channel")), Catch::Contains("strategy"));
    CHECK_THAT(findings(out, {}, args("group_size", 16)), Catch::Contains("group"));
    CHECK_THAT(findings(out, {},
                        [](nlohmann::json& c) {
                            c["quantization_config"]["config_groups"]["group_0"] = nullptr;
                        }),
               Catch::Contains("config_groups"));
    CHECK_THAT(findings(out, {}, args("actorder", "group")), Catch::Contains("actorder"));
    CHECK_THAT(findings(out, {}, args("scale_dtype", "torch.bfloat16")),
               Catch::Contains("scale_dtype"));
    CHECK(findings(out, {}, args("actorder", "static")) == "");
    CHECK_THAT(findings(out, {},
                        [](nlohmann::json& c) {
                            c["quantization_config"]["config_groups"]["group_0"]["targets"] =
                                nlohmann::json::array();
                        }),
               Catch::Contains("targets"));
    CHECK_THAT(
        findings(out, {},
                 [](nlohmann::json& c) {
                     c["quantization_config"]["config_groups"]["group_0"]["output_activations"] = {
                         {"num_bits", 8}};
                 }),
        Catch::Contains("output_activations"));
    auto const key = [](char const* name, nlohmann::json const& value) {
        return [=](nlohmann::json& c) { c["quantization_config"][name] = value; };
    };
    CHECK_THAT(findings(out, {}, key("format", "dense")), Catch::Contains("format"));
    CHECK_THAT(findings(out, {}, key("quantization_status", "frozen")),
               Catch::Contains("quantization_status"));
    CHECK_THAT(findings(out, {}, key("kv_cache_scheme", {{"num_bits", 8}})),
               Catch::Contains("kv_cache_scheme"));
    CHECK_THAT(findings(out, {}, key("sparsity_config", {{"format", "sparse-24-bitmask"}})),
               Catch::Contains("sparsity_config"));
    CHECK(findings(out, {}, key("sparsity_config", {{"format", "dense"}})) == "");
    CHECK_THAT(findings(out, {}, [](nlohmann::json& c) { c["tie_word_embeddings"] = true; }),
               Catch::Contains("lm_head.weight differs"));
}

TEST_CASE("a config whose keys clients trip over is a fault, one they can do without a warning",
          "[pipeline]") {
    temporary_directory const dir;
    auto const out = export_of(dir, false);
    CHECK(findings(out, {}, {}, true) == "");
    auto const said = [&](char const* key, nlohmann::json const& value, bool warnings = false) {
        return findings(
            out, {}, [&](nlohmann::json& c) { c[key] = value; }, warnings);
    };
    CHECK_THAT(said("num_hidden_layers", 1), Catch::Contains("model.layers.1.") &&
                                                 Catch::Contains("(and 6 more): quantized, but"));
    CHECK_THAT(said("rope_scaling", {{"rope_type", "nonsense"}}), Catch::Contains("nonsense"));
    CHECK(said("rope_scaling", {{"rope_type", "yarn"}, {"factor", 4.0}}) == "");
    CHECK_THAT(said("torch_dtype", "bogus"), Catch::Contains("torch_dtype: expected one of"));
    CHECK_THAT(said("hidden_act", nullptr), Catch::Contains("hidden_act: expected silu"));
    for (auto const& value : std::vector<nlohmann::json>{
             nullptr, "LlamaForCausalLM", nlohmann::json::array(), {"Qwen2ForCausalLM"}, {7}}) {
        INFO(value.dump());
        CHECK(said("architectures", value) == "");
        CHECK_THAT(said("architectures", value, true),
                   Catch::StartsWith("warning: config.json: architectures: expected a list"));
    }
    CHECK(said("architectures", {"LlamaModel"}, true) == "");
    for (auto const& value : std::vector<nlohmann::json>{"2", -1, 1.5, 1 << 20, {1, 1 << 20}}) {
        INFO(value.dump());
        CHECK(said("eos_token_id", value) == "");
        CHECK_THAT(said("eos_token_id", value, true), Catch::Contains("eos_token_id: expected"));
    }
    CHECK(said("eos_token_id", {1, 2}, true) == "");
}

TEST_CASE("both matrices of an export that rotates are there, finite and what it names",
          "[pipeline]") {
    temporary_directory const dir;
    auto const out = export_of(dir, true);
    CHECK(findings(out, {}, {}) == "");
    std::string const back = "model.layers.0.mlp.up_proj.backward_hadamard_matrix";
    CHECK_THAT(findings(out, without(back), {}), Catch::Contains(back));
    auto const patched = [&](char const* two_bytes) {
        return [&, two_bytes](std::vector<raw_tensor>& all) {
            for (raw_tensor& t : all) {
                if (t.name == back) {
                    t.bytes.replace(0, 2, two_bytes, 2);
                }
            }
        };
    };
    CHECK_THAT(findings(out, patched("\xc0\x7f"), {}), Catch::Contains(back));
    CHECK_THAT(findings(out, patched("\x80\x3f"), {}), Catch::Contains("transform_init"));
    auto const key = [](char const* name, nlohmann::json const& value) {
        return [=](nlohmann::json& c) { c["quantization_config"][name] = value; };
    };
    CHECK_THAT(findings(out, {}, key("transform_init", "other")),
               Catch::Contains("transform_init"));
    CHECK_THAT(findings(out, {}, key("backward_dtype", 7)), Catch::Contains("backward_dtype"));
    CHECK_THAT(findings(out, {}, key("pseudoquantization", "yes")),
               Catch::Contains("pseudoquantization"));
    CHECK_THAT(findings(out, {}, [](nlohmann::json& c) { c["torch_dtype"] = "float16"; }),
               Catch::Contains("torch_dtype"));
}

TEST_CASE("side files that a client cannot read are a fault", "[pipeline]") {
    temporary_directory const dir;
    auto const out = export_of(dir, false);
    write_text(out / "generation_config.json", "{}");
    CHECK(findings(out, {}, {}) == "");
    write_text(out / "generation_config.json", "{");
    CHECK_THAT(findings(out, {}, {}), Catch::Contains("generation_config.json"));
    write_text(out / "generation_config.json", "{}");
    std::string const pointer =
        "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n";
    write_text(out / "tokenizer.model", pointer);
    CHECK_THAT(findings(out, {}, {}),
               Catch::Contains("tokenizer.model") && Catch::Contains("git-lfs"));

    write_text(dir.path() / "model" / "tokenizer.model", pointer);
    CHECK_THROWS_WITH(go(flags_for(dir, false)),
                      Catch::Contains("tokenizer.model") && Catch::Contains("git lfs pull"));
}

TEST_CASE("codes that are no number, and inputs that the config does not quantize, are faults",
          "[pipeline]") {
    temporary_directory const dir;
    tiny_checkpoint_options options;
    options.tied = false;
    make_tiny_checkpoint(dir.path() / "model", options);
    harness_flags f = flags_for(dir, false);
    f.scheme.w_bits = 8;
    (void)go(f);
    auto const nan = [](std::vector<raw_tensor>& all) {
        for (raw_tensor& t : all) {
            if (t.name == "model.layers.1.mlp.up_proj.weight") {
                t.bytes[3] = '\xff';
            }
        }
    };
    CHECK(findings(dir.path() / "out", {}, {}) == "");
    CHECK_THAT(findings(dir.path() / "out", nan, {}),
               Catch::Contains("up_proj") && Catch::Contains("element 3"));
    std::string const scale = "model.layers.1.mlp.up_proj.input_global_scale";
    CHECK_THAT(findings(dir.path() / "out",
                        with({scale, dtype::f32, {1}, std::string("\0\0\x80\x3f", 4)}), {}),
               Catch::Contains(scale));
}
