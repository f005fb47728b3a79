// SPDX-License-Identifier: Apache-2.0
// No flag is swallowed: each one acts, is named before the run, or is refused.
#include "fpq/pipeline/effects.hpp"

#include <set>
#include <string>
#include <vector>

#include "catch.hpp"
#include "fpq/pipeline/recipe_json.hpp"
#include "fpq/pipeline/report_json.hpp"
#include "pipeline/line.hpp"
#include "pipeline/taken.hpp"

using namespace fpq_test;

TEST_CASE("in a run that does nothing every flag alone acts, is named or is refused", "[tools]") {
    harness_flags f;
    run_options run;
    // What makes a run do something, or is a switch of the program itself.
    std::set<std::string> const acts{
        "w_bits",  "a_bits",    "rule",       "eval_perplexity",
        "threads", "device",    "recipe",     "save_recipe",
        "report",  "dry_run",   "verbose",    "products",
        "log_dir", "log_wandb", "real_quant", "export_quantized_model"};
    for (flag_spec const& flag : flags_of_program(quantize_program(f, run))) {
        if (flag.name == "model_name_or_path" || flag.name == "w_bits") {
            continue;  // in every command line
        }
        taken const alone = take(with(nothing, given(flag)));
        INFO(flag.name << ": " << alone.refused);
        bool const told =
            !alone.refused.empty() ? has(alone.refused, flag.name) : alone.says("--" + flag.name);
        CHECK(told != acts.contains(flag.name));
    }
}

TEST_CASE("in a run with everything only what the CPU has no use for is named", "[tools]") {
    words const all{"--model_name_or_path",
                    "m",
                    "--dataset_name_or_path",
                    "t.txt",
                    "--sequence_length",
                    "64",
                    "--num_sequences",
                    "4",
                    "--seed",
                    "7",
                    "--format",
                    "mxfp",
                    "--w_bits",
                    "6",
                    "--a_bits",
                    "8",
                    "--w_group_size",
                    "32",
                    "--a_group_size",
                    "32",
                    "--w_granularity",
                    "group",
                    "--a_granularity",
                    "group",
                    "--scale_precision",
                    "e8m0",
                    "--element",
                    "e3m2",
                    "--global_scale",
                    "exact",
                    "--w_observer",
                    "mse",
                    "--a_observer",
                    "minmax",
                    "--mx_rule",
                    "even",
                    "--rule",
                    "re:.*down_proj$=nvfp4",
                    "--ignore",
                    "lm_head",
                    "--gptq",
                    "--quantization_order",
                    "activation",
                    "--rel_damp",
                    "0.02",
                    "--objective",
                    "two_sided",
                    "--smooth",
                    "smoothquant",
                    "--smooth_alpha",
                    "0.5",
                    "--polish",
                    "1",
                    "--joint",
                    "1",
                    "--transform_class",
                    "hadamard",
                    "--hadamard_group_size",
                    "32",
                    "--save_path",
                    "o",
                    "--real_quant",
                    "--export_format",
                    "compressed-tensors",
                    "--max_shard_size",
                    "1GB",
                    "--eval_perplexity",
                    "--eval_data",
                    "e.txt",
                    "--eval_windows",
                    "2",
                    "--eval_characters",
                    "100",
                    "--eval_bos",
                    "never",
                    "--eval_openllm",
                    "--lm_eval_tasks",
                    "a",
                    "b,c",
                    "--lm_eval_batch_size",
                    "4",
                    "--lm_eval_include_path",
                    "more",
                    "--disable_thinking",
                    "--threads",
                    "2",
                    "--dtype",
                    "auto",
                    "--device",
                    "auto",
                    "--gpu_memory",
                    "16GB",
                    "--host_memory",
                    "8GiB"};
    taken const full = take(all);
    CHECK(full.refused.empty());
    CHECK(full.notes.empty());
    CHECK(full.what.evaluation.tasks == task_args{{"a", "b", "c"}, 4, false, "more"});
    taken const more = take(with(all, {"--amp", "--compile", "--log_wandb", "--log_dir", "logs",
                                       "--report", "r.html", "--dtype", "float16"}));
    CHECK(more.notes.size() == 2);  // dtype twice, the CPU
    CHECK(more.says("--dtype, --amp, --compile: nothing to do"));
    CHECK(more.says("--dtype is given 2 times: the last counts, float16"));
}

