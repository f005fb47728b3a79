// SPDX-License-Identifier: Apache-2.0
// What a run leaves on record: the recipe and the model card of an export, the report, and the
// figures of each text of an evaluation.
#include "fpq/pipeline/recipe_json.hpp"

#include <cstddef>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "catch.hpp"
#include "fpq/pipeline/report_json.hpp"
#include "pipeline/line.hpp"
#include "support/files.hpp"

using namespace fpq;
using fpq_test::go;
using fpq_test::read_text;
using fpq_test::small_run;
using fpq_test::temporary_directory;

TEST_CASE("an export carries its recipe and a model card, the same wherever it ran", "[pipeline]") {
    temporary_directory const out;
    harness_flags f = small_run(format_family::nvfp);
    f.output.kind = export_kind::realquant;
    f.output.directory = out.path() / "one";
    run_report const report = go(f);
    f.output.directory = out.path() / "two";
    f.threads = 1;
    (void)go(f);
    for (char const* const name : {"README.md", "recipe.json"}) {
        std::string const text = fpq_test::read_text(out.path() / "one" / name);
        CHECK(text == fpq_test::read_text(out.path() / "two" / name));
        CHECK(text.find(f.model.parent_path().string()) == std::string::npos);
    }
    std::string const card = fpq_test::read_text(out.path() / "one" / "README.md");
    CHECK(card.starts_with("---\nbase_model: \"tiny-llama\"\n"));
    CHECK(card.find(fmt::format("{:.4f}", report.evaluation->perplexity)) != std::string::npos);
    CHECK(card.find("compressed-tensors") != std::string::npos);
    recipe again = recipe_from_json(
        nlohmann::json::parse(fpq_test::read_text(out.path() / "one" / "recipe.json")), "recipe");
    CHECK(again.model == "tiny-llama");
    CHECK(again.calibration.dataset == "calib.txt");
    std::vector<std::string> notes;
    recipe const first = recipe_of(f, notes);
    again.model = first.model;
    again.calibration.dataset = first.calibration.dataset;
    again.evaluation.texts = first.evaluation.texts;
    again.output.directory = first.output.directory;
    again.threads = first.threads;
    CHECK(to_json(again) == to_json(first));
}

TEST_CASE("texts of an evaluation are told apart as well as together", "[pipeline]") {
    std::vector<std::filesystem::path> const texts{
        fpq_test::repo_dir() / "examples" / "text" / "eval.txt",
        fpq_test::repo_dir() / "examples" / "text" / "calib.txt"};
    harness_flags f = small_run(format_family::mxfp);
    f.calibration.dataset.clear();
    f.evaluation.windows = 2;
    f.evaluation.texts = texts;
    eval_result const both = *go(f).evaluation;
    REQUIRE(both.texts.size() == 2);
    double sum = 0.0;
    for (std::size_t i = 0; i < 2; ++i) {
        f.evaluation.texts = {texts[i]};
        eval_result const alone = *go(f).evaluation;
        CHECK(alone.texts.empty());
        eval_result const& apart = both.texts[i];
        CHECK(apart.text == texts[i].string());
        CHECK(apart.perplexity == alone.perplexity);
        CHECK(apart.reference_perplexity == alone.reference_perplexity);
        CHECK(apart.kl_mean == alone.kl_mean);
        CHECK(apart.top1_agreement == alone.top1_agreement);
        CHECK(apart.targets == alone.targets);
        sum += apart.kl_mean * static_cast<double>(apart.targets);
    }
    CHECK(sum / static_cast<double>(both.targets) == Approx(both.kl_mean));
    nlohmann::json const json = to_json(both);
    REQUIRE(json.at("texts").size() == 2);
    CHECK(to_json(eval_result_from(json)) == json);
}

TEST_CASE("a report replays to the same bytes", "[pipeline]") {
    temporary_directory const out;
    harness_flags f = small_run(format_family::nvfp);
    f.scheme.a_bits = 4;
    f.scheme.w_observer = scale_rule::sweep;
    f.gptq = true;
    f.order = quant_order::activation;
    f.rel_damp = 0.003;
    f.polish = 1;
    f.rules = {"re:.*mlp\\.down_proj$=mxfp4"};
    f.output.kind = export_kind::realquant;
    f.output.directory = out.path() / "first";
    nlohmann::json const report = to_json(go(f));
    for (char const* const key :
         {"version", "commit", "processor", "threads", "phases", "layout"}) {
        CHECK(report.contains(key));
    }
    recipe again = recipe_from_json(report, "report");
    CHECK(again.output.directory == f.output.directory);
    again.output.directory = out.path() / "second";
    nlohmann::json const second = to_json(go(again, shipped_architectures));
    CHECK(read_text(out.path() / "first" / "model.safetensors") ==
          read_text(out.path() / "second" / "model.safetensors"));
    CHECK(read_text(out.path() / "first" / "config.json") ==
          read_text(out.path() / "second" / "config.json"));
    CHECK(report.at("linears") == second.at("linears"));
    CHECK(report.at("evaluation") == second.at("evaluation"));
}
