// SPDX-License-Identifier: Apache-2.0
// Tasks of lm-evaluation-harness behind an export: a stand-in for the harness looks at what it is
// given and asks the server. tests/interop/lm_eval.sh runs the real one.
#include "fpq/pipeline/recipe.hpp"

#include <sys/stat.h>

#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "catch.hpp"
#include "common/child_process.hpp"
#include "pipeline/programs.hpp"
#include "support/files.hpp"
#include "tasks/lm_eval.hpp"

using namespace fpq_test;
using namespace fpq::tools;

namespace {

/// A directory with a program lm_eval, and places for what is written.
class stand_in {
public:
    stand_in() {
        auto const file = dir_.write("lm_eval", R"(#!/usr/bin/env bash
if [ "$1" = validate ]; then
    case "$3" in *nonesuch*) echo "Tasks not found: nonesuch"; exit 1 ;; esac
    exit 0
fi
log=$(dirname "$0")/log
printf '%s\n' "$*" >> "$log"
port=$(sed -n 's|.*base_url=http://127.0.0.1:\([0-9]*\)/.*|\1|p' <<< "$*")
exec 3<> "/dev/tcp/127.0.0.1/$port" || exit 5
printf 'GET /v1/models HTTP/1.0\r\n\r\n' >&3
grep -q '"id":"fpq"' <&3 || exit 6
head -n 1 tokenizer/chat_template.jinja >> "$log"
[ -f tokenizer/tokenizer.json ] && [ ! -e tokenizer/model.safetensors ] || exit 8
case "$*" in *fails*) exit 7 ;; esac
cat > results_now.json << 'END'
{"results": {"one": {"alias": "one", "acc,none": 0.25, "acc_stderr,none": 0.125, "sample_len": 4},
             "two": {"exact_match,strict": 0.5, "exact_match_stderr,strict": "N/A"}}}
END
)");
        ::chmod(file.c_str(), 0755);
    }
    [[nodiscard]] std::string on_path() const {
        return "PATH=" + dir_.path().string() + ":/usr/bin:/bin ";
    }
    [[nodiscard]] std::string log() const { return read_text(dir_.path() / "log"); }
    [[nodiscard]] std::string place(std::string const& name) const {
        return (dir_.path() / name).string();
    }

private:
    temporary_directory dir_;
};

/// It is built where there is an HTTP library.
bool have_server() {
    if (!have_programs()) {
        return false;
    }
    bool const there = std::filesystem::exists(bin_dir() / "fpq-serve");
    if (!there) {
        std::puts("SKIPPED: no fpq-serve: tasks are not tested");
    }
    return there;
}

std::string quantize_to(std::string const& out) {
    return "fpq-quantize --model_name_or_path " + example_model() +
           " --format nvfp4 --device cpu --threads 2 --save_path " + out;
}

