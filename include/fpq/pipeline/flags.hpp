// SPDX-License-Identifier: Apache-2.0
// Floor 8. The flags of the Python harness (FP-Quant's model_quant.py) and ours as values, and the
// one function that makes a recipe of them. The spelling of flags is tools/quantize/options.hpp's.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/core/hosted/printable.hpp"
#include "fpq/pipeline/bounds.hpp"
#include "fpq/pipeline/presets.hpp"
#include "fpq/pipeline/recipe.hpp"
#include "fpq/pipeline/scheme_flags.hpp"
#include "fpq/solve/smooth.hpp"

namespace fpq {

/// What a recipe file holds that flags cannot say.
struct recipe_base {
    scheme common;                  // of the first rule, for `Linear`
    bool has_common = false;        // there is such a rule
    scheme_flags common_as_flags;   // the nearest flags
    bool flags_say_all = false;     // they say exactly `common`
    std::vector<module_rule> more;  // the other rules
    std::vector<std::string> ignore;
    std::uint64_t seed = 42;       // of the calibration
    bool weigh_by_moment = false;  // of rtn
    bool rtn_as_flags = true;      // what the flags give for it is the same
};

/// All flags.
struct harness_flags {
    scheme_flags scheme;
    std::vector<std::string> rules;  // PATTERN=PRESET
    std::optional<recipe_base> base;
    std::set<std::string, std::less<>> given;  // over `base`, also those that say what it says
    std::optional<std::vector<std::string>> ignore;  // unset: the recipe file's, or the default
    bool gptq = false;
    quant_order order = quant_order::natural;
    double rel_damp = 0.01;
    bool two_sided = false;  // --objective two_sided
    int polish = 0;
    int joint = 0;
    smooth_rule smooth = smooth_rule::none;
    std::optional<double> smooth_alpha;  // unset: searched
    std::filesystem::path model;
    calibration_args calibration;
    output_args output;
    evaluation_args evaluation;
    bool openllm = false;  // the tasks of OpenLLM v1, unless others are named
    int threads = 0;
};

/// OpenLLM v1 as FP-Quant runs it, by the harness's names.
inline constexpr std::array<std::string_view, 6> openllm_tasks{
    "mmlu_cot_llama", "arc_challenge_llama", "gsm8k_llama",
    "hellaswag",      "winogrande",          "truthfulqa_mc2"};

/// The scheme that the flags ask for. Throws fpq::error (usage) by flag.
inline scheme scheme_of(harness_flags const& flags, std::vector<std::string>& notes) {
    scheme_flags const& f = flags.scheme;
    detail::check_bits(f, f.w_bits, "w_bits");
    detail::check_bits(f, f.a_bits, "a_bits");
    detail::check_family(f, notes);
    scheme s;
    scale_rule const mx = mx_rule_of(f, flags.output.layout);
    if (f.w_bits < 16) {
        s.weight = quant_args{detail::operand_format(f, f.w_bits, f.w_grain, f.w_group_size),
                              f.w_observer, mx, f.pow2_global_scale, false};
    }
    if (f.a_bits < 16) {
        s.input = quant_args{detail::operand_format(f, f.a_bits, f.a_grain, f.a_group_size),
                             f.a_observer, mx, f.pow2_global_scale, true};
    }
    s.transform = {f.transform, f.transform_block, flags.calibration.seed};
    return s;
}

namespace detail {

/// Rounding under the sweep weighs by what it saw when there is text.
inline bool weighs(harness_flags const& flags) {
    return flags.scheme.w_observer == scale_rule::sweep && !flags.calibration.dataset.empty();
}

/// Whether a flag overrides a recipe file: it was given, or has another value than the file's.
inline bool overrides(harness_flags const& flags, std::string_view flag, bool differs) {
    return differs || flags.given.contains(flag);
}

/// Puts into a scheme of a recipe file what flags choose for every rule, as for those of --rule:
/// observers, E8M0 rule, global scales and transform.
inline void override_scheme(harness_flags const& flags, scheme& how) {
    scheme_flags const& now = flags.scheme;
    scheme_flags const& file = flags.base->common_as_flags;
    if (how.weight && overrides(flags, "w_observer", now.w_observer != file.w_observer)) {
        how.weight->rule = now.w_observer;
    }
    if (how.input && overrides(flags, "a_observer", now.a_observer != file.a_observer)) {
        how.input->rule = now.a_observer;
    }
    for (std::optional<quant_args>* const a : {&how.weight, &how.input}) {
        if (*a && now.mx_rule && overrides(flags, "mx_rule", now.mx_rule != file.mx_rule)) {
            (*a)->mx = *now.mx_rule;
        }
        if (*a &&
            overrides(flags, "global_scale", now.pow2_global_scale != file.pow2_global_scale)) {
            (*a)->pow2_global = now.pow2_global_scale;
        }
    }
    transform_args& t = how.transform;
    t.kind = overrides(flags, "transform_class", now.transform != file.transform) ? now.transform
                                                                                  : t.kind;
    t.block = overrides(flags, "hadamard_group_size", now.transform_block != file.transform_block)
                  ? now.transform_block
                  : t.block;
    t.seed = overrides(flags, "seed", flags.calibration.seed != flags.base->seed)
                 ? flags.calibration.seed
                 : t.seed;
}

/// A flag that chooses schemes, and whether it has another value than the recipe file.
struct scheme_difference {
    char const* flag;
    bool differs;
};

/// Those that choose formats, which are the first rule's alone.
inline std::array<scheme_difference, 10> format_differences(scheme_flags const& now,
                                                            scheme_flags const& file) {
    return {{{"format", now.family != file.family},
             {"w_bits", now.w_bits != file.w_bits},
             {"a_bits", now.a_bits != file.a_bits},
             {"w_group_size", now.w_group_size != file.w_group_size},
             {"a_group_size", now.a_group_size != file.a_group_size},
             {"w_granularity", now.w_grain != file.w_grain},
             {"a_granularity", now.a_grain != file.a_grain},
             {"scale_precision", now.scale_precision != file.scale_precision},
             {"element", now.element != file.element},
             {"asymmetric", now.symmetric != file.symmetric}}};
}

/// Those that reach every rule.
inline std::array<scheme_difference, 6> manner_differences(scheme_flags const& now,
                                                           scheme_flags const& file) {
    return {{{"w_observer", now.w_observer != file.w_observer},
             {"a_observer", now.a_observer != file.a_observer},
             {"mx_rule", now.mx_rule != file.mx_rule},
             {"global_scale", now.pow2_global_scale != file.pow2_global_scale},
             {"transform_class", now.transform != file.transform},
             {"hadamard_group_size", now.transform_block != file.transform_block}}};
}

inline void add_flag(std::string& list, std::string_view flag) {
    list += (list.empty() ? "--" : ", --") + std::string(flag);
}

/// Of the flags that override a recipe file, those that choose formats.
inline std::string format_overrides(harness_flags const& flags) {
    std::string out;
    for (scheme_difference const& one :
         format_differences(flags.scheme, flags.base->common_as_flags)) {
        if (overrides(flags, one.flag, one.differs)) {
            add_flag(out, one.flag);
        }
    }
    return out;
}

/// Those that have another value than the file.
inline std::string changed_flags(scheme_flags const& now, scheme_flags const& file) {
    std::string out;
    for (scheme_difference const& one : format_differences(now, file)) {
        one.differs ? add_flag(out, one.flag) : void();
    }
    for (scheme_difference const& one : manner_differences(now, file)) {
        one.differs ? add_flag(out, one.flag) : void();
    }
    return out;
}

/// Formats that flags choose are those of the rule for Linear: where a file has rules and none of
/// them is that, a flag would make one. Throws fpq::error (usage).
inline void require_common_rule(harness_flags const& flags) {
    std::string const formats = format_overrides(flags);
    if (formats.empty() || flags.base->has_common || flags.base->more.empty()) {
        return;
    }
    std::string rules;
    for (module_rule const& rule : flags.base->more) {
        rules += (rules.empty() ? "" : ", ") + printable(rule.pattern);
    }
    fail_usage(formats, "of the recipe's rule for Linear", "such a rule (or --rule PATTERN=PRESET)",
               "rules for " + rules);
}

/// The rules of a recipe file behind its first, as flags change them; a note names those that keep
/// their formats although flags choose one.
inline std::vector<module_rule> other_rules(harness_flags const& flags,
                                            std::vector<std::string>& notes) {
    std::vector<module_rule> rules = flags.base->more;
    std::string const formats = format_overrides(flags);
    std::string kept;
    for (module_rule& rule : rules) {
        override_scheme(flags, rule.how);
        kept += (kept.empty() ? "" : ", ") + printable(rule.pattern);
    }
    if (!formats.empty() && !kept.empty()) {
        notes.push_back(formats + ": of the recipe's rule for Linear; formats of its other rules " +
                        "stay (" + kept + ")");
    }
    return rules;
}

/// The flags' scheme, or the recipe file's when no flag changed it.
inline scheme common_scheme(harness_flags const& flags, std::vector<std::string>& notes) {
    if (!flags.base) {
        return scheme_of(flags, notes);
    }
    require_common_rule(flags);
    bool const same = flags.base->common_as_flags == flags.scheme;
    if (!same && !flags.base->flags_say_all) {
        fail_usage("recipe", "its scheme for Linear",
                   "no flag that changes it (flags cannot say it: edit the file)",
                   changed_flags(flags.scheme, flags.base->common_as_flags));
    }
    scheme common = same ? flags.base->common : scheme_of(flags, notes);
    common.transform.seed = flags.base->common.transform.seed;
    override_scheme(flags, common);
    return common;
}

/// The chain of methods that --gptq, --objective, --polish and --joint can say. Throws fpq::error
/// (usage).
inline void require_flags_say(std::vector<method> const& methods) {
    std::string chain;
    bool fine = !methods.empty();
    int last = -1;
    for (method const& m : methods) {
        chain += (chain.empty() ? "" : ", ") + std::string(name_of(m));
        int const place = std::holds_alternative<joint_method>(m)    ? 2
                          : std::holds_alternative<polish_method>(m) ? 1
                                                                     : 0;
        fine = fine && place > last && (last >= 0 || place == 0);
        last = place;
    }
    if (!fine) {
        fail_usage("recipe", "methods",
                   "rtn, gptq or two_sided, then polish and joint once or not at all",
                   methods.empty() ? "none" : chain);
    }
}

/// The nearest flags to one operand.
inline void operand_as_flags(quant_args const& a, scheme_flags& f, bool input) {
    quant_format const& q = a.format;
    f.family = q.scale == scale_kind::e4m3   ? format_family::nvfp
               : q.scale == scale_kind::e8m0 ? format_family::mxfp
               : is_integer(q.element)       ? format_family::integer
                                             : format_family::fp;
    (input ? f.a_bits : f.w_bits) = element_bits(q.element);
    bool const fixed = f.family == format_family::nvfp || f.family == format_family::mxfp;
    if (!fixed && q.grain == granularity::group) {
        (input ? f.a_group_size : f.w_group_size) = q.group;
    }
    (input ? f.a_grain : f.w_grain) =
        q.grain == granularity::tensor ? granularity::tensor : granularity::group;
    if (q.element == element_kind::e3m2 || q.element == element_kind::e5m2) {
        f.element = q.element == element_kind::e3m2 ? "e3m2" : "e5m2";
    }
    f.symmetric = q.symmetric;
    (input ? f.a_observer : f.w_observer) = a.rule;
    f.mx_rule = a.mx;
    f.pow2_global_scale = a.pow2_global;
}

/// The rule of one --rule PATTERN=PRESET: the preset's formats in the scheme of all others.
inline module_rule rule_of_flag(std::string const& text, scheme const& common, scale_rule mx,
                                scheme_flags const& f) {
    std::size_t const at = text.rfind('=');
    if (at == std::string::npos || at == 0 || at + 1 == text.size()) {
        fail_usage("rule", {}, "PATTERN=PRESET, the preset one of " + preset_names(), text);
    }
    module_rule rule{text.substr(0, at), {}};
    std::string const name = text.substr(at + 1);
    if (name == "bf16") {
        return rule;
    }
    preset const* const p = find_preset(name);
    if (p == nullptr) {
        fail_usage("rule", text, "a preset: " + preset_names(), name);
    }
    rule.how.weight = quant_args{p->weight, f.w_observer, mx, f.pow2_global_scale, false};
    if (p->input) {
        rule.how.input = quant_args{*p->input, f.a_observer, mx, f.pow2_global_scale, true};
    }
    rule.how.transform = common.transform;
    return rule;
}

/// Tasks are asked of what was written. Throws fpq::error (usage) when nothing is.
inline void take_tasks(harness_flags const& flags, recipe& r) {
    task_args& tasks = r.evaluation.tasks;
    if (flags.openllm && tasks.names.empty()) {
        tasks.names.assign(openllm_tasks.begin(), openllm_tasks.end());
    }
    if (!tasks.names.empty() &&
        (r.output.kind == export_kind::none || r.output.directory.empty())) {
        fail_usage(flags.openllm ? "--eval_openllm" : "--lm_eval_tasks", {},
                   "--save_path DIR: the checkpoint there is what is evaluated", "no export");
    }
}

}  // namespace detail

/// The flags that a recipe file stands for, which flags of the command line then override:
/// recipe_of(flags_of(r)) == r. Throws fpq::error (usage) for a chain of methods that no flags say.
inline harness_flags flags_of(recipe const& r) {
    harness_flags f;
    f.model = r.model;
    f.calibration = r.calibration;
    f.output = r.output;
    f.evaluation = r.evaluation;
    f.threads = r.threads;
    detail::require_flags_say(r.methods);
    recipe_base base;
    base.ignore = r.ignore;
    base.seed = r.calibration.seed;
    std::size_t first = 0;
    if (!r.rules.empty() && r.rules.front().pattern == "Linear") {
        base.common = r.rules.front().how;
        base.has_common = true;
        first = 1;
    }
    base.more.assign(r.rules.begin() + static_cast<std::ptrdiff_t>(first), r.rules.end());
    f.scheme.w_bits = 16;
    if (base.common.input) {
        detail::operand_as_flags(*base.common.input, f.scheme, true);
    }
    if (base.common.weight) {
        detail::operand_as_flags(*base.common.weight, f.scheme, false);
    }
    f.scheme.transform = base.common.transform.kind;
    f.scheme.transform_block = base.common.transform.block;
    f.smooth = r.smoothing.rule;
    f.smooth_alpha = r.smoothing.alpha;
    for (method const& m : r.methods) {
        if (auto const* const g = std::get_if<gptq_method>(&m)) {
            f.gptq = true;
            f.order = g->order;
            f.rel_damp = g->rel_damp;
        } else if (auto const* const t = std::get_if<two_sided_method>(&m)) {
            f.gptq = f.two_sided = true;
            f.order = t->order;
            f.rel_damp = t->rel_damp;
        } else if (auto const* const p = std::get_if<polish_method>(&m)) {
            f.polish = p->passes;
        } else if (auto const* const j = std::get_if<joint_method>(&m)) {
            f.joint = j->sweeps;
        } else {
            base.weigh_by_moment = std::get<rtn_method>(m).weigh_by_moment;
        }
    }
    base.rtn_as_flags = base.weigh_by_moment == detail::weighs(f);
    std::vector<std::string> ignored;
    base.common_as_flags = f.scheme;
    try {
        scheme said = scheme_of(f, ignored);
        said.transform.seed = base.common.transform.seed;
        base.flags_say_all = said == base.common;
    } catch (error const&) {
        base.flags_say_all = false;
    }
    f.base = std::move(base);
    return f;
}

/// The recipe that the flags ask for; one line in `notes` for each value that was not taken as
/// given. Throws fpq::error (usage) by flag.
inline recipe recipe_of(harness_flags const& flags, std::vector<std::string>& notes) {
    recipe r;
    r.model = flags.model;
    r.calibration = flags.calibration;
    r.output = flags.output;
    r.evaluation = flags.evaluation;
    r.threads = flags.threads;
    detail::take_tasks(flags, r);
    scheme const common = detail::common_scheme(flags, notes);
    if (!flags.base || flags.base->has_common || !common.does_nothing()) {
        r.rules.push_back({"Linear", common});
    }
    if (flags.base) {
        std::vector<module_rule> const more = detail::other_rules(flags, notes);
        r.rules.insert(r.rules.end(), more.begin(), more.end());
        r.ignore = flags.base->ignore;
    }
    for (std::string const& rule : flags.rules) {
        r.rules.push_back(detail::rule_of_flag(
            rule, common, mx_rule_of(flags.scheme, flags.output.layout), flags.scheme));
        // A module that is named here is stronger than an exception that nobody named here.
        if (!flags.ignore && std::erase(r.ignore, r.rules.back().pattern) != 0 && flags.base) {
            notes.push_back("--rule " + detail::printable(rule) +
                            ": taken out of the recipe's ignore");
        }
    }
    if (flags.ignore) {
        r.ignore = *flags.ignore;
    }
    if (flags.smooth_alpha) {
        require_within("smooth_alpha", bounds::smooth_alpha, *flags.smooth_alpha);
    }
    if (flags.smooth != smooth_rule::none) {
        r.smoothing = {flags.smooth, flags.smooth_alpha};
    }
    r.methods.clear();
    if (flags.gptq) {
        require_within("rel_damp", bounds::rel_damp, flags.rel_damp);
        if (flags.two_sided) {
            r.methods.emplace_back(two_sided_method{flags.order, flags.rel_damp});
        } else {
            r.methods.emplace_back(gptq_method{flags.order, flags.rel_damp});
        }
    } else {
        bool const as_file =
            flags.base && flags.base->common_as_flags == flags.scheme && !flags.base->rtn_as_flags;
        r.methods.emplace_back(
            rtn_method{as_file ? flags.base->weigh_by_moment : detail::weighs(flags)});
    }
    if (flags.polish > 0) {
        r.methods.emplace_back(polish_method{flags.polish});
    }
    if (flags.joint > 0) {
        r.methods.emplace_back(joint_method{flags.joint});
    }
    return r;
}

}  // namespace fpq
