// SPDX-License-Identifier: Apache-2.0
// From a command line to flags: what several flags mean together.
#include <map>
#include <string>
#include <utility>

#include "fpq/core/hosted/error.hpp"
#include "fpq/pipeline/bounds.hpp"
#include "fpq/pipeline/scheme_flags.hpp"
#include "quantize/options.hpp"

namespace fpq::tools {

namespace {

/// What a recipe file may set and a run may have no use for.
std::map<std::string, std::string> settings_of(harness_flags const& f) {
    std::string texts;
    for (std::filesystem::path const& text : f.evaluation.texts) {
        texts += text.string() + " ";
    }
    return {{"dataset_name_or_path", f.calibration.dataset},
            {"text_column", f.calibration.text_column},
            {"sequence_length", std::to_string(f.calibration.sequence_length)},
            {"num_sequences", std::to_string(f.calibration.num_sequences)},
            {"seed", std::to_string(f.calibration.seed)},
            {"export_format", f.output.layout},
            {"save_path", f.output.directory.string()},
            {"max_shard_size", std::to_string(f.output.max_shard_size)},
            {"eval_data", texts},
            {"eval_characters", std::to_string(f.evaluation.characters)},
            {"eval_windows", std::to_string(f.evaluation.windows)},
            {"eval_bos", f.evaluation.add_special ? "auto" : "never"},
            {"lm_eval_batch_size", std::to_string(f.evaluation.tasks.batch)},
            {"lm_eval_include_path", f.evaluation.tasks.include.string()},
            {"disable_thinking", f.evaluation.tasks.thinking ? "false" : "true"}};
}

/// Bits that --format says ("nvfp4") against those given.
void take_bits(char const* flag, int said, given_flags const& given, int& bits,
               std::string const& format) {
    if (said == 0) {
        return;
    }
    if (given.contains(flag) && bits != said) {
        fail_usage("--" + std::string(flag), "--format " + format, std::to_string(said),
                   std::to_string(bits));
    }
    bits = said;
}

/// --save_path alone is a wish to write; --real_quant is a kind of export.
void take_export(given_options& out, harness_flags& flags) {
    given_flags const& given = out.given;
    bool const kind_given = given.contains("export_quantized_model");
    if (given.contains("real_quant")) {
        if (kind_given && flags.output.kind != export_kind::realquant) {
            fail_usage("--real_quant", {}, "--export_quantized_model realquant, or none",
                       "--export_quantized_model " + std::string(name_of(flags.output.kind)));
        }
        flags.output.kind = export_kind::realquant;
    }
    if (flags.output.kind == export_kind::none && !kind_given &&
        flags.given.contains("save_path")) {  // a file says its kind
        flags.output.kind = export_kind::realquant;
        out.notes.push_back("--save_path alone: a realquant export, --export_format " +
                            flags.output.layout);
    }
}

}  // namespace

given_options take_quantize_flags(program_spec const& program, command_line const& line,
                                  harness_flags& flags, bool from_recipe) {
    given_options out;
    auto const defaults = settings_of(harness_flags{});
    for (auto const& [name, value] : settings_of(flags)) {
        if (value != defaults.at(name)) {
            out.given[name] = value;
        }
    }
    for (auto const& [name, values] : line.values) {
        out.given[name] = values.back();
        flags.given.insert(name);
    }
    for (flag_group const& group : program.groups) {
        for (flag_spec const& flag : group.flags) {
            auto const at = out.given.find(flag.name);
            if (flag.value.empty() && at != out.given.end() &&
                !read_switch(flag.name, at->second)) {
                out.given.erase(at);
            }
        }
    }
    take_values(program, line, out.notes);
    if (flags.model.empty()) {
        fail_usage("--model_name_or_path", from_recipe ? "the recipe names no \"model\"" : "",
                   "a checkpoint directory", "nothing");
    }
    if (auto const at = line.values.find("format"); at != line.values.end()) {
        std::string const& word = at->second.back();
        format_word const said = read_format("--format", word);
        take_bits("w_bits", said.w_bits, out.given, flags.scheme.w_bits, word);
        take_bits("a_bits", said.a_bits, out.given, flags.scheme.a_bits, word);
        if (said.w_bits != 0) {
            out.given.try_emplace("w_bits", std::to_string(said.w_bits));
        }
    }
    if (!from_recipe && !out.given.contains("w_bits")) {
        fail_usage("--w_bits", {}, described(bounds::bits), "nothing");
    }
    take_export(out, flags);
    return out;
}

std::vector<std::string> idle_flags(given_options const& options, recipe const& r,
                                    std::vector<scheme> const& schemes, run_options const& run) {
    std::vector<std::string> notes = idle_notes(options.given, r, schemes);
    std::string idle;
    for (auto const& [flag, given] : {std::pair{"--report", !run.report.empty()},
                                      std::pair{"--log_dir", !run.logs.directory.empty()},
                                      std::pair{"--log_wandb", run.logs.wandb}}) {
        idle += !given ? "" : (idle.empty() ? "" : ", ") + std::string(flag);
    }
    if (run.dry_run && !idle.empty()) {
        notes.push_back(idle + ": a dry run solves nothing that could be told");
    }
    if (run.restart && r.output.kind == export_kind::none) {
        notes.emplace_back("--restart: nothing is written, so that nothing can go on");
    }
    return notes;
}

}  // namespace fpq::tools
