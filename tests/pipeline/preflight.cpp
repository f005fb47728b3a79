// SPDX-License-Identifier: Apache-2.0
// What is found before the first layer, and by a rehearsal that writes nothing.
#include "fpq/pipeline/memory.hpp"

#include <cstddef>
#include <filesystem>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "catch.hpp"
#include "pipeline/line.hpp"
#include "support/tiny_checkpoint.hpp"

using namespace fpq;
using namespace fpq_test;

namespace {

recipe recipe_for(std::filesystem::path const& model, bool calibrated) {
    harness_flags f = small_run(format_family::mxfp);
    f.model = model;
    f.evaluation = {};
    f.gptq = calibrated;
    if (!calibrated) {
        f.calibration.dataset.clear();
    }
    std::vector<std::string> notes;
    return recipe_of(f, notes);
}

/// The line of the error that ends both a rehearsal and a run of `r`; neither did a step before.
std::string refusal_of(recipe const& r) {
    cpu const b{2};
    auto const caught = [&](auto const& f) -> std::string {
        std::size_t steps = 0;
        try {
            f([&](progress_event const& e) { steps += e.phase == "quantize" ? 1 : 0; });
        } catch (error const& e) {
            CHECK(steps == 0);
            return e.what();
        }
        return "accepted";
    };
    std::string const rehearsed = caught([&](progress_sink const& progress) {
        run_plan plan = plan_run(b, r, shipped_architectures);
        (void)rehearse(b, plan, shipped_architectures, progress);
    });
    std::string const ran = caught([&](progress_sink const& progress) {
        (void)run(b, plan_run(b, r, shipped_architectures), shipped_architectures, progress);
    });
    CHECK(rehearsed == ran);
    return ran;
}

}  // namespace

TEST_CASE("a fault of the last tensors is found before the first layer", "[pipeline]") {
    struct damage {
        char const* tensor;
        std::function<void(raw_tensor&)> edit;
        char const* word;
    };
    auto const put = [](float value) {
        return [value](raw_tensor& t) {
            std::string bytes;
            append_value(bytes, t.type, value);
            t.bytes.replace(t.bytes.size() - bytes.size(), bytes.size(), bytes);
        };
    };
    auto const misshape = [](raw_tensor& t) {
        t.shape.front() -= 1;
        t.bytes.resize(t.bytes.size() / (t.shape.front() + 1) * t.shape.front());
    };
    auto const retype = [](raw_tensor& t) {
        t.type = dtype::f8_e4m3;
        t.bytes.resize(t.bytes.size() / 2);
    };
    float const nan = std::numeric_limits<float>::quiet_NaN();
    for (damage const& d : std::vector<damage>{
             {"model.layers.1.mlp.down_proj.weight", put(nan), "non-finite weight"},
             {"model.layers.1.self_attn.q_proj.bias", put(nan), "non-finite weight"},
             {"model.layers.1.post_attention_layernorm.weight",
              put(std::numeric_limits<float>::infinity()), "non-finite weight"},
             {"model.norm.weight", put(nan), "non-finite weight"},
             {"lm_head.weight", put(nan), "non-finite weight"},
             {"model.layers.1.mlp.down_proj.weight", misshape, "wrong shape"},
             {"model.layers.1.self_attn.q_proj.bias", misshape, "wrong shape"},
             {"model.norm.weight", misshape, "wrong shape"},
             {"model.layers.1.mlp.up_proj.weight", retype, "wrong type"},
             {"model.layers.1.input_layernorm.weight", retype, "wrong type"}}) {
        temporary_directory const dir;
        tiny_checkpoint_options options;
        options.model_type = "qwen2";
        options.tied = false;
        options.edit = [&](raw_tensor& t) {
            if (t.name == d.tensor) {
                d.edit(t);
            }
        };
        make_tiny_checkpoint(dir.path(), options);
        INFO(d.tensor << " " << d.word);
        std::string const line = refusal_of(recipe_for(dir.path(), false));
        CHECK_THAT(line, Catch::Contains(d.tensor) && Catch::Contains(d.word));
    }
}