TEST_CASE("the two-sided objective alone looks at text, in drawn labels too", "[tools]") {
    taken const t =
        take({"--model_name_or_path", "m", "--dataset_name_or_path", "t.txt", "--num_sequences",
              "4", "--sequence_length", "64", "--seed", "7", "--format", "nvfp", "--w_bits", "4",
              "--gptq", "--objective", "two_sided"});
    CHECK(t.refused == "");
    for (char const* const flag :
         {"--dataset_name_or_path", "--num_sequences", "--sequence_length", "--seed"}) {
        INFO(flag);
        CHECK(!t.says(flag));
    }
}

TEST_CASE("smoothing alone looks at text, and is idle where no weight is quantized", "[tools]") {
    words const text{"--dataset_name_or_path", "t.txt", "--num_sequences", "4"};
    taken const acts = take(with(with(small, text), {"--smooth", "SmoothQuant"}));
    CHECK(acts.refused == "");
    CHECK(acts.what.smoothing == smooth_args{smooth_rule::smoothquant, {}});
    CHECK(acts.notes.empty());
    CHECK(take(with(small, {"--smooth", "none"})).notes.empty());
    CHECK(take(with(nothing, {"--smooth", "awq", "--smooth_alpha", "0.5"}))
              .says("--smooth: nothing is quantized"));
    CHECK(take(with(small, {"--smooth_alpha", "0.5"}))
              .says("--smooth_alpha: it is an option of --smooth"));
    CHECK(has(take(with(small, {"--smooth_alpha", "1.5"})).refused,
              "--smooth_alpha: expected a number from 0 to 1"));
    CHECK(has(take(with(small, {"--smooth", "quik"})).refused,
              "--smooth: expected none, smoothquant, awq"));
    // Over a recipe file.
    recipe const file = take(with(small, {"--smooth", "awq", "--smooth_alpha", "0.5"})).what;
    CHECK(take({}, &file).what == file);
    CHECK(take({"--smooth_alpha", "0.25"}, &file).what.smoothing ==
          smooth_args{smooth_rule::awq, 0.25});
    CHECK(take({"--smooth", "none"}, &file).what.smoothing == smooth_args{});
}

TEST_CASE("flags that contradict each other are refused by name", "[tools]") {
    CHECK(has(take(with(small, {"--element", "e3m2"})).refused, "element: nvfp"));
    CHECK(has(take(with(small, {"--asymmetric"})).refused, "asymmetric: nvfp"));
    CHECK(has(take(with(small, {"--w_granularity", "channel"})).refused,
              "w_granularity: nvfp: expected group, found channel"));
    CHECK(
        has(take(with(small, {"--real_quant", "--export_quantized_model", "pseudoquant"})).refused,
            "--real_quant: expected --export_quantized_model realquant"));
    CHECK(has(take({"--model_name_or_path", "m", "--format", "mxfp", "--w_bits", "6", "--element",
                    "e4m3"})
                  .refused,
              "element: mxfp"));
    CHECK(take(with(small, {"--w_group_size", "128"})).says("changed weight group_size to 16"));
    CHECK(take(with(small, {"--scale_precision", "half"}))
              .says("--scale_precision: nothing is quantized whose"));
    CHECK(take(small).notes.empty());
}

TEST_CASE("what is given over a recipe file counts where it says what the first rule says",
          "[tools]") {
    recipe file = take(with(small, {"--w_observer", "sweep", "--rule", "re:.*x=mxfp4"})).what;
    file.rules[1].how.weight->rule = scale_rule::minmax;
    file.rules[0].how.transform = {transform_kind::random_hadamard, 32, 1};
    CHECK(take({}, &file).what == file);
    recipe const over = take({"--w_observer", "sweep", "--seed", "42"}, &file).what;
    CHECK(over.rules[1].how.weight->rule == scale_rule::sweep);
    CHECK(over.rules[0].how.transform.seed == 42);
}

