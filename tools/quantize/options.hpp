// SPDX-License-Identifier: Apache-2.0
// The option table of fpq-quantize: flag, field of the recipe, help and check, declared once. The
// flags of the Python harness (FP-Quant's model_quant.py) keep their names and defaults.
#pragma once

#include <CLI/CLI.hpp>
#include <map>
#include <string>
#include <vector>

#include "common/console.hpp"
#include "common/products.hpp"
#include "fpq/pipeline/recipe.hpp"

namespace fpq::tools {

/// What the command line sets beside the recipe.
struct run_options {
    std::filesystem::path report;
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

inline void add_text_options(CLI::App& app, recipe& r) {
    value(app, "--model_name_or_path", r.model, "checkpoint directory")->required();
    value(app, "--dataset_name_or_path", r.dataset,
          "calibration text: .txt, .jsonl, .json.gz, a directory, or self");
    value(app, "--sequence_length", r.sequence_length, "tokens of a window")->capture_default_str();
    value(app, "--num_sequences", r.num_sequences, "windows")->capture_default_str();
    value(app, "--seed", r.seed, "of windows and random transforms")->capture_default_str();
}

inline void add_format_options(CLI::App& app, recipe& r) {
    choice<format_family>(app, "--format", r.family,
                          {{"int", format_family::integer},
                           {"fp", format_family::fp},
                           {"nvfp", format_family::nvfp},
                           {"mxfp", format_family::mxfp}},
                          "int, fp, nvfp, mxfp");
    value(app, "--w_bits", r.w_bits, "weights; 16: not quantized")->required();
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
    app.add_option("--element", r.element, "of 6 and 8 bits: e2m3, e3m2, e4m3, e5m2")
        ->check(CLI::IsMember({"auto", "e2m3", "e3m2", "e4m3", "e5m2"}))
        ->capture_default_str();
    app.add_flag("--asymmetric{false}", r.symmetric, "int weights with a zero point");
    choice<bool>(app, "--global_scale", r.pow2_global_scale, {{"pow2", true}, {"exact", false}},
                 "pow2, exact");
}

inline void add_solver_options(CLI::App& app, recipe& r) {
    app.add_flag("--gptq", r.gptq, "GPTQ instead of rounding to nearest");
    choice<quant_order>(
        app, "--quantization_order", r.order,
        {{"default", quant_order::natural}, {"activation", quant_order::activation}},
        "default, activation");
    value(app, "--rel_damp", r.rel_damp, "of the mean Hessian diagonal")->capture_default_str();
    value(app, "--polish", r.polish, "coordinate-descent passes after GPTQ")->capture_default_str();
    std::map<std::string, transform_kind> transforms;
    for (std::string_view const name : fpq::detail::transform_names) {
        transforms.emplace(name, *parse_transform(name));
    }
    choice(app, "--transform_class", r.transform, transforms, "identity, hadamard, ...");
    value(app, "--hadamard_group_size", r.transform_block, "width of the transform's blocks")
        ->capture_default_str();
}

inline void add_output_options(CLI::App& app, recipe& r, run_options& run) {
    choice<export_kind>(app, "--export_quantized_model", r.exported,
                        {{"", export_kind::none},
                         {"realquant", export_kind::realquant},
                         {"pseudoquant", export_kind::pseudoquant}},
                        "realquant, pseudoquant");
    app.add_flag_callback(
        both_spellings("--real_quant"), [&r] { r.exported = export_kind::realquant; },
        "the same as --export_quantized_model realquant");
    choice<dialect>(app, "--export_format", r.layout,
                    {{"fp_quant", dialect::fp_quant},
                     {"compressed-tensors", dialect::compressed_tensors},
                     {"modelopt", dialect::modelopt}},
                    "fp_quant, compressed-tensors, modelopt");
    value(app, "--save_path", r.save_path, "directory of the quantized checkpoint");
    value(app, "--max_shard_size", r.max_shard_size, "bytes")->capture_default_str();
    app.add_flag(both_spellings("--eval_perplexity"), r.eval_perplexity,
                 "perplexity and KL to the original after quantization");
    app.add_option(both_spellings("--eval_data"), r.eval_data, "text of the evaluation; repeatable")
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
    value(app, "--eval_characters", r.eval_characters, "of each text; 0: all");
    value(app, "--eval_windows", r.eval_windows, "of each text; 0: all");
    choice<bool>(app, "--eval_bos", r.eval_bos, {{"auto", true}, {"never", false}}, "auto, never");
    app.add_option("--report", run.report, "write a JSON report here");
    app.add_flag(both_spellings("--dry_run"), run.dry_run, "print the plan and stop");
    app.add_flag("--verbose", run.verbose, "a line for every linear");
    app.add_option("--threads", r.threads, "0: all processors");
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

/// Declares every option; call before parsing. `r` and `run` hold the defaults and get the values.
inline void declare_options(CLI::App& app, recipe& r, run_options& run) {
    app.name("fpq-quantize");
    app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
    detail::add_text_options(app, r);
    detail::add_format_options(app, r);
    detail::add_solver_options(app, r);
    detail::add_output_options(app, r, run);
    detail::add_compatibility_options(app, run);
}

}  // namespace fpq::tools
