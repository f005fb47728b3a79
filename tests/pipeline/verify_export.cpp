// SPDX-License-Identifier: Apache-2.0
// A whole export is spoiled in one place at a time; verify must name the place.
#include <algorithm>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "catch.hpp"
#include "fpq/graph/families.hpp"
#include "fpq/model/settle.hpp"
#include "fpq/pipeline/check_written.hpp"
#include "pipeline/line.hpp"
#include "pipeline/models.hpp"
#include "support/dialects.hpp"
#include "support/tiny_checkpoint.hpp"

using namespace fpq;
using namespace fpq_test;

namespace {

/// Findings about `dir` after its tensors and its config went through the edits.
std::string findings(std::filesystem::path const& dir,
                     std::function<void(std::vector<raw_tensor>&)> const& on_tensors,
                     std::function<void(nlohmann::json&)> const& on_config, bool warnings = false) {
    temporary_directory copy;
    for (auto const& entry : std::filesystem::directory_iterator(dir)) {
        std::filesystem::copy(entry.path(), copy.path() / entry.path().filename(),
                              std::filesystem::copy_options::recursive);
    }
    if (on_tensors) {
        std::vector<raw_tensor> tensors;
        {
            checkpoint const read(dir);
            for (std::string const& name : read.names()) {
                tensor_ref const& t = read.at(name);
                tensors.push_back(
                    {t.name, t.type, t.shape,
                     std::string(reinterpret_cast<char const*>(t.bytes.data()), t.bytes.size())});
            }
        }
        on_tensors(tensors);
        write_text(copy.path() / "model.safetensors", safetensors_bytes(tensors));
    }
    if (on_config) {
        nlohmann::json config = nlohmann::json::parse(read_text(copy.path() / "config.json"));
        on_config(config);
        write_text(copy.path() / "config.json", config.dump());
    }
    std::string text;
    try {
        checkpoint source(copy.path());
        model_graph const graph(settle_model(source, shipped_architectures));
        for (std::string const& line : findings_of(source, &graph)) {
            text += line.starts_with("warning: ") && !warnings ? "" : line + "\n";
        }
    } catch (error const& why) {
        text += why.what();
    }
    return text;
}

auto without(std::string const& name) {
    return [name](std::vector<raw_tensor>& all) {
        std::erase_if(all, [&](raw_tensor const& t) { return t.name == name; });
    };
}

auto with(raw_tensor const& extra) {
    return [extra](std::vector<raw_tensor>& all) {
        std::erase_if(all, [&](raw_tensor const& t) { return t.name == extra.name; });
        all.push_back(extra);
    };
}

raw_tensor bf16_values(std::string name, std::size_t count, char const* two_bytes) {
    std::string bytes;
    for (std::size_t i = 0; i < count; ++i) {
        bytes.append(two_bytes, 2);
    }
    return {std::move(name), dtype::bf16, {count}, bytes};
}

harness_flags flags_for(temporary_directory const& dir, bool rotated) {
    harness_flags f;
    f.model = dir.path() / "model";
    f.scheme.family = format_family::mxfp;
    f.output.kind = export_kind::realquant;
    f.output.directory = dir.path() / "out";
    f.threads = 1;
    if (rotated) {
        f.output.layout = "fp_quant";
        f.scheme.a_bits = 4;
        f.scheme.transform = transform_kind::hadamard;
        f.scheme.transform_block = 32;
    }
    return f;
}

std::filesystem::path export_of(temporary_directory const& dir, bool rotated) {
    tiny_checkpoint_options options;
    options.tied = false;
    make_tiny_checkpoint(dir.path() / "model", options);
    (void)go(flags_for(dir, rotated));
    return dir.path() / "out";
}

}  // namespace

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

TEST_CASE("tensors that are not understood are copied, listed and no fault", "[pipeline]") {
    temporary_directory const dir;
    tiny_checkpoint_options options;
    options.tied = false;
    options.edit = [](raw_tensor& t) {
        if (t.name == "lm_head.weight") {
            t.name = "score.weight";
        }
    };
    options.edit_config = [](nlohmann::json& c) { c["tie_word_embeddings"] = true; };
    make_tiny_checkpoint(dir.path() / "model", options);
    std::filesystem::create_directory(dir.path() / "model" / "additional_chat_templates");
    write_text(dir.path() / "model" / "additional_chat_templates" / "tool.jinja", "{{ x }}");
    run_report const report = go(flags_for(dir, false));
    checkpoint const written(dir.path() / "out");
    CHECK(written.contains("score.weight"));
    CHECK(read_text(dir.path() / "out" / "additional_chat_templates" / "tool.jinja") == "{{ x }}");
    CHECK(findings(dir.path() / "out", {}, {}) == "");
    // A bias of the head came with the model; a scale without codes did not.
    CHECK(findings(dir.path() / "out", with(bf16_values("lm_head.bias", 4096, "\0\0")), {}) == "");
    CHECK_THAT(
        findings(dir.path() / "out", with(bf16_values("lm_head.weight_scale", 4, "\0\0")), {}),
        Catch::Contains("lm_head.weight_scale"));
    std::size_t said = 0;
    for (std::string const& note : report.notes) {
        said += note.find("score.weight") != std::string::npos ? 1 : 0;
    }
    CHECK(said == 1);
}

