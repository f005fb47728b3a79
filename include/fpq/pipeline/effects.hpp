// SPDX-License-Identifier: Apache-2.0
// Floor 8. No flag is swallowed: for every flag of fpq-quantize, when it has an effect on a run,
// and what is said when it has none. A flag that contradicts others is refused where its value is
// read (scheme_flags.hpp, resolve.hpp); this table is about those that have nothing to do.
#pragma once

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "fpq/format/scale_rule.hpp"
#include "fpq/method/methods.hpp"
#include "fpq/pipeline/recipe.hpp"
#include "fpq/pipeline/words.hpp"

namespace fpq {

/// Flags that were given, without their dashes, and what they were given as.
using given_flags = std::map<std::string, std::string, std::less<>>;

/// The schemes of a recipe's rules. A plan holds those of them that some module has in the end.
inline std::vector<scheme> schemes_of(recipe const& r) {
    std::vector<scheme> out;
    for (module_rule const& rule : r.rules) {
        if (!rule.how.does_nothing()) {
            out.push_back(rule.how);
        }
    }
    return out;
}

/// What a recipe does, as far as flags have to do with it. `schemes` are those that act.
struct recipe_facts {
    recipe_facts(recipe const& r, std::vector<scheme> const& schemes)
        : what(r), asks(!schemes_of(r).empty()) {
        for (scheme const& how : schemes) {
            for (std::optional<quant_args> const* const a : {&how.weight, &how.input}) {
                if (*a) {
                    bool const input = a == &how.input;
                    (input ? inputs : weights) = true;
                    powers = powers || (*a)->format.scale == scale_kind::e8m0;
                    globals = globals || (*a)->format.has_global;
                    input_globals = input_globals || (input && (*a)->format.has_global);
                }
            }
            random = random || is_random(how.transform.kind);
            transforms = transforms || !how.transform.is_identity();
        }
        if (!r.rules.empty() && r.rules.front().pattern == "Linear" &&
            std::find(schemes.begin(), schemes.end(), r.rules.front().how) != schemes.end()) {
            common = r.rules.front().how;
        }
        gptq = std::any_of(r.methods.begin(), r.methods.end(), [](method const& m) {
            return std::holds_alternative<gptq_method>(m) ||
                   std::holds_alternative<two_sided_method>(m);
        });
        method_needs const needs = needs_of(r.methods);
        smooths = weights && r.smoothing.acts();
        looks =
            (weights && (needs.second_moment || needs.output_moment)) || input_globals || smooths;
        writes = r.output.kind != export_kind::none;
        evaluates = r.evaluation.perplexity;
        asks_tasks = !r.evaluation.tasks.names.empty();
        evaluates_calibration = evaluates && r.evaluation.texts.empty();
    }

    [[nodiscard]] bool quantizes() const noexcept { return weights || inputs; }
    [[nodiscard]] bool common_quantizes() const noexcept {
        return common.weight.has_value() || common.input.has_value();
    }
    /// Windows of calibration text are seen.
    [[nodiscard]] bool calibrates() const noexcept {
        return looks && !what.calibration.dataset.empty();
    }

