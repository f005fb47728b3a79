// SPDX-License-Identifier: Apache-2.0
#include "options.hpp"

#include <array>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include "common/device.hpp"
#include "common/flag_kinds.hpp"
#include "common/foreign.hpp"
#include "common/products.hpp"
#include "common/task_flags.hpp"
#include "fpq/pipeline/bounds.hpp"
#include "fpq/pipeline/scheme_flags.hpp"
#include "fpq/pipeline/words.hpp"

namespace fpq::tools {

namespace {

using fpq::detail::listed;
using fpq::detail::synonym;
using fpq::detail::words_of;

/// -1 is the whole row, as in other tools.
flag_spec group_size(std::string const& name, std::optional<std::size_t>& field,
                     std::string const& help) {
    return {name, "N", help, "the whole row", [name, &field](std::string const& text) {
                field = text == "-1" ? std::nullopt
                                     : std::optional<std::size_t>(
                                           read_count("--" + name, bounds::group_size, text));
            }};
}

/// What must be said has no default to show.
flag_spec without_default(flag_spec flag) {
    flag.fallback.clear();
    return flag;
}

/// Accepted: effects.hpp has a row that says what it does not do.
flag_spec accepted(std::string const& name, std::string const& value, std::string const& help) {
    return {name, value, help, {}, [](std::string const&) {}, !value.empty()};
}

flag_group text_flags(harness_flags& f) {
    calibration_args& c = f.calibration;
    return {"Model and calibration text",
            {path_flag("model_name_or_path", f.model, "DIR",
                       "checkpoint directory (required, unless --recipe names it)"),
             {"dataset_name_or_path",
              "TEXT",
              "calibration text: .txt, .jsonl, .json.gz, a directory, a data set in the hub's "
              "cache, - (standard input), or self (sampled from the model)",
              {},
              [&c](std::string const& text) {
                  if (text.empty()) {
                      fail_usage("--dataset_name_or_path", {}, "a file, a directory or self",
                                 "nothing");
                  }
                  c.dataset = text;
              }},
             text_column_flag(c.text_column),
             count_flag("sequence_length", c.sequence_length, bounds::sequence_length,
                        "tokens of a window"),
             count_flag("num_sequences", c.num_sequences, bounds::num_sequences, "windows"),
             count_flag("seed", c.seed, bounds::seed, "of windows and random transforms")}};
}

flag_group format_flags(harness_flags& f) {
    scheme_flags& r = f.scheme;
    std::string const grain = "what shares one scale";
    return {
        "Formats",
        {{"format", "WORD",
          "int, fp, nvfp, mxfp; nvfp4, mxfp4, mxfp6, mxfp8, int4, int8 say --w_bits, too", "int",
          [&r](std::string const& text) { r.family = read_format("--format", text).family; }},
         without_default(count_flag("w_bits", r.w_bits, bounds::bits,
                                    "weights (required, unless --format or --recipe says it)")),
         count_flag("a_bits", r.a_bits, bounds::bits, "inputs of linears"),
         group_size("w_group_size", r.w_group_size, "weights that share a scale; -1: a row"),
         group_size("a_group_size", r.a_group_size, "inputs that share a scale; -1: a row"),
         choice_flag("w_granularity", r.w_grain, fpq::detail::grain_words,
                     fpq::detail::grain_synonyms, grain),
         choice_flag("a_granularity", r.a_grain, fpq::detail::grain_words,
                     fpq::detail::grain_synonyms, grain),
         choice_flag("scale_precision", r.scale_precision, fpq::detail::scale_words,
                     fpq::detail::scale_synonyms, "of int and fp (nvfp has e4m3, mxfp e8m0)"),
         word_flag("element", r.element, fpq::detail::element_choices,
                   fpq::detail::element_synonyms, "of 6 and 8 bits"),
         switch_flag("asymmetric", r.symmetric, false, "int weights with a zero point"),
         choice_flag("global_scale", r.pow2_global_scale, fpq::detail::global_words, {}, "of nvfp"),
         choice_flag("w_observer", r.w_observer, fpq::detail::weight_observers,
                     fpq::detail::observer_synonyms, "how scales of weights are found"),
         choice_flag("a_observer", r.a_observer, fpq::detail::input_observers,
                     fpq::detail::observer_synonyms, "how scales of inputs are found"),
         {"mx_rule", "WORD",
          "how an MX scale follows from a maximum: " + listed(words_of(fpq::detail::mx_rules)),
          "even; fp_quant where clients rotate",
          [&r](std::string const& text) {
              r.mx_rule = fpq::detail::read_word("--mx_rule", fpq::detail::mx_rules,
                                                 fpq::detail::mx_synonyms, text);
          }},
         {"rule",
          "PATTERN=PRESET",
          "the formats of the modules that match; may be repeated. PATTERN: a name, Linear, or "
          "re:REGEX; PRESET: " +
              preset_names(),
          {},
          [&f](std::string const& text) { f.rules.push_back(text); },
          true},
         {"ignore", "PATTERN", "modules that stay as they are; may be repeated", "lm_head",
          [&f, first = std::make_shared<bool>(true)](std::string const& text) {
              if (std::exchange(*first, false)) {
                  f.ignore.emplace();
              }
              f.ignore->push_back(text);
          },
          true}}};
}

flag_group solver_flags(harness_flags& f) {
    return {
        "Solver and transform",
        {switch_flag("gptq", f.gptq, true, "GPTQ instead of rounding to nearest"),
         choice_flag("quantization_order", f.order, fpq::detail::order_words,
                     fpq::detail::order_synonyms, "of GPTQ's columns"),
         {"rel_damp", "X", "GPTQ's damping, of the mean Hessian diagonal", "0.01",
          [&f](std::string const& text) {
              f.rel_damp = read_real("--rel_damp", bounds::rel_damp, text);
          }},
         choice_flag("objective", f.two_sided, fpq::detail::objective_words, {},
                     "what GPTQ and what follows minimise: the error at a linear's output, or "
                     "what the loss feels of it"),
         count_flag("polish", f.polish, bounds::polish,
                    "coordinate-descent passes after the solver"),
         count_flag("joint", f.joint, bounds::joint,
                    "coordinate-descent sweeps over scales and codes, after --polish"),
         choice_flag("smooth", f.smooth, fpq::detail::smooth_words, fpq::detail::smooth_synonyms,
                     "scales per input channel, folded into norms and weights before the "
                     "solver"),
         {"smooth_alpha", "X", "their exponent, from 0 to 1", "searched for every input",
          [&f](std::string const& text) {
              f.smooth_alpha = read_real("--smooth_alpha", bounds::smooth_alpha, text);
          }},
         choice_flag("transform_class", f.scheme.transform, fpq::detail::transform_words(),
                     fpq::detail::transform_synonyms, "rotation of inputs and weights"),
         count_flag("hadamard_group_size", f.scheme.transform_block, bounds::transform_block,
                    "width of the transform's blocks")}};
}

flag_group output_flags(harness_flags& f) {
    output_args& o = f.output;
    return {
        "Output",
        {path_flag("save_path", o.directory, "DIR",
                   "directory of the quantized checkpoint; alone it asks for a realquant export"),
         choice_flag("export_quantized_model", o.kind, fpq::detail::export_words,
                     fpq::detail::export_synonyms, "codes and scales, or decoded weights"),
         {"real_quant",
          {},
          "the same as --export_quantized_model realquant",
          {},
          [](std::string const& text) { (void)read_switch("real_quant", text); }},
         word_flag("export_format", o.layout, fpq::detail::layout_words,
                   fpq::detail::layout_synonyms, "auto: the first that holds the recipe"),
         {"max_shard_size", "BYTES", "of one file; 5GB and 2GiB are understood",
          std::to_string(o.max_shard_size), [&o](std::string const& text) {
              o.max_shard_size = read_bytes("--max_shard_size", bounds::shard_bytes, text);
          }}}};
}

flag_group evaluation_flags(harness_flags& f) {
    evaluation_args& e = f.evaluation;
    flag_group out{
        "Evaluation",
        {switch_flag("eval_perplexity", e.perplexity, true,
                     "perplexity and KL to the original after quantization"),
         paths_flag("eval_data", e.texts, "text of the evaluation; may be repeated"),
         count_flag("eval_characters", e.characters, bounds::characters, "of each text"),
         count_flag("eval_windows", e.windows, bounds::windows, "of each text"),
         choice_flag("eval_bos", e.add_special, special_tokens, special_synonyms,
                     "special tokens as the tokenizer adds them"),
         switch_flag("eval_openllm", f.openllm, true,
                     "the tasks of OpenLLM v1, or --lm_eval_tasks, on what was written")}};
    std::vector<flag_spec> const tasks = task_flags(e.tasks);
    out.flags.insert(out.flags.end(), tasks.begin(), tasks.end());
    return out;
}

flag_group run_flags(harness_flags& f, run_options& run) {
    flag_group out{
        "Run",
        {{"recipe",
          "FILE",
          "a recipe or a report in JSON; flags that are given override it",
          {},
          [](std::string const&) {}},
         path_flag("save_recipe", run.save_recipe, "FILE", "write the recipe of these flags here"),
         path_flag("report", run.report, "FILE",
                   "write a report here: a page where it ends in .html, else JSON"),
         switch_flag("dry_run", run.dry_run, true, "print the plan and stop"),
         switch_flag("restart", run.restart, true,
                     "discard what an interrupted run to --save_path left, do not go on with it"),
         switch_flag("verbose", run.verbose, true, "a line for every linear"),
         count_flag("threads", f.threads, bounds::threads, "worker threads"),
         device_flag(run.device, true),
         {"gpu_memory", "BYTES",
          "of the card that a run may take; 16GB is understood; hidden states that do not fit lie "
          "in the host's memory",
          "all that is free",
          [&run](std::string const& text) {
              run.memory.device = read_bytes("--gpu_memory", bounds::memory_bytes, text);
          }},
         {"host_memory", "BYTES",
          "for hidden states; what does not fit lies in a mapped file under TMPDIR. Linears whose "
          "outputs do not fit --objective two_sided are solved for their inputs alone",
          "no limit",
          [&run](std::string const& text) {
              run.memory.host = read_bytes("--host_memory", bounds::memory_bytes, text);
          }},
         products_flag(run.products)}};
    std::vector<flag_spec> const logs = log_flags(run.logs);
    out.flags.insert(out.flags.end(), logs.begin(), logs.end());
    return out;
}

flag_group harness_only() {
    return {"Of model_quant.py, accepted so that its scripts run; a note says what is not done",
            {accepted("fuse_global_scale", {}, "always done"),
             {"dtype", "WORD", "auto, float16, bfloat16, float32; the forward is float32", "auto",
              [](std::string const& text) {
                  constexpr std::array<std::string_view, 4> known{"auto", "float16", "bfloat16",
                                                                  "float32"};
                  constexpr std::array<synonym, 5> others{{{"fp16", "float16"},
                                                           {"half", "float16"},
                                                           {"bf16", "bfloat16"},
                                                           {"fp32", "float32"},
                                                           {"float", "float32"}}};
                  (void)fpq::detail::read_word("--dtype", known, others, text);
              }},
             accepted("amp", {}, "of its GPU run"),
             accepted("compile", {}, "of its GPU run"),
             accepted("cpu_offload_modules", {}, "of its GPU run"),
             accepted("cpu_offload_activations", {}, "of its GPU run"),
             accepted("parametrization", "WORD", "of learned transforms")}};
}

}  // namespace

program_spec quantize_program(harness_flags& flags, run_options& run) {
    program_spec program{
        "fpq-quantize",
        "Quantizes the linears of a Llama, Mistral or Qwen checkpoint.",
        {text_flags(flags), format_flags(flags), solver_flags(flags), output_flags(flags),
         evaluation_flags(flags), run_flags(flags, run), harness_only()},
        {"fpq-quantize --model_name_or_path MODEL --format nvfp4 --save_path OUT",
         "fpq-quantize --model_name_or_path MODEL --dataset_name_or_path text.txt --format mxfp4 "
         "\\\n"
         "      --a_bits 4 --gptq --w_observer sweep --num_sequences 128 --save_path OUT",
         "fpq-quantize --recipe report.json --eval_perplexity --eval_data wiki.test.raw.txt"},
        quantize_foreign()};
    return program;
}

}  // namespace fpq::tools
