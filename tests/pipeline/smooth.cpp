// SPDX-License-Identifier: Apache-2.0
// Runs with --smooth: what is written is what the run evaluated, at any number of threads and
// ranks; an interrupted run goes on; what cannot have scales is named.
#include "fpq/backend/cpu/cpu.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include "catch.hpp"
#include "fpq/core/hosted/error.hpp"
#include "fpq/core/hosted/ranks.hpp"
#include "fpq/graph/families.hpp"
#include "fpq/io/safetensors/checkpoint.hpp"
#include "fpq/pipeline/line.hpp"
#include "fpq/pipeline/report_json.hpp"
#include "line/calls.hpp"
#include "pipeline/line.hpp"
#include "support/files.hpp"
#include "support/shared_data.hpp"
#include "support/tiny_checkpoint.hpp"

using namespace fpq;
using fpq_test::go;
using fpq_test::read_text;
using fpq_test::small_run;
using fpq_test::temporary_directory;
using fpq_test::written_kl;

namespace {

harness_flags smooth_run(format_family family, smooth_rule rule) {
    harness_flags f = small_run(family);
    f.calibration.dataset = (fpq_test::repo_dir() / "examples" / "text" / "calib.txt").string();
    f.calibration.num_sequences = 2;
    f.evaluation.windows = 1;
    f.scheme.a_bits = 4;
    f.smooth = rule;
    return f;
}

run_plan plan_of(harness_flags const& f) {
    std::vector<std::string> notes;
    return plan_run(cpu{1}, recipe_of(f, notes), shipped_architectures);
}

std::string why_not(harness_flags const& f) {
    try {
        (void)plan_of(f);
    } catch (fpq::error const& why) {
        return why.what();
    }
    return {};
}

bool says(std::vector<std::string> const& notes, std::string const& part) {
    return std::any_of(notes.begin(), notes.end(), [&](std::string const& note) {
        return note.find(part) != std::string::npos;
    });
}

}  // namespace

TEST_CASE("a smoothed export is what the run evaluated, in every layout that holds it",
          "[pipeline]") {
    struct row {
        format_family family;
        smooth_rule rule;
        bool gptq;
        char const* layout;
    };
    bool any = false;
    for (row const& r : {row{format_family::nvfp, smooth_rule::smoothquant, true, "auto"},
                         row{format_family::mxfp, smooth_rule::awq, false, "compressed-tensors"},
                         row{format_family::nvfp, smooth_rule::awq, false, "modelopt"}}) {
        temporary_directory const out;
        harness_flags f = smooth_run(r.family, r.rule);
        f.gptq = r.gptq;
        run_report const without = go(f);
        f.output = {export_kind::realquant, r.layout, out.path() / "out", std::uint64_t{1} << 30};
        run_report const report = go(f);  // which verifies what was written
        INFO(r.layout);
        CHECK(report.evaluation->kl_mean == without.evaluation->kl_mean);
        CHECK(std::fabs(written_kl(f) - report.evaluation->kl_mean) < 1e-6);
        checkpoint const written(f.output.directory);
        checkpoint const source(f.model);
        std::string const norm = "model.layers.0.input_layernorm.weight";
        CHECK(written.at(norm).type == source.at(norm).type);
        REQUIRE(report.linears.front().module == "model.layers.0.self_attn.q_proj");
        bool const scaled = report.linears.front().smooth_alpha.has_value();
        bool const same = load_floats(written.at(norm)) == load_floats(source.at(norm));
        CHECK(same != scaled);
        any = any || scaled;
        CHECK(load_floats(written.at("model.norm.weight")) ==
              load_floats(source.at("model.norm.weight")));
        CHECK(says(report.notes, "scales are folded into the inputs of"));
        for (linear_report const& line : report.linears) {
            INFO(line.module);
            REQUIRE(line.smooth_error_ratio);
            CHECK(*line.smooth_error_ratio <= 1.0);
            CHECK((*line.smooth_error_ratio < 1.0) == line.smooth_alpha.has_value());
            linear_report const back = linear_report_from(to_json(line));
            CHECK(back.smooth_alpha == line.smooth_alpha);
            CHECK(back.smooth_error_ratio == line.smooth_error_ratio);
        }
    }
    CHECK(any);
}

TEST_CASE("a fixed exponent is that of every input, also where none would be better",
          "[pipeline]") {
    harness_flags f = smooth_run(format_family::mxfp, smooth_rule::smoothquant);
    f.evaluation.perplexity = false;
    f.smooth_alpha = 0.75;
    for (linear_report const& line : go(f).linears) {
        CHECK(line.smooth_alpha == 0.75);
    }
}