TEST_CASE("a flag for formats that no module has in the end is named", "[tools]") {
    taken const all =
        take({"--model_name_or_path", repo_model("tiny-llama").string(), "--format", "nvfp4",
              "--global_scale", "exact", "--w_observer", "mse", "--rule", "Linear=mxfp4a16"});
    REQUIRE(all.refused.empty());
    run_plan const plan = plan_run(cpu{1}, all.what, shipped_architectures);
    given_flags const given{{"global_scale", "exact"},
                            {"format", "nvfp4"},
                            {"w_observer", "mse"},
                            {"mx_rule", "even"},
                            {"ignore", "lm_head"}};
    CHECK(idle_notes(given, all.what, plan.schemes) ==
          std::vector<std::string>{"--format: nothing is quantized that it is about",
                                   "--global_scale: only nvfp has global scales"});
    CHECK(idle_notes(given, all.what, schemes_of(all.what)).empty());
    recipe none = all.what;
    none.ignore = {"Linear"};
    run_plan const bare = plan_run(cpu{1}, none, shipped_architectures);
    std::string const said = idle_notes(given, none, bare.schemes).at(0);
    CHECK(has(said, "--format, --w_observer: nothing is quantized"));
    CHECK_FALSE(has(said, "--ignore"));
}

TEST_CASE("a place to save to is a wish to write, and is said", "[tools]") {
    taken const alone = take(with(small, {"--save_path", "o"}));
    CHECK(alone.what.output.kind == export_kind::realquant);
    CHECK(alone.what.output.layout == "auto");
    CHECK(alone.says("--save_path alone: a realquant export"));
    taken const none = take(with(small, {"--save_path", "o", "--export_quantized_model="}));
    CHECK(none.what.output.kind == export_kind::none);
    CHECK(none.says("--save_path: nothing is written"));
    CHECK(take(with(nothing, {"--save_path", "o"})).what.output.kind == export_kind::realquant);
    CHECK(recipe_from_json({{"output", {{"directory", "o"}}}}, "r").output.kind ==
          export_kind::realquant);
    recipe const file = alone.what;
    CHECK(take({"--w_observer", "mse"}, &file).notes.empty());
    CHECK(take({"--eval_windows", "3"}, &file).says("--eval_windows: nothing is evaluated"));
    recipe unwritten = file;
    unwritten.output.kind = export_kind::none;
    CHECK(take({}, &unwritten).what.output.kind == export_kind::none);
    CHECK(take({"--save_path", "p"}, &unwritten).what.output.kind == export_kind::realquant);
    recipe idle = file;
    idle.evaluation.windows = 3;
    CHECK(take({}, &idle).says("--eval_windows: nothing is evaluated"));
}

TEST_CASE("the script that FP-Quant publishes runs, and each flag that does nothing is named",
          "[tools]") {
    taken const script = take({"--model_name_or_path=m",
                               "--format=nvfp",
                               "--w_bits=4",
                               "--a_bits=4",
                               "--w_group_size=16",
                               "--a_group_size=16",
                               "--transform_class=hadamard",
                               "--w_observer=minmax",
                               "--quantization_order=default",
                               "--gptq",
                               "--eval_perplexity",
                               "--export_quantized_model",
                               "realquant",
                               "--hadamard_group_size=16",
                               "--dataset_name_or_path=fineweb-edu",
                               "--num_sequences=128",
                               "--sequence_length=2048",
                               "--dtype=auto",
                               "--lm_eval_batch_size=auto",
                               "--save_path",
                               "o",
                               "--export_quantized_model",
                               "pseudoquant",
                               "--cpu_offload_activations",
                               "--cpu_offload_modules",
                               "--fuse_global_scale",
                               "--amp"});
    CHECK(script.refused.empty());
    CHECK(script.what.output.kind == export_kind::pseudoquant);
    CHECK(script.notes.size() == 4);
    CHECK(script.says("--export_quantized_model is given 2 times: the last counts"));
    CHECK(script.says("--fuse_global_scale: nothing to do"));
    CHECK(script.says("--amp, --cpu_offload_modules, --cpu_offload_activations: nothing to do"));
    CHECK(script.says("--lm_eval_batch_size: no tasks are run without --eval_openllm"));
}

