// SPDX-License-Identifier: Apache-2.0
// Schemes by module: which rule counts, what is refused by name, and mixed exports.
#include <map>
#include <string>
#include <vector>

#include "catch.hpp"
#include "pipeline/line.hpp"
#include "support/tiny_checkpoint.hpp"

using namespace fpq;
using fpq_test::go;
using fpq_test::small_run;
using fpq_test::temporary_directory;

namespace {

run_plan plan_of(harness_flags const& f) {
    std::vector<std::string> notes;
    return plan_run(cpu{2}, recipe_of(f, notes), shipped_architectures);
}

std::string why_not(harness_flags const& f) {
    try {
        (void)plan_of(f);
    } catch (error const& why) {
        CHECK(why.category() == error_category::usage);
        return why.what();
    }
    return {};
}

bool has(std::string const& text, std::string const& part) {
    UNSCOPED_INFO(text);
    return text.find(part) != std::string::npos;
}

/// Element of every quantized linear by the plan.
std::map<std::string, std::string> elements(harness_flags const& f) {
    run_plan const plan = plan_of(f);
    std::map<std::string, std::string> out;
    for (plan_entry const& e : plan.entries) {
        if (e.action == tensor_action::quantize) {
            out[e.tensor] = e.why;
        }
    }
    return out;
}

}  // namespace

TEST_CASE("the last rule that matches counts, and ignore beats rules", "[pipeline]") {
    harness_flags f = small_run(format_family::nvfp);
    CHECK(elements(f).size() == 28);
    f.rules = {"re:.*down_proj$=mxfp8a16", "model.layers.1.mlp.down_proj=mxfp4a16",
               "model.layers.2.mlp.down_proj=bf16"};
    f.ignore = std::vector<std::string>{"lm_head", "re:model\\.layers\\.3\\.mlp\\."};
    auto const found = elements(f);
    CHECK(found.size() == 28 - 1 - 3);
    CHECK(found.at("model.layers.0.mlp.up_proj.weight") == "e2m1 e4m3");
    CHECK(found.at("model.layers.0.mlp.down_proj.weight") == "e4m3 e8m0");
    CHECK(found.at("model.layers.1.mlp.down_proj.weight") == "e2m1 e8m0");
    CHECK_FALSE(found.contains("model.layers.2.mlp.down_proj.weight"));
}

TEST_CASE("rules that cannot be are refused by module", "[pipeline]") {
    harness_flags f = small_run(format_family::nvfp);
    f.rules = {"re:.*k_proj=mxfp4a16"};
    CHECK(has(why_not(f),
              "model.layers.0.self_attn.q_proj and model.layers.0.self_attn.k_proj "
              "(engines fuse them): expected one scheme"));
    f.rules = {"re:.*up_proj=bf16"};
    CHECK(has(why_not(f), "model.layers.0.mlp.gate_proj and model.layers.0.mlp.up_proj"));
    f.rules = {"re:.*nothing=mxfp4a16"};
    CHECK(has(why_not(f), "rule: re:.*nothing: expected a pattern that some linear matches"));
    f.rules = {"model.embed_tokens=nvfp4a16"};
    CHECK(has(why_not(f), "--ignore it"));
    f.rules = {"re:(=nvfp4a16"};
    CHECK(has(why_not(f), "pattern 're:(' is not understood: byte 4"));
    f.rules.clear();
    f.ignore = std::vector<std::string>{};
    CHECK(has(why_not(f), "lm_head to stay as it is (it is tied to the embedding"));
}

TEST_CASE("a rule that nothing is left for is told", "[pipeline]") {
    auto const notes = [](harness_flags const& f) {
        std::string all;
        for (std::string const& note : plan_of(f).notes) {
            all += note + "\n";
        }
        return all;
    };
    harness_flags f = small_run(format_family::nvfp);
    CHECK(notes(f).empty());
    f.rules = {"re:.*down_proj=mxfp8a16", "re:.*down=mxfp4a16"};
    CHECK(notes(f) == "rule re:.*down_proj does nothing: all that it matches has a later rule\n");
    f.rules = {"Linear=mxfp4a16"};
    CHECK(has(notes(f), "rule Linear does nothing: all that it matches has a later rule"));
    f.rules = {"re:.*down_proj=mxfp8a16"};
    f.ignore = std::vector<std::string>{"lm_head", "re:.*down_proj"};
    CHECK(notes(f) ==
          "rule re:.*down_proj does nothing: all that it matches has a later rule or stays by "
          "--ignore\n");
    f.rules = {"lm_head=mxfp8a16"};
    CHECK(has(notes(f), "rule lm_head does nothing"));
    f.ignore.reset();
    CHECK(has(why_not(f), "rule: lm_head: expected lm_head to stay as it is (it is tied"));
    // A baseline that leaves all as it is overrides nothing.
    f.scheme.w_bits = 16;
    f.rules = {"Linear=mxfp4a16"};
    CHECK(notes(f).empty());
    f.ignore = std::vector<std::string>{"Linear"};
    CHECK(has(notes(f), "nothing is quantized: --ignore and rules leave no module"));
    f.ignore.reset();
    f.rules.clear();
    CHECK(has(notes(f), "nothing is quantized: no rule has a format"));
    // bf16 is no scheme for an embedding.
    f = small_run(format_family::nvfp);
    f.rules = {"re:.*embed.*=bf16"};
    CHECK(notes(f).empty());
}