bool holds(std::string const& text, std::string const& part) {
    UNSCOPED_INFO(text);
    return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("tasks that share their settings run together", "[tools]") {
    CHECK(grouped_tasks({}).empty());
    std::vector<task_group> const all =
        grouped_tasks({"mmlu_cot_llama", "arc_challenge_llama", "gsm8k_llama", "hellaswag",
                       "winogrande", "truthfulqa_mc2", "piqa"});
    CHECK(all == std::vector<task_group>{
                     {{"mmlu_cot_llama", "arc_challenge_llama", "gsm8k_llama"}, -1, true},
                     {{"hellaswag"}, 10, false},
                     {{"winogrande"}, 5, false},
                     {{"truthfulqa_mc2", "piqa"}, -1, false}});
}

TEST_CASE("words become a command that a shell takes", "[tools]") {
    CHECK(command_text({"a", "b=c,d", "e f", "g'h", ""}) == R"(a b=c,d 'e f' 'g'\''h' '')");
}

TEST_CASE("a child's lines, exit code and end", "[tools]") {
    child_process lines({"/bin/sh", "-c", "echo one; echo two; printf three; exit 5"},
                        child_output::pipe);
    CHECK(lines.read_line() == "one");
    CHECK(lines.read_all() == "two\nthree");
    CHECK(lines.wait() == 5);
    child_process waits({"/bin/sh", "-c", "echo ready; exec sleep 1000"}, child_output::pipe);
    CHECK(waits.read_line() == "ready");
    waits.end();
    CHECK(waits.wait() == 128 + 15);
    CHECK_THROWS_WITH(child_process({"/nowhere/x"}, child_output::pipe),
                      Catch::Contains("/nowhere/x"));
    CHECK(find_program("sh"));
    CHECK_FALSE(find_program("no-such-program-anywhere"));
}

TEST_CASE("the harness runs over the export, and its scores are in the report", "[tools]") {
    if (!have_server()) {
        return;
    }
    stand_in const harness;
    std::string const report = harness.place("report.json");
    outcome const run =
        run_program(quantize_to(harness.place("out")) +
                        " --lm_eval_tasks one,winogrande two_llama "
                        "--lm_eval_batch_size 3 --disable_thinking --lm_eval_include_path " +
                        harness.place(".") + " --report " + report,
                    harness.on_path());
    INFO(run.text);
    REQUIRE(run.code == 0);
    // tiny-llama's template knows no thinking.
    CHECK(run.says("--disable_thinking: the model's chat template knows no enable_thinking"));
    CHECK(run.says("runs "));
    CHECK(run.says("0.250000 +- 0.125000"));
    std::string const log = harness.log();
    CHECK(holds(log, "--model local-completions"));
    CHECK(holds(log, "num_concurrent=3,max_length=2048,"));
    CHECK(holds(log, "add_bos_token=True --tasks one --batch_size 1"));
    CHECK(
        holds(log, "--tasks winogrande --batch_size 1 --output_path results.json --num_fewshot 5"));
    CHECK(holds(log, "add_bos_token=False --tasks two_llama"));
    CHECK(holds(log, "--apply_chat_template --fewshot_as_multiturn --include_path /"));
    CHECK(holds(log, "{%- set enable_thinking = false -%}"));
    nlohmann::json const json = nlohmann::json::parse(read_text(report));
    nlohmann::json const& tasks = json.at("tasks");
    CHECK(tasks.at("commands").size() == 4);  // the server and three groups
    REQUIRE(tasks.at("scores").size() == 6);
    CHECK(tasks.at("scores")[0] == nlohmann::json{{"task", "one"},
                                                  {"metric", "acc"},
                                                  {"filter", "none"},
                                                  {"value", 0.25},
                                                  {"stderr", 0.125}});
    CHECK(tasks.at("scores")[1].at("stderr").is_null());
    // The report is a recipe that asks for the same tasks.
    CHECK(json.at("recipe").at("evaluation").at("tasks").at("names").size() == 3);
    // fpq-evaluate asks an export that is there.
    outcome const again =
        run_program("fpq-evaluate --model " + harness.place("out") +
                        " --device cpu --lm_eval_tasks one --json " + harness.place("scores.json"),
                    harness.on_path());
    INFO(again.text);
    CHECK(again.code == 0);
    CHECK(nlohmann::json::parse(read_text(harness.place("scores.json"))).at("tasks").at("scores") ==
          nlohmann::json::array({tasks.at("scores")[0], tasks.at("scores")[1]}));
}

TEST_CASE("what tasks want is looked for before the run", "[tools]") {
    if (!have_server()) {
        return;
    }
    stand_in const harness;
    std::string const out = harness.place("out");
    auto const refused = [&](std::string const& more, std::string const& path,
                             std::string const& why) {
        outcome const run = run_program(quantize_to(out) + " " + more, path);
        INFO(run.text);
        CHECK(run.code == 2);
        CHECK(run.says(why));
        CHECK_FALSE(std::filesystem::exists(out));
    };
    refused("--eval_openllm", "PATH=/usr/bin:/bin ", "pip install 'lm_eval[api]' transformers");
    refused("--lm_eval_tasks hellaswag,nonesuch", harness.on_path(), "found nonesuch");
    refused("--lm_eval_tasks one --lm_eval_include_path /nowhere", harness.on_path(),
            "lm_eval_include_path: /nowhere");
    outcome const dry =
        run_program(quantize_to(out) + " --lm_eval_tasks nonesuch --dry_run", harness.on_path());
    CHECK(dry.code == 2);
    CHECK(run_program("fpq-evaluate --model " + example_model() + " --lm_eval_batch_size 2").code ==
          2);
    CHECK(run_program("fpq-evaluate --model " + example_model() + " --eval_openllm",
                      "PATH=/usr/bin:/bin ")
              .says("pip install 'lm_eval[api]' transformers"));
    CHECK(run_program("fpq-evaluate --model " + example_model() +
                      " --lm_eval_tasks one --reference " + example_model())
              .says("--reference: expected --text"));
}

TEST_CASE("a model without a chat template has no conversations", "[tools]") {
    if (!have_server()) {
        return;
    }
    stand_in const harness;
    std::filesystem::path const plain = harness.place("plain");
    std::filesystem::copy(example_model(), plain);
    std::filesystem::remove(plain / "chat_template.jinja");
    outcome const run =
        run_program("fpq-evaluate --model " + plain.string() + " --lm_eval_tasks gsm8k_llama",
                    harness.on_path());
    CHECK(run.code == 2);
    CHECK(run.says("lm_eval_tasks: gsm8k_llama: expected a model with a chat template"));
}

TEST_CASE("a harness that fails costs neither the export nor the report", "[tools]") {
    if (!have_server()) {
        return;
    }
    stand_in const harness;
    std::string const report = harness.place("report.json");
    outcome const run =
        run_program(quantize_to(harness.place("out")) + " --lm_eval_tasks fails --report " + report,
                    harness.on_path());
    INFO(run.text);
    CHECK(run.code == 3);
    CHECK(run.says("lm_eval: fails: expected exit code 0, found 7"));
    CHECK(std::filesystem::exists(harness.place("out") + "/config.json"));
    nlohmann::json const json = nlohmann::json::parse(read_text(report));
    CHECK(json.at("linears").size() == 28);
    CHECK_FALSE(json.contains("tasks"));
}