TEST_CASE("tasks are those of OpenLLM v1 or those that are named, and want an export", "[tools]") {
    words const written = with(small, {"--save_path", "o"});
    CHECK(take(written).what.evaluation.tasks == task_args{});
    taken const all = take(with(written, {"--eval_openllm"}));
    CHECK(all.what.evaluation.tasks.names ==
          std::vector<std::string>(openllm_tasks.begin(), openllm_tasks.end()));
    for (words const& asked :
         {words{"--eval_openllm", "--lm_eval_tasks", "x,y"}, words{"--lm_eval_tasks", "x", "y"},
          words{"--lm_eval_tasks", "x", "--lm_eval_tasks", "y"}}) {
        CHECK(take(with(written, asked)).what.evaluation.tasks.names ==
              std::vector<std::string>{"x", "y"});
    }
    CHECK(has(take(with(small, {"--eval_openllm"})).refused,
              "--eval_openllm: expected --save_path DIR"));
    CHECK(has(take(with(small, {"--lm_eval_tasks", "x"})).refused,
              "--lm_eval_tasks: expected --save_path DIR"));
    CHECK(has(take(with(written, {"--lm_eval_tasks", "x", "--export_quantized_model="})).refused,
              "--lm_eval_tasks: expected --save_path DIR"));
    CHECK(has(take(with(written, {"--lm_eval_tasks", "x,"})).refused, "names of tasks"));
    CHECK(has(take(with(written, {"--lm_eval_tasks", "-x"})).refused, "names of tasks"));
    CHECK(take(with(written, {"--lm_eval_batch_size", "4", "--disable_thinking"}))
              .says("--lm_eval_batch_size, --disable_thinking: no tasks are run without"));
    // A recipe file keeps its tasks, and flags override them.
    recipe const file = take(with(written, {"--lm_eval_tasks", "x", "--lm_eval_batch_size", "3",
                                            "--disable_thinking", "--lm_eval_include_path", "d"}))
                            .what;
    CHECK(recipe_from_json(to_json(file), "r") == file);
    CHECK(take({}, &file).what == file);
    CHECK(take({"--eval_openllm"}, &file).what.evaluation.tasks.names ==
          std::vector<std::string>{"x"});
    CHECK(take({"--lm_eval_tasks", "z"}, &file).what.evaluation.tasks.names ==
          std::vector<std::string>{"z"});
    recipe idle = file;
    idle.evaluation.tasks.names.clear();
    CHECK(take({}, &idle).says("--lm_eval_batch_size, --lm_eval_include_path, --disable_thinking"));
}

TEST_CASE("perplexity of the calibration text is labelled, and text that nothing reads is left out",
          "[pipeline]") {
    harness_flags f = fpq_test::small_run(format_family::nvfp);
    f.calibration.sequence_length = 24;
    f.calibration.num_sequences = 2;
    f.evaluation.windows = 1;
    nlohmann::json const own = to_json(fpq_test::go(f));
    CHECK(own.at("evaluation").at("text") == "its own");
    CHECK(own.at("calibration_tokens") == 0);  // rounding looks at none
    f.gptq = true;
    f.evaluation.texts = {f.calibration.dataset, f.calibration.dataset};
    nlohmann::json const given_again = to_json(fpq_test::go(f));
    CHECK(given_again.at("evaluation").at("text") == "calibration");
    CHECK(has(given_again.at("notes").dump(), ": its perplexity and KL are of the calibration"));
    f.evaluation.texts = {f.calibration.dataset,
                          fpq_test::repo_dir() / "examples" / "text" / "eval.txt"};
    nlohmann::json const mixed = to_json(fpq_test::go(f));
    CHECK(mixed.at("evaluation").at("text") == "calibration and its own");
    f.gptq = false;
    f.evaluation.texts.clear();
    nlohmann::json const same = to_json(fpq_test::go(f));
    CHECK(same.at("evaluation").at("text") == "calibration");
    CHECK(has(same.at("notes").dump(), "perplexity and KL are of the calibration text"));
    f.calibration.dataset = "self";
    std::vector<std::string> notes;
    CHECK_THROWS_WITH(plan_run(cpu{1}, recipe_of(f, notes), shipped_architectures),
                      Catch::Contains("eval_perplexity: expected --eval_data FILE"));
    f.evaluation.perplexity = false;
    f.gptq = true;
    f.ignore = std::vector<std::string>{"lm_head", "model.layers.9.mlp.gate"};
    run_plan const plan = plan_run(cpu{1}, recipe_of(f, notes), shipped_architectures);
    CHECK(plan.calibration.dataset == "self");
    CHECK(has(plan.notes.at(0), "--ignore model.layers.9.mlp.gate: no module has that name"));
    recipe r = recipe_of(f, notes);
    r.calibration.num_sequences = ~std::size_t{0};
    CHECK_THROWS_WITH(plan_run(cpu{1}, r, shipped_architectures),
                      Catch::Contains("num_sequences: expected an integer from 1"));
}
