// SPDX-License-Identifier: Apache-2.0
// fpq-evaluate from outside: what it refuses, notes and writes.
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "catch.hpp"
#include "fpq/io/json/json_file.hpp"
#include "pipeline/programs.hpp"
#include "support/tiny_checkpoint.hpp"

using namespace fpq_test;

namespace {

std::string evaluate(std::string const& model) {
    return "fpq-evaluate --model " + model + " --sequence_length 64 --max_windows 2 ";
}

std::string of_text() { return " --text " + example_text("eval.txt"); }

}  // namespace

TEST_CASE("a reference with another tokenizer is refused, one without any is noted", "[tools]") {
    if (!have_programs()) {
        return;
    }
    temporary_directory const dir;
    std::string const model = example_model("tiny-llama");
    outcome const other =
        run_program(evaluate(model) + "--reference " + example_model("tiny-qwen3") + of_text());
    INFO(other.text);
    CHECK(other.code == 3);
    CHECK(other.says("reference with another tokenizer"));
    CHECK_FALSE(other.says("KL mean"));
    auto const bare = dir.path() / "bare";
    std::filesystem::copy(model, bare);
    std::filesystem::remove(bare / "tokenizer.json");
    nlohmann::json config = fpq::read_json_file(bare / "config.json");
    config["max_position_embeddings"] = 32;
    write_text(bare / "config.json", config.dump());
    outcome const none = run_program(evaluate(model) + "--reference " + bare.string() + of_text());
    INFO(none.text);
    CHECK(none.code == 0);
    CHECK(none.says("note: the reference has no tokenizer"));
    CHECK(none.says("note: reference: windows of 64"));
}

TEST_CASE("programs say what a pseudoquant export holds beside the bits of its format", "[tools]") {
    if (!have_programs()) {
        return;
    }
    temporary_directory const dir;
    std::string const out = (dir.path() / "out").string();
    outcome const run = run_program("fpq-quantize --model_name_or_path " + example_model() +
                                    " --format mxfp --w_bits 4 --a_bits 4 --export_format fp_quant"
                                    " --export_quantized_model pseudoquant --save_path " +
                                    out + " --report " + out + ".json");
    INFO(run.text);
    REQUIRE(run.code == 0);
    CHECK(run.says("(pseudoquant: decoded values in the file)"));
    CHECK(fpq::read_json_file(out + ".json")["stored_bits_per_weight"] == 16.0);
    CHECK(run_program(evaluate(out) + of_text()).says("(pseudoquant: 16.0000 in the file)"));
    CHECK(run_program("fpq-inspect --summary " + out).says("(pseudoquant: 16.0000 in the file)"));
}

TEST_CASE("texts without a window and texts given twice are noted, and the results name all",
          "[tools]") {
    if (!have_programs()) {
        return;
    }
    temporary_directory const dir;
    std::string const at = dir.path().string();
    write_text(dir.path() / "short.txt", "Too short.");
    write_text(dir.path() / "empty.txt", "");
    std::string const few = " --text " + at + "/short.txt --text " + at + "/empty.txt";
    std::string const json = " --bos never --json " + at + "/r.json";
    outcome const one = run_program(evaluate(example_model()) + few + of_text() + json);
    INFO(one.text);
    REQUIRE(one.code == 0);
    CHECK(one.says("short.txt plays no part in the evaluation"));
    CHECK(one.says("empty.txt plays no part in the evaluation"));
    nlohmann::json found = fpq::read_json_file(dir.path() / "r.json");
    CHECK(found["texts"].size() == 3);
    CHECK(found["texts"][0]["text"] == at + "/short.txt");
    CHECK(found["texts"][0]["targets"] == 0);
    CHECK(found["texts"][2]["text"] == example_text("eval.txt"));
    CHECK(found["texts"][2]["perplexity"] == found["perplexity"]);
    CHECK(found["max_windows"] == 2);
    CHECK(found["max_characters"] == 0);
    CHECK(found["bos"] == "never");
    CHECK(found["reference"].is_null());
    CHECK(found["version"].is_string());
    outcome const twice = run_program(evaluate(example_model()) + "--reference " + example_model() +
                                      of_text() + few + of_text() + json);
    INFO(twice.text);
    REQUIRE(twice.code == 0);
    CHECK(twice.says("eval.txt is given twice, and counts twice"));
    found = fpq::read_json_file(dir.path() / "r.json");
    CHECK(found["texts"].size() == 4);
    CHECK(found["texts"][3]["targets"] == 126);
    CHECK(found["texts"][1]["targets"] == 0);
    CHECK(found["reference"] == example_model());
    outcome const run = run_program(
        "fpq-quantize --model_name_or_path " + example_model() +
        " --format nvfp --w_bits 4 --eval_perplexity --sequence_length 64 --eval_windows 2"
        " --eval_data " +
        at + "/short.txt --eval_data " + example_text("eval.txt") + " --report " + at +
        "/report.json");
    INFO(run.text);
    CHECK(run.says("short.txt plays no part in the evaluation"));
    CHECK(run.says(", all together have "));
    CHECK(run.says("short.txt: 0 targets"));
    found = fpq::read_json_file(dir.path() / "report.json")["evaluation"];
    CHECK(found["texts"][0] == nlohmann::json{{"text", at + "/short.txt"}, {"targets", 0}});
    CHECK(found["texts"][1]["targets"] == 126);
}