TEST_CASE("layouts hold a plan or refuse it by module and flag", "[pipeline]") {
    temporary_directory const out;
    harness_flags f = small_run(format_family::mxfp);
    f.output = {export_kind::realquant, "modelopt", out.path() / "m", 1 << 30};
    CHECK(has(why_not(f),
              "modelopt cannot hold this: model.layers.0.self_attn.q_proj: format: "
              "expected nvfp4, found mxfp4"));
    f.output.layout = "compressed-tensors";
    f.scheme.mx_rule = scale_rule::fp_quant;
    CHECK(has(why_not(f), "mx_rule: expected even"));
    f.scheme.mx_rule.reset();
    CHECK(plan_of(f).output->layout->name == "compressed-tensors");
    f.output.layout = "auto";
    CHECK(plan_of(f).output->layout->name == "compressed-tensors");
    f.scheme.transform = transform_kind::hadamard;
    f.scheme.transform_block = 32;
    // The clients of fp_quant quantize inputs whatever the weights were solved for.
    CHECK(has(why_not(f), "a_bits: expected 4 (clients run it as W4A4; without --transform_class"));
    f.scheme.a_bits = 4;
    run_plan const rotated = plan_of(f);
    CHECK(rotated.output->layout->name == "fp_quant");
    CHECK(has(rotated.notes.at(0), "layout: fp_quant (compressed-tensors cannot hold this"));
    // By name MXFP4 is written, with a note; NVFP4 would lack the global scale of inputs.
    f.scheme.transform = transform_kind::identity;
    f.scheme.a_bits = 16;
    f.output.layout = "fp_quant";
    CHECK(has(plan_of(f).notes.at(0), "its clients run fp_quant as W4A4"));
    f.scheme.family = format_family::nvfp;
    CHECK(has(why_not(f), "compressed-tensors holds W4A16), found 16"));
    f.scheme.family = format_family::mxfp;
    f.output.layout = "auto";
    f.scheme.a_bits = 4;
    f.scheme.transform = transform_kind::dct;
    CHECK(has(why_not(f),
              "no layout can hold this: transform_class: expected identity, hadamard or "
              "gsr, found dct"));
    f = small_run(format_family::integer);
    f.output = {export_kind::realquant, "auto", out.path() / "m", 1 << 30};
    CHECK(has(why_not(f), "format"));
    // Inputs alone are in no file: the export would not be what was measured.
    f = small_run(format_family::mxfp);
    f.scheme.w_bits = 16;
    f.scheme.a_bits = 4;
    f.rules = {"re:.*down_proj=mxfp8"};
    CHECK(plan_of(f).schemes.size() == 2);
    f.output = {export_kind::realquant, "auto", out.path() / "m", 1 << 30};
    for (char const* const layout : {"auto", "compressed-tensors", "fp_quant", "modelopt"}) {
        f.output.layout = layout;
        CHECK(has(why_not(f),
                  "hold this: model.layers.0.self_attn.q_proj: expected quantized weights"));
    }
    f.output.directory.clear();
    CHECK(has(why_not(f), "save_path"));
    f = small_run(format_family::nvfp);
    f.calibration.dataset.clear();
    f.evaluation.perplexity = false;
    f.scheme.a_bits = 4;
    CHECK(has(why_not(f), "dataset_name_or_path: nvfp inputs"));
    f.scheme.a_bits = 16;
    f.gptq = true;
    CHECK(has(why_not(f), "dataset_name_or_path: GPTQ"));
    f.gptq = false;
    f.polish = 1;
    CHECK(has(why_not(f), "dataset_name_or_path: polish"));
    f.joint = 1;
    CHECK(has(why_not(f), "dataset_name_or_path: joint"));
    f = small_run(format_family::nvfp);
    f.gptq = f.two_sided = true;
    f.calibration.dataset.clear();
    f.evaluation.perplexity = false;
    CHECK(has(why_not(f), "dataset_name_or_path: two_sided needs calibration text"));
}

