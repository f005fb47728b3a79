// SPDX-License-Identifier: Apache-2.0
// Paths as the system has them, bytes of any kind: no name of a file costs the work of a run.
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "catch.hpp"
#include "fpq/io/json/json_file.hpp"
#include "pipeline/programs.hpp"
#include "support/tiny_checkpoint.hpp"

using namespace fpq_test;

TEST_CASE("paths that are not UTF-8 are escaped in every JSON file, and come back from a recipe",
          "[tools]") {
    if (!have_programs()) {
        return;
    }
    temporary_directory const dir;
    std::string const at = dir.path().string();
    std::string const text = at + "/t\xff\\xff.txt";
    std::string const model = at + "/m\xe9";
    std::filesystem::copy_file(example_text("eval.txt"), text);
    std::filesystem::copy(example_model(), model);
    // A side file of such a name goes along.
    write_text(model + "/side\xfe.txt", "side");
    outcome const run = run_program(
        "fpq-quantize --model_name_or_path " + model + " --dataset_name_or_path '" + text +
        "' --format nvfp --w_bits 4 --gptq --sequence_length 64 --num_sequences 4" +
        " --eval_perplexity --eval_windows 2 --eval_data '" + text +
        "' --export_quantized_model realquant --save_path " + at + "/o\xfd --report " + at +
        "/r.json --save_recipe " + at + "/recipe.json");
    INFO(run.text);
    REQUIRE(run.code == 0);
    CHECK(run.says("KL to original"));
    CHECK(std::filesystem::exists(at + "/o\xfd/side\xfe.txt"));
    nlohmann::json const report = fpq::read_json_file(at + "/r.json");
    CHECK(report["recipe"]["model"] == at + "/m\\xe9");
    CHECK(report["recipe"]["evaluation"]["texts"][0] == at + "/t\\xff\\x5cxff.txt");
    outcome const again =
        run_program("fpq-quantize --recipe " + at + "/recipe.json --save_path " + at + "/again");
    INFO(again.text);
    CHECK(again.code == 0);
    CHECK(read_text(at + "/again/model.safetensors") == read_text(at + "/o\xfd/model.safetensors"));
    outcome const kl =
        run_program("fpq-evaluate --model " + at + "/o\xfd --reference " + model + " --text '" +
                    text + "' --sequence_length 64 --max_windows 2" + " --json " + at + "/e.json");
    INFO(kl.text);
    REQUIRE(kl.code == 0);
    CHECK(fpq::read_json_file(at + "/e.json")["model"] == at + "/o\\xfd");
    outcome const seen = run_program("fpq-inspect " + at + "/o\xfd --json --summary");
    CHECK(fpq::parse_json(seen.text, "json")["checkpoint"] == at + "/o\\xfd");
}

TEST_CASE("the figures of a run are printed whatever becomes of its report", "[tools]") {
    if (!have_programs()) {
        return;
    }
    temporary_directory const dir;
    // Enough for what is asked before the run, too little for the report itself.
    outcome const run =
        run_program("fpq-quantize --model_name_or_path " + example_model() +
                        " --format nvfp --w_bits 4 --report " + (dir.path() / "r.json").string(),
                    "ulimit -f 10; ");
    INFO(run.text);
    CHECK(run.code == 3);
    CHECK(run.says("bits per weight"));
    CHECK(run.says("cannot write"));
    CHECK(std::filesystem::is_empty(dir.path()));
}

TEST_CASE("no report or recipe takes the name under which a checkpoint is written", "[tools]") {
    if (!have_programs()) {
        return;
    }
    temporary_directory const dir;
    std::string const at = dir.path().string();
    std::string const run = "fpq-quantize --model_name_or_path " + example_model() +
                            " --format nvfp --w_bits 4 --export_quantized_model realquant"
                            " --save_path " +
                            at + "/out --dry_run ";
    std::filesystem::create_directory(dir.path() / "out.partial");
    for (std::string const file :
         {"out", "out.partial", "out.partial/r.json", "out/.fpq-partial", "./out/../out.partial"}) {
        for (std::string const flag : {"report", "save_recipe"}) {
            outcome const refused = run_program(run + "--" + flag + " " + at + "/" + file);
            INFO(file << ": " << refused.text);
            CHECK(refused.code == 2);
            CHECK(refused.says("one where the checkpoint is written"));
        }
    }
    CHECK(run_program(run + "--save_recipe " + at + "/r.json").code == 0);
    std::filesystem::remove(dir.path() / "out.partial");
    outcome const below = run_program(run + "--report " + at + "/out/sub/r.json");
    CHECK(below.code == 2);
    CHECK(below.says("report: " + at + "/out/sub/r.json: expected another directory"));
}

TEST_CASE("what lies in the staging place and is not ours is not called work to go on with",
          "[tools]") {
    if (!have_programs()) {
        return;
    }
    temporary_directory const dir;
    std::filesystem::create_directory(dir.path() / "out.partial");
    write_text(dir.path() / "out.partial" / "theirs.txt", "theirs");
    outcome const run = run_program("fpq-quantize --model_name_or_path " + example_model() +
                                    " --format nvfp4 --save_path " + (dir.path() / "out").string());
    INFO(run.text);
    CHECK(run.code == 3);
    CHECK(run.says("directory in the way"));
    CHECK_FALSE(run.says("the same command goes on"));
}

TEST_CASE("too few descriptors end a run in one line, and nothing is left", "[tools]") {
    if (!have_programs()) {
        return;
    }
    temporary_directory const dir;
    int failed = 0;
    for (int const most : {4, 5, 6, 7, 8, 10, 12}) {
        auto const out = dir.path() / ("out" + std::to_string(most));
        outcome const run = run_program("fpq-quantize --model_name_or_path " + example_model() +
                                            " --format nvfp --w_bits 4 --max_shard_size 200000"
                                            " --export_quantized_model realquant --save_path " +
                                            out.string(),
                                        "ulimit -n " + std::to_string(most) + "; exec ");
        INFO(most << ": " << run.text);
        CHECK_FALSE(std::filesystem::exists(out.string() + ".partial"));
        CHECK(std::filesystem::exists(out) == (run.code == 0));
        CHECK_FALSE(run.says("filesystem error"));
        failed += run.code == 0 ? 0 : 1;
    }
    CHECK(failed > 0);
}

TEST_CASE("no path or name of a file reaches a table as a terminal would obey it", "[tools]") {
    if (!have_programs()) {
        return;
    }
    temporary_directory const dir;
    std::string const out = dir.path().string() + "/new\nline-out";
    std::string const arguments = "fpq-quantize --model_name_or_path " + example_model() +
                                  " --format nvfp --w_bits 4 --export_quantized_model realquant"
                                  " --save_path '" +
                                  out + "'";
    for (std::string const last : {" --dry_run", " --verbose"}) {
        outcome const run = run_program(arguments + last);
        INFO(run.text);
        CHECK(run.code == 0);
        CHECK(run.says("new?line-out"));
        CHECK_FALSE(run.says("new\nline"));
    }
    write_text(out + "/model-a\nb.safetensors", "");
    outcome const seen = run_program("fpq-inspect '" + out + "' --summary --verify");
    INFO(seen.text);
    CHECK(seen.says("stale shard model-a?b.safetensors"));
}
