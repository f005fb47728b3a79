// SPDX-License-Identifier: Apache-2.0
// Tensors that the model does not read, and what a run knows of them before its first layer.
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "catch.hpp"
#include "line/work.hpp"
#include "pipeline/line.hpp"
#include "pipeline/models.hpp"
#include "pipeline/spoiled_export.hpp"
#include "support/tiny_checkpoint.hpp"

using namespace fpq;
using namespace fpq_test;

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
    // Neither came with the model.
    CHECK_THAT(findings(dir.path() / "out", with(bf16_values("lm_head.bias", 4096, "\0\0")), {}),
               Catch::Contains("lm_head.bias"));
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