TEST_CASE("a transform without quantization is not run, with an export or without", "[pipeline]") {
    temporary_directory const out;
    harness_flags f = small_run(format_family::mxfp);
    f.scheme.w_bits = 16;
    f.scheme.transform = transform_kind::hadamard;
    f.scheme.transform_block = 32;
    CHECK(plan_of(f).schemes.empty());
    f.rules = {"re:.*down_proj=mxfp4"};
    f.output = {export_kind::realquant, "auto", out.path() / "m", 1 << 30};
    run_plan const plan = plan_of(f);
    CHECK(plan.schemes.size() == 1);
    CHECK(plan.output->linears.linears.size() == 4);
}

TEST_CASE("a mixed export is written, verified and evaluated as the run did", "[pipeline]") {
    temporary_directory const out;
    harness_flags f = small_run(format_family::nvfp);
    f.scheme.a_bits = 4;
    f.gptq = true;
    f.rules = {"re:.*down_proj$=mxfp8", "re:model\\.layers\\.0\\.=nvfp4a16"};
    f.ignore = std::vector<std::string>{"lm_head", "model.layers.3.self_attn.o_proj"};
    f.output = {export_kind::realquant, "auto", out.path() / "m", 1 << 30};
    run_report const report = go(f);
    CHECK(report.layout == "compressed-tensors");
    CHECK(report.linears.size() == 27);
    for (std::string const& note : report.notes) {
        INFO(note);
        CHECK_FALSE(note.starts_with("verify: "));
    }
    CHECK(std::fabs(fpq_test::written_kl(f) - report.evaluation->kl_mean) < 1e-6);
    checkpoint const written(f.output.directory);
    nlohmann::json const& q = written.config()["quantization_config"];
    CHECK(q["format"] == "mixed-precision");
    CHECK(q["config_groups"].size() == 3);
    CHECK(q["ignore"] == std::vector<std::string>{"model.layers.3.self_attn.o_proj", "lm_head"});
}

TEST_CASE("an untied head is a module like others", "[pipeline]") {
    temporary_directory const out;
    // tiny-llama with its embedding written a second time as the head.
    std::filesystem::path const model = out.path() / "untied";
    std::filesystem::copy(fpq_test::repo_model("tiny-llama"), model);
    checkpoint const source(fpq_test::repo_model("tiny-llama"));
    std::vector<fpq_test::raw_tensor> tensors;
    for (std::string const& name : source.names()) {
        tensor_ref const& t = source.at(name);
        std::string const bytes(reinterpret_cast<char const*>(t.bytes.data()), t.bytes.size());
        tensors.push_back({name, t.type, t.shape, bytes});
        if (name == "model.embed_tokens.weight") {
            tensors.push_back({"lm_head.weight", t.type, t.shape, bytes});
        }
    }
    fpq_test::write_text(model / "model.safetensors", fpq_test::safetensors_bytes(tensors));
    nlohmann::json config = source.config();
    config["tie_word_embeddings"] = false;
    fpq_test::write_text(model / "config.json", config.dump());

    harness_flags f = small_run(format_family::nvfp);
    f.model = model;
    f.scheme.a_bits = 4;
    double const without = go(f).evaluation->kl_mean;
    f.ignore = std::vector<std::string>{};
    for (bool const gptq : {false, true}) {
        f.gptq = gptq;
        f.output = {export_kind::realquant, "auto", out.path() / (gptq ? "g" : "r"), 1 << 30};
        run_report const report = go(f);
        CHECK(report.linears.size() == 29);
        CHECK(report.linears.back().module == "lm_head");
        CHECK(report.linears.back().relative_error.has_value() == gptq);
        if (!gptq) {
            CHECK(report.evaluation->kl_mean > without);
        }
        CHECK(std::fabs(fpq_test::written_kl(f) - report.evaluation->kl_mean) < 1e-6);
        CHECK(checkpoint(f.output.directory).contains("lm_head.weight_packed"));
    }
    f.output.layout = "fp_quant";
    CHECK(has(why_not(f),
              "fp_quant cannot hold this: lm_head: expected an unquantized head "
              "(--ignore lm_head)"));
}