namespace {

/// A checkpoint in dir/model with one tensor more.
void make_with(temporary_directory const& dir, std::string const& name,
               std::vector<std::uint64_t> const& shape) {
    make_tiny_checkpoint(dir.path() / "model", {});
    std::vector<raw_tensor> tensors;
    {
        checkpoint const read(dir.path() / "model");
        for (std::string const& one : read.names()) {
            tensor_ref const& t = read.at(one);
            tensors.push_back(
                {t.name, t.type, t.shape,
                 std::string(reinterpret_cast<char const*>(t.bytes.data()), t.bytes.size())});
        }
    }
    std::size_t count = 1;
    for (std::uint64_t const size : shape) {
        count *= size;
    }
    raw_tensor extra = bf16_values(name, count, "\x80\x3f");
    extra.shape = shape;
    tensors.push_back(extra);
    write_text(dir.path() / "model" / "model.safetensors", safetensors_bytes(tensors));
}

/// Of an error of input, which leaves nothing.
std::string why_not(harness_flags const& f) {
    try {
        (void)go(f);
    } catch (error const& why) {
        CHECK(why.category() == error_category::input);
        return why.what();
    }
    return "";
}

}  // namespace

TEST_CASE("a tensor that the model does not read is kept out of the way or refused by name",
          "[pipeline]") {
    std::string const down = "model.layers.1.mlp.down_proj";
    std::vector<std::string> const head{"lm_head"};
    auto const ignored = [](std::filesystem::path const& out) {
        return checkpoint(out).config()["quantization_config"]["ignore"];
    };
    SECTION("under a quantized linear: refused, with the file in which it lies") {
        for (char const* const part :
             {".bias", ".foo", ".weight_scale", ".weight_packed", ".extra.weight"}) {
            temporary_directory const dir;
            make_with(dir, down + part, {64});
            harness_flags f = flags_for(dir, false);
            INFO(part);
            CHECK_THAT(why_not(f), Catch::Contains("model.safetensors") &&
                                       Catch::Contains(down + part) &&
                                       Catch::Contains("under a quantized linear"));
            CHECK_FALSE(std::filesystem::exists(dir.path() / "out"));
            f.output.kind = export_kind::none;
            std::string notes;
            for (std::string const& note : go(f).notes) {  // nothing is written that it disturbs
                notes += note + "\n";
            }
            bool const scale = std::string(part) == ".weight_scale";
            CHECK_THAT(notes, Catch::Contains("not understood, nothing reads them"));
            CHECK((notes.find("which are read without them: " + down + part) != notes.npos) ==
                  (scale || std::string(part) == ".weight_packed"));
            if (std::string(part) == ".extra.weight") {
                continue;  // beside a plain linear it may stay
            }
            f.output.kind = export_kind::realquant;
            f.ignore = std::vector<std::string>{"lm_head", down};
            bool const bias = std::string(part) == ".bias";
            CHECK((why_not(f) == "") == bias);
            if (bias) {
                CHECK(findings(dir.path() / "out", {}, {}) == "");
                CHECK(ignored(dir.path() / "out") == std::vector<std::string>{down, "lm_head"});
            }
        }
    }
    SECTION("elsewhere: copied, and no module around it is left out of the conversion") {
        for (char const* const name : {"model.layers.1.self_attn.k_scale", "model.foo", "foo",
                                       "model.layers.1.foo", "model.layers.1.mlp.norm.weight"}) {
            temporary_directory const dir;
            make_with(dir, name, {2});
            INFO(name);
            CHECK(why_not(flags_for(dir, false)) == "");
            CHECK(checkpoint(dir.path() / "out").contains(name));
            CHECK(ignored(dir.path() / "out") == head);
            CHECK(findings(dir.path() / "out", {}, {}) == "");
        }
    }
    SECTION("a linear of its own is listed, unless its name would take others along") {
        temporary_directory const dir;
        make_with(dir, "model.visual.proj.weight", {4, 2});
        CHECK(why_not(flags_for(dir, true)) == "");
        CHECK(checkpoint(dir.path() / "out")
                  .config()["quantization_config"]["modules_to_not_convert"] ==
              std::vector<std::string>{"lm_head", "model.visual.proj"});
        for (char const* const name : {"down_proj.weight", "model.layers.1.weight"}) {
            temporary_directory const other;
            make_with(other, name, {4, 2});
            CHECK_THAT(why_not(flags_for(other, true)),
                       Catch::Contains(name) && Catch::Contains("no part of model.layers."));
        }
    }
    SECTION("what clients look for anywhere in a name is refused where they do") {
        temporary_directory const dir;
        make_with(dir, "layers.1.mlp.weight", {4, 2});
        harness_flags f = flags_for(dir, false);
        f.scheme.family = format_family::nvfp;
        CHECK(why_not(f) == "");
        f.output.layout = "modelopt";
        f.output.directory = dir.path() / "m";
        CHECK_THAT(why_not(f),
                   Catch::Contains("no part of " + std::string("model.layers.1.mlp.")) &&
                       Catch::Contains("found layers.1.mlp"));
        f.model = dir.path() / "n";
        make_tiny_checkpoint(f.model, {});
        CHECK(why_not(f) == "");
        CHECK(findings(dir.path() / "m", {}, {}) == "");
        CHECK_THAT(findings(dir.path() / "m", {},
                            [](nlohmann::json& c) {
                                c["quantization_config"]["ignore"].push_back("layers.1.mlp.up");
                            }),
                   Catch::Contains("'layers.1.mlp.up' is a part of the name of"));
    }
    SECTION("parts of quantized linears where there is none, and names that are patterns") {
        for (auto const& [name, shape] :
             std::vector<std::pair<std::string, std::vector<std::uint64_t>>>{
                 {"model.embed_tokens.weight_scale", {1}},
                 {"model.norm.weight_scale", {1}},
                 {"foo.input_scale", {1}},
                 {"Linear.weight", {4, 2}},
                 {"re:.*.weight", {4, 2}},
                 {"model.layers.0.mlp.*.weight", {4, 2}}}) {
            temporary_directory const dir;
            make_with(dir, name, shape);
            INFO(name);
            CHECK_THAT(
                why_not(flags_for(dir, false)),
                Catch::StartsWith("tensor that no export can keep") && Catch::Contains(name));
            CHECK_FALSE(std::filesystem::exists(dir.path() / "out"));
        }
    }
}

