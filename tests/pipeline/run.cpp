// SPDX-License-Identifier: Apache-2.0
// The whole line on the small trained model of the repository, on text sampled from it.
#include "fpq/pipeline/run.hpp"

#include <filesystem>
#include <string>
#include <vector>

#include "catch.hpp"
#include "fpq/io/file/mapped_file.hpp"
#include "support/shared_data.hpp"

using namespace fpq;

namespace {

std::filesystem::path model_dir() {
    return fpq_test::repo_dir() / "examples" / "models" / "tiny-llama";
}

/// A directory that goes with the test.
struct scratch_dir {
    scratch_dir() {
        static int count = 0;
        path = std::filesystem::temp_directory_path() /
               ("fpq-run-" + std::to_string(::getpid()) + "-" + std::to_string(count++));
        std::filesystem::create_directories(path);
    }
    ~scratch_dir() {
        std::error_code ignored;
        std::filesystem::remove_all(path, ignored);
    }
    scratch_dir(scratch_dir const&) = delete;
    scratch_dir& operator=(scratch_dir const&) = delete;
    std::filesystem::path path;
};

recipe small(format_family family) {
    recipe r;
    r.model = model_dir();
    r.dataset = (fpq_test::repo_dir() / "examples" / "text" / "calib.txt").string();
    r.sequence_length = 96;
    r.num_sequences = 8;
    r.family = family;
    r.threads = 2;
    r.eval_perplexity = true;
    r.eval_data = {fpq_test::repo_dir() / "examples" / "text" / "eval.txt"};
    r.eval_windows = 4;
    return r;
}

run_report go(recipe r) {
    settle(r);
    return run(r, [](progress_event const&) {});
}

/// KL of a written checkpoint to the original on the windows of `r`.
double written_kl(recipe const& r) {
    opened_model const written(r.save_path);
    opened_model const original(r.model);
    evaluation_text const text{r.eval_data, r.sequence_length, 0, r.eval_windows, true};
    return evaluate_models(written, &original, load_evaluation_windows(r.model, text), 2,
                           [](progress_event const&) {})
        .kl_mean;
}

std::vector<std::byte> file_bytes(std::filesystem::path const& path) {
    mapped_file const file(path);
    return {file.bytes().begin(), file.bytes().end()};
}

}  // namespace

TEST_CASE("a realquant and a pseudoquant export are the same model", "[pipeline]") {
    for (format_family const family : {format_family::nvfp, format_family::mxfp}) {
        for (int const a_bits : {4, 16}) {
            scratch_dir const out;
            recipe r = small(family);
            r.a_bits = a_bits;
            r.transform = transform_kind::hadamard;
            r.transform_block = 32;
            r.exported = export_kind::realquant;
            r.save_path = out.path / "real";
            double const in_run = go(r).evaluation->kl_mean;
            double const real = written_kl(r);
            r.exported = export_kind::pseudoquant;
            r.save_path = out.path / "pseudo";
            (void)go(r);
            INFO(family_name(family) << " a_bits " << a_bits);
            REQUIRE(real > 0.0);
            REQUIRE(std::fabs(written_kl(r) - real) < 1e-6);
            // The run used the rotation as the file holds it, in bf16.
            REQUIRE(std::fabs(in_run - real) < 1e-6);
        }
    }
}

TEST_CASE("what the other dialects hold evaluates as the run did", "[pipeline]") {
    struct one {
        format_family family;
        dialect layout;
        int a_bits;
    };
    for (one const& c : {one{format_family::nvfp, dialect::compressed_tensors, 4},
                         one{format_family::nvfp, dialect::compressed_tensors, 16},
                         one{format_family::mxfp, dialect::compressed_tensors, 4},
                         one{format_family::mxfp, dialect::compressed_tensors, 16},
                         one{format_family::nvfp, dialect::modelopt, 4}}) {
        scratch_dir const out;
        recipe r = small(c.family);
        r.a_bits = c.a_bits;
        r.layout = c.layout;
        r.exported = export_kind::realquant;
        r.save_path = out.path / "out";
        run_report const report = go(r);
        INFO(dialect_name(c.layout) << " " << family_name(c.family) << " a_bits " << c.a_bits);
        REQUIRE(std::fabs(written_kl(r) - report.evaluation->kl_mean) < 1e-6);
        for (std::string const& note : report.notes) {
            INFO(note);
            REQUIRE((!note.starts_with("verify: ") || note.starts_with("verify: warning: ")));
        }
    }
}

