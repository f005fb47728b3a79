// SPDX-License-Identifier: Apache-2.0
// The whole line on the small trained model of the repository, on text sampled from it.
#include "fpq/pipeline/line.hpp"

#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include "catch.hpp"
#include "fpq/pipeline/report_json.hpp"
#include "pipeline/line.hpp"
#include "support/dialects.hpp"
#include "support/files.hpp"

using namespace fpq;
using fpq_test::go;
using fpq_test::read_text;
using fpq_test::small_run;
using fpq_test::temporary_directory;
using fpq_test::written_kl;

namespace {

run_plan plan_of(harness_flags const& f) {
    std::vector<std::string> notes;
    return plan_run(cpu{2}, recipe_of(f, notes), shipped_architectures);
}

}  // namespace

TEST_CASE("a realquant and a pseudoquant export are the same model", "[pipeline]") {
    for (format_family const family : {format_family::nvfp, format_family::mxfp}) {
        temporary_directory const out;
        harness_flags f = small_run(family);
        f.scheme.a_bits = 4;
        f.scheme.transform = transform_kind::hadamard;
        f.scheme.transform_block = 32;
        f.output.kind = export_kind::realquant;
        f.output.directory = out.path() / "real";
        run_report const report = go(f);
        CHECK(report.layout == "fp_quant");  // the only one that rotates
        double const in_run = report.evaluation->kl_mean;
        double const real = written_kl(f);
        f.output.kind = export_kind::pseudoquant;
        f.output.directory = out.path() / "pseudo";
        (void)go(f);
        INFO(name_of(family));
        REQUIRE(real > 0.0);
        REQUIRE(std::fabs(written_kl(f) - real) < 1e-6);
        // The run used the rotation as the file holds it, in bf16.
        REQUIRE(std::fabs(in_run - real) < 1e-6);
    }
}

TEST_CASE("every preset in every dialect evaluates alike with an export and without",
          "[pipeline]") {
    for (std::string const& layout : fpq_test::dialect_names()) {
        for (preset const& p : presets) {
            temporary_directory const out;
            harness_flags f = small_run(format_family::nvfp);
            f.calibration.num_sequences = 1;
            f.calibration.sequence_length = 24;
            f.evaluation.windows = 1;
            std::vector<std::string> notes;
            recipe r = recipe_of(f, notes);
            scale_rule const mx = layout == "fp_quant" ? scale_rule::fp_quant : scale_rule::even;
            scheme& how = r.rules.front().how;
            how.weight = quant_args{p.weight, scale_rule::minmax, mx, true, false};
            how.input.reset();
            if (p.input) {
                how.input = quant_args{*p.input, scale_rule::minmax, mx, true, true};
            }
            double const without = go(r, shipped_architectures).evaluation->kl_mean;
            r.output = {export_kind::realquant, layout, out.path() / "out", std::uint64_t{1} << 30};
            f.output = r.output;
            INFO(layout << " " << p.name);
            run_report report;
            try {
                report = go(r, shipped_architectures);
            } catch (error const& why) {
                CHECK(why.category() == error_category::usage);
                CHECK(std::string(why.what()).starts_with(layout + " cannot hold this"));
                continue;
            }
            CHECK(report.evaluation->kl_mean == without);  // to the bit
            CHECK(std::fabs(written_kl(f) - without) < 1e-6);
            for (std::string const& note : report.notes) {
                INFO(note);
                CHECK((!note.starts_with("verify: ") || note.starts_with("verify: warning: ")));
            }
        }
    }
}

TEST_CASE("the bytes of a run do not depend on the number of threads", "[pipeline]") {
    temporary_directory const out;
    harness_flags f = small_run(format_family::nvfp);
    f.scheme.a_bits = 4;
    f.gptq = true;
    f.order = quant_order::activation;
    f.scheme.w_observer = scale_rule::sweep;
    f.output.kind = export_kind::realquant;
    f.threads = 1;
    f.output.directory = out.path() / "one";
    (void)go(f);
    f.threads = 3;
    f.output.directory = out.path() / "three";
    (void)go(f);
    REQUIRE(read_text(out.path() / "one" / "model.safetensors") ==
            read_text(out.path() / "three" / "model.safetensors"));
}

TEST_CASE("each method improves on the one before", "[pipeline]") {
    harness_flags f = small_run(format_family::nvfp);
    f.calibration.num_sequences = 24;
    f.evaluation.windows = 4;
    double const rounded = go(f).evaluation->kl_mean;
    f.polish = 2;  // after rounding, too
    double const descended = go(f).evaluation->kl_mean;
    f.polish = 0;
    f.gptq = true;
    f.order = quant_order::activation;
    double const solved = go(f).evaluation->kl_mean;
    f.scheme.w_observer = scale_rule::sweep;
    run_report const sweep = go(f);
    f.joint = 1;
    run_report const joint = go(f);
    for (std::size_t i = 0; i < sweep.linears.size(); ++i) {
        REQUIRE(joint.linears[i].module == sweep.linears[i].module);
    }
    REQUIRE(*joint.linears.front().relative_error < 0.99 * *sweep.linears.front().relative_error);
    double const swept = sweep.evaluation->kl_mean;
    REQUIRE(descended < rounded);
    REQUIRE(solved < rounded);
    REQUIRE(swept < solved);
}

