// SPDX-License-Identifier: Apache-2.0
// Flags of the programs, walked over: numbers and words out of range, values, other tools' flags,
// help.
#include "quantize/options.hpp"

#include <algorithm>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "catch.hpp"
#include "evaluate/options.hpp"
#include "fpq/dialect/registry.hpp"
#include "fpq/pipeline/recipe_json.hpp"
#include "inspect/options.hpp"
#include "pipeline/line.hpp"
#include "pipeline/taken.hpp"
#include "serve/options.hpp"

using namespace fpq_test;

TEST_CASE("every number flag refuses what is out of its range, by name", "[tools]") {
    std::vector<program_spec> programs;
    harness_flags f;
    run_options run;
    evaluate_options e;
    serve_options s;
    for (program_spec const& program :
         {quantize_program(f, run), evaluate_program(e), serve_program(s)}) {
        std::size_t walked = 0;
        for (flag_spec const& flag : flags_of_program(program)) {
            bool const number = flag.value == "N" || flag.value == "X" || flag.value == "BYTES";
            if (!number || unread.contains(flag.name)) {
                continue;
            }
            ++walked;
            for (char const* const text :
                 {"-2", "", "abc", "18446744073709551616", "1e999", "nan", "inf", "0x10", " 4",
                  "+4", "4 ", "1,5", "99999999999999999999999999999999"}) {
                INFO(program.name << " --" << flag.name << "='" << text << "'");
                CHECK_THROWS_WITH(flag.take(text), Catch::Contains("--" + flag.name) &&
                                                       Catch::Contains("expected a"));
            }
            if (flag.name != "seed" && flag.name != "rel_damp") {
                CHECK_THROWS_AS(flag.take("18446744073709551615"), error);
            }
            if (flag.value == "N") {
                CHECK_THROWS_AS(flag.take("1.5"), error);
            }
        }
        CHECK(walked >= 4);
    }
    for (char const* const flag : {"--w_group_size", "--a_group_size"}) {
        CHECK(take(with({"--model_name_or_path", "m", "--w_bits", "4", "--a_bits", "8"},
                        {flag, "-1"}))
                  .notes.empty());
        CHECK(has(take(with(small, {flag, "0"})).refused, "an integer from 1 to 1048576 (-1: the"));
    }
    CHECK(take(with(nothing, {"--max_shard_size", "2GiB"})).flags.output.max_shard_size ==
          std::uint64_t{2} << 30);
    CHECK(take(with(nothing, {"--max_shard_size", "5GB"})).flags.output.max_shard_size ==
          5'000'000'000);
    CHECK(has(take(with(nothing, {"--max_shard_size", "9999999TB"})).refused, "max_shard_size"));
}

TEST_CASE("numbers of a recipe file and of a program are held to the bounds of the flags",
          "[pipeline]") {
    struct row {
        char const* json;
        char const* key;
        std::string expected;
    };
    for (row const& r :
         std::vector<row>{{R"({"calibration": {"num_sequences": 18446744073709551615}})",
                           "r.calibration.num_sequences", described(bounds::num_sequences)},
                          {R"({"calibration": {"sequence_length": -1}})",
                           "r.calibration.sequence_length", described(bounds::sequence_length)},
                          {R"({"output": {"max_shard_size": 0}})", "r.output.max_shard_size",
                           described(bounds::shard_bytes)},
                          {R"({"evaluation": {"windows": 1.5}})", "r.evaluation.windows",
                           described(bounds::windows)},
                          {R"({"evaluation": {"characters": "9"}})", "r.evaluation.characters",
                           described(bounds::characters)},
                          {R"({"threads": 5000})", "r.threads", described(bounds::threads)},
                          {R"({"methods": [{"gptq": {"rel_damp": 1e999}}]})", "", ""},
                          {R"({"methods": [{"gptq": {"rel_damp": -0.1}}]})",
                           "r.methods[0].gptq.rel_damp", described(bounds::rel_damp)},
                          {R"({"rules": [{"scheme": {"transform": {"block": 4294967296}}}]})",
                           "r.rules[0].scheme.transform.block", described(bounds::transform_block)},
                          {R"({"rules": [{"scheme": {"weights": {"group": 0}}}]})",
                           "r.rules[0].scheme.weights.group", described(bounds::group)}}) {
        INFO(r.json);
        nlohmann::json const json = nlohmann::json::parse(r.json, nullptr, false);
        if (!json.is_discarded()) {
            CHECK_THROWS_WITH(recipe_from_json(json, "r"),
                              Catch::Contains(std::string(r.key) + ": expected " + r.expected));
        }
    }
}

TEST_CASE("every word flag refuses what it does not know, with its choices", "[tools]") {
    harness_flags f;
    run_options run;
    evaluate_options e;
    serve_options s;
    for (program_spec const& program :
         {quantize_program(f, run), evaluate_program(e), serve_program(s)}) {
        for (flag_spec const& flag : flags_of_program(program)) {
            if (flag.value != "WORD" || unread.contains(flag.name)) {
                continue;
            }
            for (char const* const text : {"2", "zzzzzz", "\x01\x1b[2J"}) {
                INFO(program.name << " --" << flag.name << " " << text);
                CHECK_THROWS_WITH(flag.take(text), Catch::Contains("--" + flag.name) &&
                                                       Catch::Contains("expected ") &&
                                                       !Catch::Contains("\x1b"));
            }
        }
    }
    CHECK(has(take(with(nothing, {"--format", "nvfp5"})).refused,
              "--format: expected int, fp, nvfp, mxfp (the nearest is nvfp), found nvfp5"));
    for (char const* const good : {"cuda", "cuda:3", "cuda:0,1", "cuda:3,2,1,0"}) {
        CHECK(take(with(nothing, {"--device", good})).refused.empty());
    }
    for (char const* const bad : {"cuda:", "cuda:0,", "cuda:,1", "cuda:0,0", "cuda:0,1,2",
                                  "cuda:64", "cuda:0;1", "cuda:-1", "cuda:0, 1"}) {
        CHECK(has(take(with(nothing, {"--device", bad})).refused, "--device: expected auto, cpu"));
    }
    CHECK(has(take(with(nothing, {"--device", "cuda:x"})).refused,
              "--device: expected auto, cpu, cuda, cuda:N or cuda:N,M... (2, 4 or 8 different "
              "cards, numbers below 64), found cuda:x"));
    // Words of other tools, and letter case.
    CHECK(take(with(small, {"--w_observer", "MSE"})).flags.scheme.w_observer == scale_rule::mse);
    CHECK(take(with(small, {"--export_format", "llm-compressor"})).flags.output.layout ==
          "compressed-tensors");
    CHECK(take(with(small, {"--export_format", "FP-Quant"})).flags.output.layout == "fp_quant");
    CHECK(take(with(small, {"--quantization_order", "act_order"})).flags.order ==
          quant_order::activation);
    taken const four = take({"--model_name_or_path", "m", "--format", "MXFP4-A16"});
    CHECK(four.flags.scheme.family == format_family::mxfp);
    CHECK(four.what.rules[0].how.weight->format == mxfp4);
    CHECK(has(take(with(nothing, {"--format", "nvfp4"})).refused,
              "--w_bits: --format nvfp4: expected 4, found 16"));
    std::vector<std::string_view> names{"auto"};
    for (dialect const* const d : dialects) {
        names.push_back(d->name);
    }
    names.emplace_back("gguf");
    CHECK(std::equal(names.begin(), names.end(), fpq::detail::layout_words.begin(),
                     fpq::detail::layout_words.end()));
}

TEST_CASE("recipe files, programs and flags take the same words for how scales are found",
          "[tools]") {
    auto const accepted = [](auto const& f) {
        try {
            f();
        } catch (error const& why) {
            CHECK(why.category() == error_category::usage);
            return false;
        }
        return true;
    };
    struct row {
        char const* flag;
        char const* operand;
        char const* key;
    };
    for (row const& r :
         {row{"w_observer", "weights", "observer"}, row{"a_observer", "inputs", "observer"},
          row{"mx_rule", "weights", "mx_rule"}, row{"mx_rule", "inputs", "mx_rule"}}) {
        std::size_t taken_words = 0;
        for (int i = 0; i <= static_cast<int>(scale_rule::divisor_7_25); ++i) {
            auto const rule = static_cast<scale_rule>(i);
            std::string const word = name_of(rule);
            INFO(r.operand << " " << r.key << " " << word);
            bool const flag = take(with(small, {"--" + std::string(r.flag), word})).refused.empty();
            bool const file = accepted([&] {
                (void)recipe_from_json({{"rules", {{{"scheme", {{r.operand, {{r.key, word}}}}}}}}},
                                       "r");
            });
            recipe program;
            program.model = repo_model("tiny-llama");
            quant_args args{mxfp4};
            (std::string(r.key) == "observer" ? args.rule : args.mx) = rule;
            bool const input = std::string(r.operand) == "inputs";
            program.rules = {{"Linear", {}}};
            (input ? program.rules[0].how.input : program.rules[0].how.weight) = args;
            bool const made =
                accepted([&] { (void)plan_run(cpu{1}, program, shipped_architectures); });
            CHECK(flag == file);
            CHECK(flag == made);
            taken_words += flag ? 1 : 0;
        }
        CHECK(taken_words >= 2);
    }
    recipe odd;
    odd.model = repo_model("tiny-llama");
    odd.rules = {{"Linear", {quant_args{mxfp4}, std::nullopt, {}}}};
    odd.rules[0].how.weight->format.symmetric = false;
    CHECK_THROWS_WITH(plan_run(cpu{1}, odd, shipped_architectures),
                      Catch::Contains("asymmetric: Linear: expected integers"));
}

TEST_CASE("every flag of fpq-quantize says when it has an effect", "[tools]") {
    harness_flags f;
    run_options run;
    std::set<std::string> rows;
    for (flag_effect const& effect : flag_effects) {
        rows.insert(std::string(effect.flag));
    }
    CHECK(rows.size() == flag_effects.size());
    std::set<std::string> const of_the_program{"recipe",   "save_recipe", "report",
                                               "dry_run",  "restart",     "verbose",
                                               "products", "log_dir",     "log_wandb"};
    for (flag_spec const& flag : flags_of_program(quantize_program(f, run))) {
        INFO(flag.name);
        CHECK((rows.erase(flag.name) == 1 || of_the_program.contains(flag.name)));
    }
    for (std::string const& left : rows) {
        FAIL_CHECK("no such flag: " + left);
    }
}

TEST_CASE("flags of other tools are answered with ours", "[tools]") {
    harness_flags f;
    run_options run;
    evaluate_options e;
    inspect_options i;
    serve_options s;
    for (program_spec const& program :
         {quantize_program(f, run), evaluate_program(e), inspect_program(i), serve_program(s)}) {
        std::set<std::string> ours;
        for (flag_spec const& flag : flags_of_program(program)) {
            ours.insert("--" + flag.name);
        }
        for (foreign_flag const& other : program.foreign) {
            std::string const theirs(other.theirs);
            INFO(program.name << " " << theirs);
            CHECK_FALSE(ours.contains("--" + theirs));
            // What is offered is there.
            for (std::size_t at = other.ours.find("--"); at != std::string_view::npos;
                 at = other.ours.find("--", at + 2)) {
                std::string const flag(other.ours.substr(
                    at, other.ours.find_first_not_of("abcdefghijklmnopqrstuvwxyz_", at + 2) - at));
                INFO(flag);
                CHECK(ours.contains(flag));
            }
            std::string const typed = theirs.starts_with('-') ? theirs : "--" + theirs;
            CHECK_THROWS_WITH(line_of(program, {typed, "x"}),
                              Catch::Contains("unknown flag: " + typed + ": here it is "));
        }
    }
    for (char const* const theirs :
         {"model", "tasks", "calib_dataset", "dataset", "output", "output_dir", "bits", "wbits",
          "group_size", "nsamples", "seqlen"}) {
        INFO(theirs);
        CHECK(has(take({"--" + std::string(theirs) + "=x"}).refused, "here it is "));
    }
    CHECK(has(take({"--sequence_lenght", "3"}).refused, "did you mean --sequence_length?"));
    CHECK(has(take({"--num_seq", "3"}).refused, "did you mean --num_sequences?"));
    CHECK(has(take({"--x", "3"}).refused, "unknown flag: --x: see fpq-quantize --help"));
    CHECK(has(take({"word"}).refused, "unexpected word: word"));
    CHECK_THROWS_WITH(line_of(inspect_program(i), {"one", "two"}),
                      Catch::Contains("unexpected word: two"));
    CHECK_THROWS_WITH(require_flags(inspect_program(i), line_of(inspect_program(i), {"--verify"})),
                      Catch::Contains("<directory>: expected checkpoint directory"));
}

TEST_CASE("a value is never the next flag, and an empty one stays empty", "[tools]") {
    CHECK(has(take(with(small, {"--save_path", "--gptq"})).refused,
              "--save_path: expected DIR, found no value"));
    CHECK(has(take(with(small, {"--hadamard_group_size=", "--gptq"})).refused,
              "--hadamard_group_size: expected an integer from 1 to 65536, found nothing"));
    CHECK(has(take(with(small, {"--threads", "-5"})).refused, "--threads: expected"));
    CHECK(has(take(with(small, {"--rel_damp", "-inf", "--gptq"})).refused, "--rel_damp: expected"));
    CHECK(has(take(with(small, {"--model_name_or_path="})).refused, "--model_name_or_path"));
    CHECK(has(take({"--w_bits", "4"}).refused, "--model_name_or_path: expected"));
    CHECK(has(take({"--model_name_or_path", "m"}).refused, "--w_bits: expected"));
    CHECK(take(with(small, {"--gptq=false"})).flags.gptq == false);
    CHECK(has(take(with(small, {"--gptq=maybe"})).refused, "--gptq: expected true, false"));
    CHECK(take(with(small, {"--w-observer=mse", "--ignore", "a", "b", "--ignore=c"})).what.ignore ==
          words{"a", "b", "c"});
}

TEST_CASE("a switch leaves the word behind it alone", "[tools]") {
    inspect_options inspect;
    program_spec const program = inspect_program(inspect);
    std::size_t switches = 0;
    for (flag_spec const& flag : flags_of_program(program)) {
        if (!flag.value.empty() || flag.name.starts_with("<")) {
            continue;
        }
        ++switches;
        INFO(flag.name);
        for (words const& line : {words{"--" + flag.name, "DIR"}, words{"DIR", "--" + flag.name}}) {
            command_line const got = line_of(program, line);
            CHECK(got.values.at("<directory>") == words{"DIR"});
            CHECK(got.values.at(flag.name) == words{"true"});
        }
    }
    CHECK(switches >= 3);
    command_line const got = line_of(program, {"--only", "layers.0", "DIR", "--only=q_proj"});
    CHECK(got.values.at("<directory>") == words{"DIR"});
    CHECK(got.values.at("only") == words{"layers.0", "q_proj"});
}

TEST_CASE("help has every flag once, examples, and lines of at most 100 columns", "[tools]") {
    harness_flags f;
    run_options run;
    evaluate_options e;
    inspect_options i;
    serve_options s;
    for (program_spec const& program :
         {quantize_program(f, run), evaluate_program(e), inspect_program(i), serve_program(s)}) {
        std::string const help = line_of(program, {"--help"}).help;
        CHECK(program.examples.size() == 3);
        for (std::string const& example : program.examples) {
            CHECK(help.find(example) != std::string::npos);
        }
        for (flag_spec const& flag : flags_of_program(program)) {
            INFO(flag.name);
            std::string const name = flag.name.starts_with('<') ? flag.name : "--" + flag.name;
            std::size_t const at = help.find("\n  " + name);
            REQUIRE(at != std::string::npos);
            CHECK(help.find(flag.fallback, at) != std::string::npos);
        }
        for (std::size_t at = 0; at < help.size();) {
            std::size_t const end = help.find('\n', at);
            INFO(help.substr(at, end - at));
            CHECK(end - at <= 100);
            at = end + 1;
        }
        CHECK(line_of(program, {"--version"}).help.starts_with("fpq "));
    }
}