TEST_CASE("the bytes of a run do not depend on the number of threads", "[pipeline]") {
    scratch_dir const out;
    recipe r = small(format_family::nvfp);
    r.a_bits = 4;
    r.gptq = true;
    r.order = quant_order::activation;
    r.w_observer = scale_rule::sweep;
    r.exported = export_kind::realquant;
    r.threads = 1;
    r.save_path = out.path / "one";
    (void)go(r);
    r.threads = 3;
    r.save_path = out.path / "three";
    (void)go(r);
    REQUIRE(file_bytes(out.path / "one" / "model.safetensors") ==
            file_bytes(out.path / "three" / "model.safetensors"));
}

TEST_CASE("GPTQ on the model's own text beats rounding, and the sweep beats minmax", "[pipeline]") {
    recipe r = small(format_family::nvfp);
    r.num_sequences = 32;
    double const rounded = go(r).evaluation->kl_mean;
    r.gptq = true;
    r.order = quant_order::activation;
    double const solved = go(r).evaluation->kl_mean;
    r.w_observer = scale_rule::sweep;
    double const swept = go(r).evaluation->kl_mean;
    REQUIRE(solved < rounded);
    REQUIRE(swept < solved);
}

TEST_CASE("fused linears share their global scales", "[pipeline]") {
    recipe r = small(format_family::nvfp);
    r.a_bits = 4;
    r.eval_perplexity = false;
    run_report const report = go(r);
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
    recipe r = small(format_family::nvfp);
    r.dataset = "self";
    r.gptq = true;
    r.sequence_length = 24;
    r.num_sequences = 4;
    r.eval_perplexity = false;
    run_report const report = go(r);
    REQUIRE(report.calibration_tokens == 96);
    REQUIRE(report.linears.front().relative_error.has_value());
}

TEST_CASE("a plan names every tensor once, and its bytes are those written", "[pipeline]") {
    scratch_dir const out;
    recipe r = small(format_family::nvfp);
    r.exported = export_kind::realquant;
    r.save_path = out.path / "out";
    r.eval_perplexity = false;
    settle(r);
    run_plan const plan = plan_run(r);
    checkpoint const source(r.model);
    REQUIRE(plan.entries.size() == source.names().size());
    (void)go(r);
    REQUIRE(checkpoint(r.save_path).total_bytes() == plan.output_bytes);
    std::string const text = describe_plan(plan);
    REQUIRE(text.find("model.layers.3.mlp.down_proj.weight") != std::string::npos);
    REQUIRE(text.find("quantize") != std::string::npos);
}

TEST_CASE("a block that does not divide a width is refused by the linear's name", "[pipeline]") {
    recipe r = small(format_family::nvfp);
    r.transform = transform_kind::hadamard;
    r.transform_block = 512;
    settle(r);
    try {
        (void)plan_run(r);
        FAIL("accepted");
    } catch (error const& e) {
        REQUIRE(std::string(e.what()).find(
                    "hadamard_group_size: model.layers.0.self_attn.q_proj") != std::string::npos);
    }
}

TEST_CASE("a run that fails half-way leaves nothing under the final name", "[pipeline]") {
    scratch_dir const out;
    recipe r = small(format_family::nvfp);
    r.exported = export_kind::realquant;
    r.save_path = out.path / "out";
    r.eval_data = {out.path / "missing.txt"};
    settle(r);
    REQUIRE_THROWS_AS(run(r, [](progress_event const&) {}), error);
    REQUIRE(std::filesystem::is_empty(out.path));
}