TEST_CASE("an export whose only quantized module is the head is read back", "[pipeline]") {
    temporary_directory const dir;
    tiny_checkpoint_options options;
    options.tied = false;
    make_tiny_checkpoint(dir.path() / "model", options);
    harness_flags f = flags_for(dir, false);
    f.scheme.w_bits = 16;
    f.rules = {"lm_head=nvfp4a16"};
    CHECK(go(f).linears.size() == 1);
    CHECK(findings(f.output.directory, {}, {}) == "");
    model_on_cpu const model(cpu{1}, f.output.directory, shipped_architectures);
    CHECK(model.is_quantized());
}

TEST_CASE("a fault that a run finds in what it wrote ends it, and what is known before it, before",
          "[pipeline]") {
    temporary_directory const dir;
    auto const out = export_of(dir, false);
    harness_flags f = flags_for(dir, false);
    std::vector<std::string> notes;
    run_plan const plan = plan_run(cpu{1}, recipe_of(f, notes), shipped_architectures);
    model_on_cpu const model(cpu{1}, plan.model, shipped_architectures);
    run_report report;
    CHECK_NOTHROW(check_written(plan, model, out, {}, report));
    auto const without_act = [](std::filesystem::path const& file) {
        nlohmann::json config = nlohmann::json::parse(read_text(file));
        config["hidden_act"] = nullptr;
        write_text(file, config.dump());
    };
    without_act(out / "config.json");
    CHECK_THROWS_WITH(check_written(plan, model, out, {}, report),
                      Catch::StartsWith("written checkpoint has a fault: " + out.string()) &&
                          Catch::Contains("hidden_act"));
    without_act(dir.path() / "model" / "config.json");
    f.output.directory = dir.path() / "new";
    CHECK_THAT(why_not(f), Catch::StartsWith("config that no client can load"));
    CHECK_FALSE(std::filesystem::exists(dir.path() / "new"));
    make_tiny_checkpoint(dir.path() / "model", {});
    write_text(dir.path() / "model" / "generation_config.json", "{");
    CHECK_THAT(why_not(f), Catch::Contains("generation_config.json"));
}

TEST_CASE("plain tensors of another type of floats than the config says are one warning",
          "[pipeline]") {
    temporary_directory const dir;
    auto const out = export_of(dir, false);
    CHECK(findings(out, {}, {}, true) == "");
    raw_tensor const norm{"model.norm.weight", dtype::f32, {64}, std::string(256, '\0')};
    CHECK(findings(out, with(norm), {}) == "");
    CHECK(findings(out, with(norm), {}, true) ==
          "warning: tensor 'model.norm.weight': expected BF16 as config.json says, found F32\n");
    CHECK_THAT(findings(
                   out, {}, [](auto& config) { config["torch_dtype"] = "float16"; }, true),
               Catch::Contains("expected F16 as config.json says, found BF16 (and "));
}