    recipe const& what;
    bool asks = false;  ///< some rule has a format, whether or not a module is left for it
    scheme common;      ///< of the flags
    bool weights = false;
    bool inputs = false;
    bool powers = false;         ///< E8M0 scales
    bool globals = false;        ///< global scales
    bool input_globals = false;  ///< those of inputs, which need text
    bool transforms = false;
    bool random = false;  ///< a transform that draws
    bool gptq = false;
    bool smooths = false;  ///< scales of inputs are folded
    bool looks = false;    ///< something needs calibration text
    bool writes = false;
    bool evaluates = false;
    bool evaluates_calibration = false;
    bool asks_tasks = false;

private:
    static bool is_random(transform_kind kind) noexcept {
        return kind == transform_kind::random_hadamard || kind == transform_kind::fast_food ||
               kind == transform_kind::orthogonal || kind == transform_kind::kronecker;
    }
};

/// When a flag has an effect, and why it has none otherwise.
struct flag_effect {
    std::string_view flag;
    bool (*acts)(recipe_facts const& facts, std::string_view value);
    std::string_view idle;
};

namespace detail {

inline bool always(recipe_facts const&, std::string_view) { return true; }
inline bool never(recipe_facts const&, std::string_view) { return false; }
inline bool is_auto(recipe_facts const&, std::string_view value) { return value == "auto"; }
inline bool if_quantized(recipe_facts const& f, std::string_view) { return f.common_quantizes(); }
inline bool if_weights(recipe_facts const& f, std::string_view) { return f.weights; }
inline bool if_inputs(recipe_facts const& f, std::string_view) { return f.inputs; }
inline bool if_gptq(recipe_facts const& f, std::string_view) { return f.gptq && f.weights; }
inline bool if_written(recipe_facts const& f, std::string_view) { return f.writes; }
inline bool if_evaluated(recipe_facts const& f, std::string_view) { return f.evaluates; }
inline bool if_calibrated(recipe_facts const& f, std::string_view) { return f.calibrates(); }
inline bool if_tasks(recipe_facts const& f, std::string_view) { return f.asks_tasks; }
inline bool if_states(recipe_facts const& f, std::string_view) {
    return f.calibrates() || f.evaluates;
}
inline bool if_grouped(std::optional<quant_args> const& a, std::string_view value) {
    return a && (a->format.grain == granularity::group || value == "-1");
}

/// Whether its formats say what the scales are.
inline bool is_fixed(scheme const& how) {
    std::optional<quant_args> const& a = how.weight ? how.weight : how.input;
    return a && a->format.scale != scale_kind::fp16;
}
/// What check_family changes has a note of its own.
inline bool is_fp16(std::string_view value) {
    return read_word("scale_precision", scale_words, scale_synonyms, value) == scale_kind::fp16;
}

inline constexpr std::string_view not_quantized = "nothing is quantized that it is about";
inline constexpr std::string_view float_forward =
    "nothing to do: weights are read as they are stored, computed with in float32, on the CPU, a "
    "layer at a time";
inline constexpr std::string_view no_tasks =
    "no tasks are run without --eval_openllm or --lm_eval_tasks";
inline constexpr std::string_view no_text = "nothing in this run looks at calibration text";
inline constexpr std::string_view no_states = "no hidden states are held: no text goes through";
inline constexpr std::string_view no_evaluation = "nothing is evaluated without --eval_perplexity";
inline constexpr std::string_view no_export = "nothing is written without --save_path";

}  // namespace detail

/// Every flag that has to do with a recipe or that is the harness's, in the order of the help.
/// Those that are about the program's files and words (--recipe, --report, --verbose ...) have no
/// row.
inline constexpr std::array<flag_effect, 59> flag_effects{{
    {"model_name_or_path", detail::always, {}},
    {"dataset_name_or_path",
     [](recipe_facts const& f, std::string_view) { return f.looks || f.evaluates_calibration; },
     detail::no_text},
    {"text_column", detail::if_states, "no text is read"},
    {"sequence_length",
     [](recipe_facts const& f, std::string_view) { return f.calibrates() || f.evaluates; },
     "no text is cut into windows"},
    {"num_sequences", detail::if_calibrated, detail::no_text},
    {"seed", [](recipe_facts const& f, std::string_view) { return f.calibrates() || f.random; },
     "nothing is drawn at random"},
    {"format", detail::if_quantized, detail::not_quantized},
    {"w_bits", detail::always, {}},
    {"a_bits", detail::always, {}},
    {"w_group_size",
     [](recipe_facts const& f, std::string_view v) {
         return detail::if_grouped(f.common.weight, v);
     },
     "no weight is quantized in groups"},
    {"a_group_size",
     [](recipe_facts const& f, std::string_view v) {
         return detail::if_grouped(f.common.input, v);
     },
     "no input is quantized in groups"},
    {"w_granularity",
     [](recipe_facts const& f, std::string_view) { return f.common.weight.has_value(); },
     detail::not_quantized},
    {"a_granularity",
     [](recipe_facts const& f, std::string_view) { return f.common.input.has_value(); },
     detail::not_quantized},
    {"scale_precision",
     [](recipe_facts const& f, std::string_view v) {
         return f.common_quantizes() && !(detail::is_fixed(f.common) && detail::is_fp16(v));
     },
     "nothing is quantized whose scales it is about (nvfp has e4m3, mxfp e8m0)"},
    {"element", detail::always, {}},
    {"asymmetric", detail::if_quantized, detail::not_quantized},
    {"global_scale", [](recipe_facts const& f, std::string_view) { return f.globals; },
     "only nvfp has global scales"},
    {"w_observer", detail::if_weights, detail::not_quantized},
    {"a_observer", detail::if_inputs, detail::not_quantized},
    {"mx_rule", [](recipe_facts const& f, std::string_view) { return f.powers; },
     "only mxfp has scales that are powers of two"},
    {"rule", detail::always, {}},
    {"ignore", [](recipe_facts const& f, std::string_view) { return f.asks; },
     "nothing is quantized"},
    {"gptq", detail::if_weights, detail::not_quantized},
    {"quantization_order",
     [](recipe_facts const& f, std::string_view v) {
         return detail::if_gptq(f, v) || v == "default";
     },
     "it is an option of --gptq"},
    {"rel_damp", detail::if_gptq, "it is an option of --gptq"},
    {"objective",
     [](recipe_facts const& f, std::string_view v) {
         return detail::if_gptq(f, v) || v == "output";
     },
     "it is an option of --gptq"},
    {"smooth", [](recipe_facts const& f, std::string_view v) { return f.smooths || v == "none"; },
     detail::not_quantized},
    {"smooth_alpha", [](recipe_facts const& f, std::string_view) { return f.smooths; },
     "it is an option of --smooth"},
    {"polish", [](recipe_facts const& f, std::string_view v) { return f.weights || v == "0"; },
     detail::not_quantized},
    {"joint", [](recipe_facts const& f, std::string_view v) { return f.weights || v == "0"; },
     detail::not_quantized},
    {"transform_class",
     [](recipe_facts const& f, std::string_view v) { return f.quantizes() || v == "identity"; },
     "nothing is quantized"},
    {"hadamard_group_size", [](recipe_facts const& f, std::string_view) { return f.transforms; },
     "there is no transform (--transform_class)"},
    {"export_quantized_model", detail::always, {}},
    {"real_quant", detail::always, {}},
    {"export_format",
     [](recipe_facts const& f, std::string_view) {
         // The rule of MX scales follows a layout that was asked for by name.
         return f.writes || (f.powers && f.what.output.layout == "fp_quant");
     },
     detail::no_export},
    {"save_path", detail::if_written, "nothing is written: no export was asked for"},
    {"max_shard_size", detail::if_written, detail::no_export},
    {"eval_perplexity", detail::always, {}},
    {"eval_data", detail::if_evaluated, detail::no_evaluation},
    {"eval_characters", detail::if_evaluated, detail::no_evaluation},
    {"eval_windows", detail::if_evaluated, detail::no_evaluation},
    {"eval_bos", detail::if_evaluated, detail::no_evaluation},
    {"threads", detail::always, {}},
    {"fuse_global_scale", detail::never,
     "nothing to do: linears that engines fuse always share one global scale"},
    {"dtype", detail::is_auto, detail::float_forward},
    {"device", detail::always, {}},
    {"gpu_memory", detail::if_states, detail::no_states},
    {"host_memory", detail::if_states, detail::no_states},
    {"amp", detail::never, detail::float_forward},
    {"compile", detail::never, detail::float_forward},
    {"cpu_offload_modules", detail::never, detail::float_forward},
    {"cpu_offload_activations", detail::never, detail::float_forward},
    {"log_wandb", detail::always, {}},
    {"eval_openllm", detail::always, {}},
    {"lm_eval_tasks", detail::always, {}},
    {"lm_eval_batch_size", detail::if_tasks, detail::no_tasks},
    {"lm_eval_include_path", detail::if_tasks, detail::no_tasks},
    {"disable_thinking", detail::if_tasks, detail::no_tasks},
    {"parametrization", detail::never,
     "there are no learned transforms; --transform_class chooses one"},
}};

/// One line for each reason why flags that were given do nothing: "--a, --b: why". `schemes` are
/// those of the plan, or schemes_of(r) before there is one.
inline std::vector<std::string> idle_notes(given_flags const& given, recipe const& r,
                                           std::vector<scheme> const& schemes) {
    recipe_facts const facts(r, schemes);
    std::vector<std::pair<std::string_view, std::string>> reasons;  // why, flags
    for (flag_effect const& effect : flag_effects) {
        auto const at = given.find(effect.flag);
        if (at == given.end() || effect.acts(facts, at->second)) {
            continue;
        }
        auto known = std::find_if(reasons.begin(), reasons.end(),
                                  [&](auto const& one) { return one.first == effect.idle; });
        if (known == reasons.end()) {
            known = reasons.insert(known, {effect.idle, std::string{}});
        }
        known->second += (known->second.empty() ? "--" : ", --") + std::string(effect.flag);
    }
    std::vector<std::string> notes;
    notes.reserve(reasons.size());
    for (auto const& [why, flags] : reasons) {
        notes.push_back(flags + ": " + std::string(why));
    }
    return notes;
}

}  // namespace fpq