TEST_CASE("texts, tokenizers and files that cannot be read are found first", "[pipeline]") {
    temporary_directory const dir;
    tiny_checkpoint_options options;
    options.vocabulary = 4096;
    make_tiny_checkpoint(dir.path(), options);
    recipe r = recipe_for(dir.path(), true);
    CHECK_THAT(refusal_of(r), Catch::Contains("tokenizer"));
    r.calibration.dataset = "self";
    CHECK_THAT(refusal_of(r), Catch::Contains("tokenizer"));
    r.model = repo_model("tiny-llama");
    r.calibration.dataset = (dir.path() / "nowhere.txt").string();
    CHECK_THAT(refusal_of(r), Catch::Contains("nowhere.txt"));
    r = recipe_for(repo_model("tiny-llama"), true);
    r.evaluation.perplexity = true;
    r.evaluation.texts = {dir.path() / "absent.txt"};
    CHECK_THAT(refusal_of(r), Catch::Contains("absent.txt"));
    r = recipe_for(dir.path(), false);
    r.output.kind = export_kind::realquant;
    r.output.directory = dir.path() / "out";
    std::filesystem::create_directory(dir.path() / "chat_template.json");
    std::filesystem::remove(dir.path() / "generation_config.json");
    std::filesystem::create_symlink("/dev/full", dir.path() / "generation_config.json");
    CHECK(refusal_of(r) == "accepted");  // neither is a regular file: neither is carried over
    r.output.directory = dir.path();
    CHECK_THAT(refusal_of(r), Catch::Contains("output is the input"));
    CHECK_FALSE(std::filesystem::exists(dir.path() / "out.partial"));
}

TEST_CASE("weights and files that no run of ours wrote are not replaced", "[pipeline]") {
    temporary_directory const dir;
    make_tiny_checkpoint(dir.path() / "model", {});
    std::filesystem::path const out = dir.path() / "out";
    recipe r = recipe_for(dir.path() / "model", false);
    r.output.kind = export_kind::realquant;
    r.output.directory = out;
    make_tiny_checkpoint(out, {});
    std::string const theirs = read_text(out / "model.safetensors");
    std::string const line = refusal_of(r);
    CHECK_THAT(line, Catch::StartsWith("bad output directory") &&
                         Catch::Contains("a checkpoint that fpq-quantize did not write"));
    write_text(out / "recipe.json", R"({"recipe": "of somebody else"})");
    CHECK(refusal_of(r) == line);
    CHECK(read_text(out / "model.safetensors") == theirs);
    std::filesystem::rename(out / "model.safetensors", out / "pytorch_model.bin");
    CHECK_THAT(refusal_of(r), Catch::Contains("out/pytorch_model.bin: expected no weights"));
    std::filesystem::remove(out / "pytorch_model.bin");
    CHECK_THAT(refusal_of(r), Catch::Contains("out/recipe.json: expected no file of that name"));
    for (char const* const name : {"config.json", "generation_config.json", "recipe.json"}) {
        std::filesystem::remove(out / name);
    }
    write_text(out / "notes.txt", "theirs");  // no name of ours
    CHECK(refusal_of(r) == "accepted");
    CHECK(refusal_of(r) == "accepted");  // onto an export of ours
    CHECK(read_text(out / "notes.txt") == "theirs");
}

TEST_CASE("a run that needs more memory than the machine has says so, in the dry run too",
          "[pipeline]") {
    CHECK(memory_note(5 << 20, 5 << 20).empty());
    CHECK(memory_note(5 << 20, 0).empty());
    CHECK_THAT(memory_note(std::uint64_t{6} << 20, 5 << 20),
               Catch::Contains("about 6 MiB of memory, this machine has 5"));
    REQUIRE(machine_memory() > std::uint64_t{64} << 20);
    temporary_directory const dir;
    make_tiny_checkpoint(dir.path() / "model", {});
    recipe r = recipe_for(dir.path() / "model", true);
    cpu const b{1};
    auto const notes = [&] {
        std::size_t found = 0;
        for (std::string const& note : plan_run(b, r, shipped_architectures).notes) {
            found += note.find("of memory, this machine has") != std::string::npos ? 1 : 0;
        }
        return found;
    };
    CHECK(notes() == 0);
    r.calibration.num_sequences = std::size_t{1} << 20;
    r.calibration.sequence_length = std::size_t{1} << 15;
    CHECK(notes() == 1);
}
