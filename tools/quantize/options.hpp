// SPDX-License-Identifier: Apache-2.0
// The option table of fpq-quantize: flag, field of the recipe, help and check, declared once. The
// flags of the Python harness (FP-Quant's model_quant.py) keep their names and defaults.
#pragma once

#include <CLI/CLI.hpp>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/console.hpp"
#include "common/products.hpp"
#include "fpq/dialect/registry.hpp"
#include "fpq/pipeline/flags.hpp"
#include "fpq/pipeline/recipe_json.hpp"

namespace fpq::tools {

/// What the command line sets beside the recipe.
struct run_options {
    std::filesystem::path report;
    std::filesystem::path recipe;
    std::filesystem::path save_recipe;
    std::string products = "auto";
    bool dry_run = false;
    bool verbose = false;
    std::vector<std::string> ignored;  // flags accepted for compatibility that change nothing here
};

namespace detail {

/// Binds `field` to one of the names in `choices`.
template <class T>
CLI::Option* choice(CLI::App& app, std::string const& flag, T& field,
                    std::map<std::string, T> const& choices, std::string const& help) {
    return app.add_option(both_spellings(flag), field, help)
        ->transform(CLI::CheckedTransformer(choices).description(""))
        ->default_str([&choices, &field] {
            for (auto const& [name, value] : choices) {
                if (value == field) {
                    return name;
                }
            }
            return std::string{};
        }());
}

template <class T>
CLI::Option* value(CLI::App& app, std::string const& flag, T& field, std::string const& help) {
    return app.add_option(both_spellings(flag), field, help);
}

/// A flag that the Python harness has and that needs nothing here.
inline void accepted(CLI::App& app, std::string const& flag, std::vector<std::string>& ignored) {
    app.add_flag_callback(
           both_spellings(flag), [flag, &ignored] { ignored.push_back(flag); },
           "accepted, changes nothing here")
        ->group("Compatibility");
}

inline void add_text_options(CLI::App& app, harness_flags& f) {
    value(app, "--model_name_or_path", f.model, "checkpoint directory");
    calibration_args& c = f.calibration;
    value(app, "--dataset_name_or_path", c.dataset,
          "calibration text: .txt, .jsonl, .json.gz, a directory, - (standard input), or self");
    value(app, "--text_column", c.text_column, "member of a row that is its text");
    value(app, "--sequence_length", c.sequence_length, "tokens of a window")->capture_default_str();
    value(app, "--num_sequences", c.num_sequences, "windows")->capture_default_str();
    value(app, "--seed", c.seed, "of windows and random transforms")->capture_default_str();
}

inline void add_format_options(CLI::App& app, harness_flags& f) {
    scheme_flags& r = f.scheme;
    choice<format_family>(app, "--format", r.family,
                          {{"int", format_family::integer},
                           {"fp", format_family::fp},
                           {"nvfp", format_family::nvfp},
                           {"mxfp", format_family::mxfp}},
                          "int, fp, nvfp, mxfp");
    value(app, "--w_bits", r.w_bits, "weights; 16: not quantized");
    value(app, "--a_bits", r.a_bits, "linear inputs; 16: not quantized")->capture_default_str();
    value(app, "--w_group_size", r.w_group_size, "default: the whole row");
    value(app, "--a_group_size", r.a_group_size, "default: the whole row");
    std::map<std::string, granularity> const grains{{"tensor", granularity::tensor},
                                                    {"channel", granularity::channel},
                                                    {"group", granularity::group}};
    choice(app, "--w_granularity", r.w_grain, grains, "tensor, channel, group");
    choice(app, "--a_granularity", r.a_grain, grains, "tensor, channel, group");
    choice<scale_kind>(
        app, "--scale_precision", r.scale_precision,
        {{"fp16", scale_kind::fp16}, {"e8m0", scale_kind::e8m0}, {"e4m3", scale_kind::e4m3}},
        "fp16, e8m0, e4m3");
    std::map<std::string, scale_rule> const observers{
        {"minmax", scale_rule::minmax}, {"mse", scale_rule::mse}, {"sweep", scale_rule::sweep}};
    choice(app, "--w_observer", r.w_observer, observers, "minmax, mse, sweep");
    choice<scale_rule>(app, "--a_observer", r.a_observer,
                       {{"minmax", scale_rule::minmax}, {"sweep", scale_rule::sweep}},
                       "minmax, sweep");
    app.add_option_function<std::string>(
           both_spellings("--mx_rule"),
           [&r](std::string const& word) {
               for (auto const& [rule, name] : fpq::detail::rule_words()) {
                   r.mx_rule = name == word ? std::optional(rule) : r.mx_rule;
               }
           },
           "how an MX scale follows from a maximum: fp_quant, even, floor, ceil, divisor_7_25")
        ->check(CLI::IsMember({"fp_quant", "even", "floor", "ceil", "divisor_7_25"}));
    app.add_option("--rule", f.rules,
                   "PATTERN=PRESET, the formats of the modules that match; repeatable. PATTERN: a "
                   "name, Linear, or re:REGEX; PRESET: " +
                       preset_names())
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
    app.add_option_function<std::vector<std::string>>(
           "--ignore", [&f](std::vector<std::string> const& names) { f.ignore = names; },
           "patterns of modules that stay as they are; default: lm_head")
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
    app.add_option("--element", r.element, "of 6 and 8 bits: e2m3, e3m2, e4m3, e5m2")
        ->check(CLI::IsMember({"auto", "e2m3", "e3m2", "e4m3", "e5m2"}))
        ->capture_default_str();
    app.add_flag("--asymmetric{false}", r.symmetric, "int weights with a zero point");
    choice<bool>(app, "--global_scale", r.pow2_global_scale, {{"pow2", true}, {"exact", false}},
                 "pow2, exact");
}

inline void add_solver_options(CLI::App& app, harness_flags& r) {
    app.add_flag("--gptq", r.gptq, "GPTQ instead of rounding to nearest");
    choice<quant_order>(
        app, "--quantization_order", r.order,
        {{"default", quant_order::natural}, {"activation", quant_order::activation}},
        "default, activation");
    value(app, "--rel_damp", r.rel_damp, "of the mean Hessian diagonal")->capture_default_str();
    value(app, "--polish", r.polish, "coordinate-descent passes after the solver")
        ->capture_default_str();
    std::map<std::string, transform_kind> transforms;
    for (auto const& [kind, name] : fpq::detail::transform_words()) {
        transforms.emplace(name, kind);
    }
    choice(app, "--transform_class", r.scheme.transform, transforms, "identity, hadamard, ...");
    value(app, "--hadamard_group_size", r.scheme.transform_block, "width of the transform's blocks")
        ->capture_default_str();
}

inline void add_output_options(CLI::App& app, harness_flags& f, run_options& run) {
    output_args& o = f.output;
    evaluation_args& e = f.evaluation;
    choice<export_kind>(app, "--export_quantized_model", o.kind,
                        {{"", export_kind::none},
                         {"realquant", export_kind::realquant},
                         {"pseudoquant", export_kind::pseudoquant}},
                        "realquant, pseudoquant");
    app.add_flag_callback(
        both_spellings("--real_quant"), [&o] { o.kind = export_kind::realquant; },
        "the same as --export_quantized_model realquant");
    std::vector<std::string> layouts{"auto"};
    for (dialect const* const d : dialects) {
        layouts.emplace_back(d->name);
    }
    value(app, "--export_format", o.layout, "auto, compressed-tensors, fp_quant, modelopt")
        ->check(CLI::IsMember(layouts))
        ->capture_default_str();
    value(app, "--save_path", o.directory, "directory of the quantized checkpoint");
    value(app, "--max_shard_size", o.max_shard_size, "bytes")->capture_default_str();
    app.add_flag(both_spellings("--eval_perplexity"), e.perplexity,
                 "perplexity and KL to the original after quantization");
    app.add_option(both_spellings("--eval_data"), e.texts, "text of the evaluation; repeatable")
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
    value(app, "--eval_characters", e.characters, "of each text; 0: all");
    value(app, "--eval_windows", e.windows, "of each text; 0: all");
    choice<bool>(app, "--eval_bos", e.add_special, {{"auto", true}, {"never", false}},
                 "auto, never");
    app.add_option("--recipe", run.recipe,
                   "a recipe or a report in JSON; flags that are given override it");
    app.add_option(both_spellings("--save_recipe"), run.save_recipe,
                   "write the recipe of these flags here");
    app.add_option("--report", run.report, "write a JSON report here");
    app.add_flag(both_spellings("--dry_run"), run.dry_run, "print the plan and stop");
    app.add_flag("--verbose", run.verbose, "a line for every linear");
    app.add_option("--threads", f.threads, "0: all processors");
    add_products_option(app, run.products);
}

inline void add_compatibility_options(CLI::App& app, run_options& run) {
    for (char const* flag :
         {"--fuse_global_scale", "--amp", "--compile", "--cpu_offload_modules",
          "--cpu_offload_activations", "--log_wandb", "--disable_thinking", "--eval_openllm"}) {
        accepted(app, flag, run.ignored);
    }
    app.add_option("--dtype", "accepted; the forward is float32 on bf16-rounded weights")
        ->check(CLI::IsMember({"auto", "float16", "float32", "bfloat16"}))
        ->group("Compatibility");
    app.add_option(both_spellings("--lm_eval_batch_size"), "accepted")->group("Compatibility");
    app.add_option(both_spellings("--lm_eval_tasks"), "accepted")
        ->expected(1, 100)
        ->group("Compatibility");
    app.add_option("--device", "auto, cpu")
        ->check(CLI::IsMember({"auto", "cpu"}))
        ->group("Compatibility");
}

}  // namespace detail

/// Declares every option; call before parsing. `f` and `run` hold the defaults and get the values.
/// With a recipe file the model and the bits may come from there.
inline void declare_options(CLI::App& app, harness_flags& f, run_options& run, bool from_recipe) {
    app.name("fpq-quantize");
    app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
    detail::add_text_options(app, f);
    detail::add_format_options(app, f);
    detail::add_solver_options(app, f);
    detail::add_output_options(app, f, run);
    detail::add_compatibility_options(app, run);
    for (char const* const needed : {"--model_name_or_path", "--w_bits"}) {
        app.get_option(needed)->required(!from_recipe);
    }
}

}  // namespace fpq::tools