TEST_CASE("fused linears share their global scales", "[pipeline]") {
    harness_flags f = small_run(format_family::nvfp);
    f.scheme.a_bits = 4;
    f.evaluation.perplexity = false;
    run_report const report = go(f);
    REQUIRE(report.linears.size() == 28);
    for (std::size_t layer = 0; layer < 4; ++layer) {
        linear_report const* const l = report.linears.data() + layer * 7;
        REQUIRE(l[0].global_scale == l[1].global_scale);
        REQUIRE(l[0].global_scale == l[2].global_scale);
        REQUIRE(l[4].global_scale == l[5].global_scale);
        REQUIRE(l[0].input_global_scale == l[2].input_global_scale);
        REQUIRE(l[4].input_global_scale == l[5].input_global_scale);
    }
}

TEST_CASE("calibration text can be sampled from the model itself", "[pipeline]") {
    harness_flags f = small_run(format_family::nvfp);
    f.calibration.dataset = "self";
    f.gptq = true;
    f.calibration.sequence_length = 24;
    f.calibration.num_sequences = 4;
    f.evaluation.perplexity = false;
    run_report const report = go(f);
    REQUIRE(report.calibration_tokens == 96);
    REQUIRE(report.linears.front().relative_error.has_value());
}

TEST_CASE("a plan names every tensor once, and its bytes are those written", "[pipeline]") {
    temporary_directory const out;
    harness_flags f = small_run(format_family::nvfp);
    f.output.kind = export_kind::realquant;
    f.output.directory = out.path() / "out";
    f.evaluation.perplexity = false;
    run_plan plan = plan_of(f);
    checkpoint const source(f.model);
    REQUIRE(plan.entries.size() == source.names().size());
    (void)go(f);
    REQUIRE(checkpoint(f.output.directory).total_bytes() == plan.output->bytes);
    std::string const text =
        describe_plan(plan, rehearse(cpu{2}, plan, shipped_architectures, fpq_test::no_progress));
    REQUIRE(text.find("model.layers.3.mlp.down_proj.weight") != std::string::npos);
    REQUIRE(text.find("quantize") != std::string::npos);
}

TEST_CASE("a block that does not divide a width is refused by the linear's name", "[pipeline]") {
    harness_flags f = small_run(format_family::nvfp);
    f.scheme.transform = transform_kind::hadamard;
    f.scheme.transform_block = 512;
    REQUIRE_THROWS_WITH(plan_of(f),
                        Catch::Contains("hadamard_group_size: model.layers.0.self_attn.q_proj"));
}

TEST_CASE("a run that fails half-way leaves nothing under the final name", "[pipeline]") {
    temporary_directory const out;
    harness_flags f = small_run(format_family::nvfp);
    f.output.kind = export_kind::realquant;
    f.output.directory = out.path() / "out";
    f.evaluation.texts = {out.path() / "missing.txt"};
    REQUIRE_THROWS_AS(go(f), error);
    REQUIRE(std::filesystem::is_empty(out.path()));
}

TEST_CASE("a run that streams rows writes what one that holds layers writes", "[pipeline]") {
    temporary_directory const out;
    for (format_family const family : {format_family::nvfp, format_family::mxfp}) {
        for (int const threads : {1, 3}) {
            harness_flags f = small_run(family);
            f.calibration.dataset.clear();
            f.evaluation.windows = 1;
            f.threads = threads;
            f.output.kind = export_kind::realquant;
            f.output.directory = out.path() / "layers";  // the evaluation needs layers
            run_report const slow = go(f);
            f.evaluation.perplexity = false;
            f.output.directory = out.path() / "rows";
            run_report const fast = go(f);
            CHECK(read_text(out.path() / "rows" / "model.safetensors") ==
                  read_text(out.path() / "layers" / "model.safetensors"));
            CHECK(fast.quantized_bytes == slow.quantized_bytes);
            CHECK(fast.quantized_values == slow.quantized_values);
            REQUIRE(fast.linears.size() == slow.linears.size());
            for (std::size_t i = 0; i < fast.linears.size(); ++i) {
                CHECK(fast.linears[i].module == slow.linears[i].module);
                CHECK(fast.linears[i].global_scale == slow.linears[i].global_scale);
                CHECK(fast.linears[i].sqnr_db.value() ==
                      Approx(slow.linears[i].sqnr_db.value()).epsilon(1e-6));
            }
        }
    }
}

TEST_CASE("hidden states over the host's budget lie in a file, and nothing else changes",
          "[pipeline]") {
    temporary_directory const dir;
    harness_flags f = small_run(format_family::nvfp);
    f.gptq = true;
    f.output.kind = export_kind::realquant;
    f.output.directory = dir.path() / "memory";
    run_report const in_memory = go(f);
    CHECK(in_memory.hidden_states == "memory");
    f.output.directory = dir.path() / "file";
    std::vector<std::string> notes;
    cpu const b{2, {0, 1}};
    run_report const in_file = run(b, plan_run(b, recipe_of(f, notes), shipped_architectures),
                                   shipped_architectures, fpq_test::no_progress);
    CHECK(in_file.hidden_states == "a mapped file");
    CHECK(to_json(in_file).at("hidden_states") == "a mapped file");
    CHECK(in_file.evaluation->kl_mean == in_memory.evaluation->kl_mean);
    CHECK(read_text(dir.path() / "file" / "model.safetensors") ==
          read_text(dir.path() / "memory" / "model.safetensors"));
}
