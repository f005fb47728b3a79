// SPDX-License-Identifier: Apache-2.0
// Figures of a run: null where nothing was measured, an error where nothing could be.
#include "fpq/pipeline/low_sqnr.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "fpq/pipeline/report.hpp"
#include "fpq/pipeline/report_json.hpp"
#include "pipeline/models.hpp"
#include "support/tiny_checkpoint.hpp"

using namespace fpq;
using namespace fpq_test;

namespace {

/// A model with tiny-llama's tokenizer; `edit` sees its tensors.
void make_model(std::filesystem::path const& path, std::function<void(raw_tensor&)> edit) {
    tiny_checkpoint_options options;
    options.vocabulary = 4096;
    options.tokenizer = repo_model("tiny-llama") / "tokenizer.json";
    options.edit = std::move(edit);
    make_tiny_checkpoint(path, options);
}

harness_flags flags_for(std::filesystem::path const& model, bool calibrated) {
    harness_flags f = small_run(format_family::nvfp);
    f.model = model;
    f.evaluation = {};
    f.gptq = calibrated;
    f.calibration.sequence_length = 32;
    f.calibration.num_sequences = 2;
    if (!calibrated) {
        f.calibration.dataset.clear();
    }
    return f;
}

auto zero(std::string const& name) {
    return [name](raw_tensor& t) {
        if (t.name == name) {
            t.bytes.assign(t.bytes.size(), '\0');
        }
    };
}

}  // namespace

TEST_CASE("inputs that are 0 for every token end a GPTQ run with the linear's name", "[pipeline]") {
    struct row {
        char const* tensor;
        char const* module;
    };
    for (row const& r : {row{"model.layers.1.input_layernorm.weight", "layers.1.self_attn.q_proj"},
                         row{"model.layers.0.self_attn.v_proj.weight", "layers.0.self_attn.o_proj"},
                         row{"model.layers.0.mlp.up_proj.weight", "layers.0.mlp.down_proj"}}) {
        temporary_directory const dir;
        make_model(dir.path(), zero(r.tensor));
        try {
            (void)go(flags_for(dir.path(), true));
            FAIL("no error");
        } catch (error const& why) {
            CHECK(why.exit_code() == 4);
            CHECK_THAT(why.what(), Catch::Contains(r.module));
        }
    }
}

TEST_CASE("what was not measured is null in the report, and is read back", "[pipeline]") {
    temporary_directory const dir;
    std::string const module = "model.layers.0.self_attn.o_proj";
    make_model(dir.path(), zero(module + ".weight"));
    for (bool const calibrated : {false, true}) {
        run_report const report = go(flags_for(dir.path(), calibrated));
        for (linear_report const& l : report.linears) {
            nlohmann::json const j = to_json(l);
            INFO(j.dump());
            bool const empty = l.module == module;
            CHECK(j.at("sqnr_db").is_null() == empty);
            CHECK(j.at("worst_row_sqnr_db").is_null() == empty);
            CHECK(j.at("relative_error").is_null() == (empty || !calibrated));
            CHECK(to_json(linear_report_from(j)) == j);
        }
    }
}

TEST_CASE("a run that another has finished tells what that one told", "[pipeline]") {
    run_report first;
    first.notes = {"layout: fp_quant", "strikingly low SQNR", "verify: module 'a'"};
    run_report second;
    second.notes = {"layout: fp_quant"};
    take_results(nlohmann::json::parse(to_json(first).dump()), second);
    CHECK(second.notes == first.notes);
}

TEST_CASE("bits per weight of a pseudoquant export are those of its format", "[pipeline]") {
    temporary_directory const dir;
    make_model(dir.path() / "model", {});
    harness_flags f = flags_for(dir.path() / "model", false);
    f.scheme.family = format_family::mxfp;
    f.scheme.a_bits = 4;
    f.output.kind = export_kind::pseudoquant;
    f.output.layout = "fp_quant";
    f.output.directory = dir.path() / "out";
    run_report const report = go(f);
    cpu const b{1};
    model_on_cpu const written(b, f.output.directory, shipped_architectures);
    CHECK(std::fabs(report.bits_per_weight() - written.bits_per_weight()) < 1e-9);
    CHECK(report.bits_per_weight() < 5.0);
    CHECK(written.stored_bits_per_weight() == 16.0);
    CHECK(report.is_pseudoquant());
    CHECK_THAT(read_text(f.output.directory / "README.md"), Catch::Contains("stored decoded"));
    f.output.kind = export_kind::realquant;
    f.output.directory = dir.path() / "real";
    CHECK_FALSE(go(f).is_pseudoquant());
    model_on_cpu const real(b, f.output.directory, shipped_architectures);
    CHECK(real.stored_bits_per_weight() == real.bits_per_weight());
}

TEST_CASE("windows that the model was not made for are told", "[model]") {
    model_config config;
    config.max_position = 64;
    CHECK(config.long_windows(65).empty());  // a default, which config.json does not say
    config.says_max_position = true;
    CHECK(config.long_windows(64).empty());
    CHECK_THAT(config.long_windows(65), Catch::Contains("max_position_embeddings 64"));
}

TEST_CASE("linears of a strikingly low SQNR are told in one note, by their format", "[pipeline]") {
    auto const line = [](char const* module, std::optional<double> sqnr) {
        linear_report l;
        l.module = module;
        l.sqnr_db = sqnr;
        return l;
    };
    auto const note = [](std::vector<linear_report> const& all, double bits) {
        return low_sqnr_note(all, [&](linear_report const&) { return bits; });
    };
    CHECK(note({line("a", 8.8), line("b", std::nullopt), line("c", 40.0)}, 4.5).empty());
    CHECK_THAT(note({line("a", 8.7), line("c", 40.0)}, 4.5),
               Catch::Contains("1 of 2 linears: a 8.70 dB (usual: above 8.8)"));
    CHECK_FALSE(note({line("a", 8.8)}, 8.25).empty());
    CHECK(note({line("a", 4.0)}, 2.25).empty());
    std::string const many =
        note({line("a", 1.0), line("b", 2.0), line("c", 3.0), line("d", 0.5)}, 4.5);
    CHECK_THAT(many, Catch::Contains("linears: d 0.50 dB") && !Catch::Contains("c 3.00") &&
                         Catch::EndsWith(", ..."));
}

TEST_CASE("a run tells which linears lost strikingly much, and says nothing of usual ones",
          "[pipeline]") {
    temporary_directory const dir;
    // One large value a row and the rest just below half a step.
    make_model(dir.path(), [](raw_tensor& t) {
        if (t.name != "model.layers.1.mlp.up_proj.weight") {
            return;
        }
        for (std::size_t i = 0; i < t.bytes.size() / 2; ++i) {
            bool const large = i % t.shape[1] == 0;
            t.bytes[2 * i] = static_cast<char>(large ? 0xc8 : 0xd0);
            t.bytes[2 * i + 1] = static_cast<char>(large ? 0x42 : 0x40);
        }
    });
    harness_flags f = flags_for(dir.path(), false);
    f.scheme.family = format_family::integer;
    f.scheme.symmetric = true;
    std::vector<std::string> low;
    for (std::string const& note : go(f).notes) {
        if (note.find("strikingly low") != std::string::npos) {
            low.push_back(note);
        }
    }
    REQUIRE(low.size() == 1);
    CHECK_THAT(low[0], Catch::Contains("in 1 of 14 linears: model.layers.1.mlp.up_proj 6."));
}