TEST_CASE("the bytes of a smoothed run depend neither on threads nor on ranks", "[pipeline]") {
    temporary_directory const out;
    harness_flags f = smooth_run(format_family::nvfp, smooth_rule::awq);
    f.gptq = true;
    f.evaluation.perplexity = false;
    f.output.kind = export_kind::realquant;
    f.threads = 1;
    f.output.directory = out.path() / "one";
    (void)go(f);
    f.threads = 3;
    f.output.directory = out.path() / "three";
    (void)go(f);
    f.output.directory = out.path() / "ranks";
    std::vector<std::string> notes;
    recipe const r = recipe_of(f, notes);
    on_thread_ranks(thread_ranks(2), 2, [&](rank_group& ranks) {
        cpu const b{1};
        (void)run(b, plan_run(b, r, shipped_architectures), shipped_architectures,
                  fpq_test::no_progress, ranks);
    });
    std::string const one = read_text(out.path() / "one" / "model.safetensors");
    CHECK(read_text(out.path() / "three" / "model.safetensors") == one);
    CHECK(read_text(out.path() / "ranks" / "model.safetensors") == one);
}

TEST_CASE("biases are divided with the rows that they are added to", "[pipeline]") {
    temporary_directory const dir;
    fpq_test::tiny_checkpoint_options options;
    options.model_type = "qwen2";
    options.tokenizer = fpq_test::repo_model("tiny-llama") / "tokenizer.json";
    options.vocabulary = 4096;
    harness_flags f = smooth_run(format_family::mxfp, smooth_rule::smoothquant);
    f.model = make_tiny_checkpoint(dir.path() / "qwen2", options);
    f.smooth_alpha = 0.5;
    f.output = {export_kind::realquant, "auto", dir.path() / "out", std::uint64_t{1} << 30};
    run_report const report = go(f);
    CHECK(std::fabs(written_kl(f) - report.evaluation->kl_mean) < 1e-6);
    checkpoint const written(f.output.directory);
    checkpoint const source(f.model);
    for (char const* const name : {"v_proj.bias", "q_proj.bias"}) {
        std::string const bias = std::string("model.layers.1.self_attn.") + name;
        CHECK((load_floats(written.at(bias)) != load_floats(source.at(bias))) ==
              (std::string(name) == "v_proj.bias"));
    }
}

TEST_CASE("inputs that nothing quantized makes have no scales, and a note says so", "[pipeline]") {
    harness_flags f = smooth_run(format_family::mxfp, smooth_rule::awq);
    f.rules = {"re:.*up_proj$=bf16", "re:.*gate_proj$=bf16"};
    run_plan const plan = plan_of(f);
    CHECK(says(plan.notes,
               "--smooth: nothing quantized makes the inputs of "
               "model.layers.0.mlp.down_proj and 3 more: they have no scales"));
    CHECK(plan.smoothing.acts());
    auto const action = [&](std::string const& tensor) {
        return std::find_if(plan.entries.begin(), plan.entries.end(),
                            [&](plan_entry const& e) { return e.tensor == tensor; })
            ->action;
    };
    CHECK(action("model.layers.0.input_layernorm.weight") == tensor_action::fold);
    CHECK(action("model.layers.0.post_attention_layernorm.weight") == tensor_action::copy);
    CHECK(action("model.norm.weight") == tensor_action::copy);
    f.rules = {"re:.*(q|k|v|up|gate)_proj$=bf16"};
    CHECK_FALSE(plan_of(f).smoothing.acts());
}

TEST_CASE("what smoothing cannot go with is refused by name", "[pipeline]") {
    harness_flags f = smooth_run(format_family::mxfp, smooth_rule::awq);
    f.calibration.dataset.clear();
    CHECK(why_not(f).find("dataset_name_or_path: --smooth needs calibration text") == 0);
    f = smooth_run(format_family::mxfp, smooth_rule::awq);
    f.gptq = f.two_sided = true;
    CHECK(why_not(f) == "smooth: expected --objective output beside it, found two_sided");
    f = smooth_run(format_family::mxfp, smooth_rule::awq);
    f.smooth_alpha = 1.5;
    CHECK(why_not(f).find("smooth_alpha: expected a number from 0 to 1") == 0);
}

TEST_CASE("a rotation comes after the scales and is searched with them", "[pipeline]") {
    temporary_directory const out;
    harness_flags f = smooth_run(format_family::mxfp, smooth_rule::smoothquant);
    f.scheme.transform = transform_kind::hadamard;
    f.scheme.transform_block = 32;
    f.output = {export_kind::realquant, "fp_quant", out.path() / "out", std::uint64_t{1} << 30};
    run_report const report = go(f);
    CHECK(std::fabs(written_kl(f) - report.evaluation->kl_mean) < 1e-6);
}
