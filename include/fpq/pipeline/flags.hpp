// SPDX-License-Identifier: Apache-2.0
// Floor 8. The flags of the Python harness (FP-Quant's model_quant.py) and ours as values, and the
// one function that makes a recipe of them. The spelling of flags is tools/quantize/options.hpp's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/pipeline/presets.hpp"
#include "fpq/pipeline/recipe.hpp"

namespace fpq {

/// --format int, fp, nvfp, mxfp.
enum class format_family : std::uint8_t { integer, fp, nvfp, mxfp };

constexpr char const* name_of(format_family family) noexcept {
    constexpr char const* names[] = {"int", "fp", "nvfp", "mxfp"};
    return names[static_cast<int>(family)];
}

/// The flags that choose the scheme of all linears. Bits of 16 mean "not quantized".
struct scheme_flags {
    format_family family = format_family::integer;
    int w_bits = 4;
    int a_bits = 16;
    std::string element = "auto";             // of 6 and 8 bits: auto, e2m3, e3m2, e4m3, e5m2
    std::optional<std::size_t> w_group_size;  // unset: the whole row
    std::optional<std::size_t> a_group_size;
    granularity w_grain = granularity::group;
    granularity a_grain = granularity::group;
    scale_kind scale_precision = scale_kind::fp16;
    bool symmetric = true;
    scale_rule w_observer = scale_rule::minmax;
    scale_rule a_observer = scale_rule::minmax;
    std::optional<scale_rule> mx_rule;  // unset: see mx_rule_of
    bool pow2_global_scale = true;
    transform_kind transform = transform_kind::identity;
    std::size_t transform_block = 128;

    [[nodiscard]] bool operator==(scheme_flags const&) const noexcept = default;
};

/// What a recipe file holds that flags cannot say.
struct recipe_base {
    scheme common;                  // of the first rule, for `Linear`
    scheme_flags common_as_flags;   // the nearest flags
    bool flags_say_all = false;     // they say exactly `common`
    std::vector<module_rule> more;  // the other rules
    bool weigh_by_moment = false;   // of rtn
    bool rtn_as_flags = true;       // what the flags give for it is the same
};

/// All flags.
struct harness_flags {
    scheme_flags scheme;
    std::vector<std::string> rules;  // PATTERN=PRESET
    std::optional<recipe_base> base;
    std::optional<std::vector<std::string>> ignore;
    bool gptq = false;
    quant_order order = quant_order::natural;
    double rel_damp = 0.01;
    int polish = 0;
    std::filesystem::path model;
    calibration_args calibration;
    output_args output;
    evaluation_args evaluation;
    int threads = 0;
};

namespace detail {

inline element_kind float_element(scheme_flags const& f, int bits) {
    if (bits == 4) {
        return element_kind::e2m1;
    }
    if (bits == 6) {
        return f.element == "e3m2" ? element_kind::e3m2 : element_kind::e2m3;
    }
    return f.element == "e5m2" ? element_kind::e5m2 : element_kind::e4m3;
}

inline void check_bits(scheme_flags const& f, int bits, char const* flag) {
    if (bits == 16) {
        return;
    }
    bool const nv = f.family == format_family::nvfp;
    bool const whole = f.family == format_family::integer;
    bool const fine =
        whole ? bits >= 2 && bits <= 8 : bits == 4 || (!nv && (bits == 6 || bits == 8));
    if (!fine) {
        fail_usage(flag, name_of(f.family),
                   whole ? "2 to 8, or 16"
                   : nv  ? "4 or 16"
                         : "4, 6, 8 or 16",
                   std::to_string(bits));
    }
}

inline quant_format operand_format(scheme_flags const& f, int bits, granularity grain,
                                   std::optional<std::size_t> group) {
    if (f.family == format_family::nvfp) {
        return nvfp4;
    }
    if (f.family == format_family::mxfp) {
        quant_format format = mxfp4;
        format.element = float_element(f, bits);
        return format;
    }
    bool const whole = grain == granularity::group && !group;
    granularity const actual = whole ? granularity::channel : grain;
    if (f.family == format_family::integer) {
        return int_format(bits, group.value_or(0), f.symmetric, actual);
    }
    quant_format format = fp4(group.value_or(0), actual);
    format.element = float_element(f, bits);
    return format;
}

/// One line for each value that a family forces to another (nvfp: groups of 16, e4m3; mxfp: 32,
/// e8m0), and the refusal of what it cannot take.
inline void check_family(scheme_flags const& f, std::vector<std::string>& notes) {
    bool const nv = f.family == format_family::nvfp;
    if (nv || f.family == format_family::mxfp) {
        std::size_t const group = nv ? 16 : 32;
        auto const forced = [&](std::optional<std::size_t> const& given, char const* what) {
            if (given && *given != group) {
                notes.push_back("changed " + std::string(what) + " group_size to " +
                                std::to_string(group) + " for " + name_of(f.family));
            }
        };
        forced(f.w_group_size, "weight");
        forced(f.a_group_size, "activation");
        scale_kind const scale = nv ? scale_kind::e4m3 : scale_kind::e8m0;
        if (f.scale_precision != scale && f.scale_precision != scale_kind::fp16) {
            notes.push_back("changed scale_precision to " + std::string(nv ? "e4m3" : "e8m0") +
                            " for " + name_of(f.family));
        }
        return;
    }
    if (f.scale_precision != scale_kind::fp16) {
        fail_usage("scale_precision", name_of(f.family), "fp16",
                   f.scale_precision == scale_kind::e4m3 ? "e4m3" : "e8m0");
    }
    auto const check_group = [](granularity grain, std::optional<std::size_t> group,
                                char const* flag) {
        if (grain == granularity::group && group && *group == 0) {
            fail_usage(flag, {}, "a positive number", "0");
        }
    };
    check_group(f.w_grain, f.w_group_size, "w_group_size");
    check_group(f.a_grain, f.a_group_size, "a_group_size");
}

}  // namespace detail

/// The E8M0 rule of a run without --mx_rule: that of the only clients that rotate inputs where
/// there is a transform or the fp_quant layout was asked for by name; else `even`, that of all
/// others. It depends on what was asked for, never on whether anything is written.
inline scale_rule mx_rule_of(scheme_flags const& f, std::string const& layout) {
    bool const rotates = f.transform != transform_kind::identity || layout == "fp_quant";
    return f.mx_rule.value_or(rotates ? scale_rule::fp_quant : scale_rule::even);
}

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

/// The flags' scheme, or the recipe file's when no flag changed it.
inline scheme common_scheme(harness_flags const& flags, std::vector<std::string>& notes) {
    if (!flags.base || !(flags.base->common_as_flags == flags.scheme)) {
        if (flags.base && !flags.base->flags_say_all) {
            fail_usage("recipe", "its scheme for Linear",
                       "no flag that changes it (flags cannot say it: edit the file)", "one");
        }
        return scheme_of(flags, notes);
    }
    return flags.base->common;
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

}  // namespace detail

/// The flags that a recipe file stands for, which flags of the command line then override:
/// recipe_of(flags_of(r)) == r. Throws fpq::error (usage) for methods that no flags choose.
inline harness_flags flags_of(recipe const& r) {
    harness_flags f;
    f.model = r.model;
    f.calibration = r.calibration;
    f.output = r.output;
    f.evaluation = r.evaluation;
    f.threads = r.threads;
    f.ignore = r.ignore;
    recipe_base base;
    std::size_t first = 0;
    if (!r.rules.empty() && r.rules.front().pattern == "Linear") {
        base.common = r.rules.front().how;
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
    for (method const& m : r.methods) {
        if (auto const* const g = std::get_if<gptq_method>(&m)) {
            f.gptq = true;
            f.order = g->order;
            f.rel_damp = g->rel_damp;
        } else if (auto const* const p = std::get_if<polish_method>(&m)) {
            f.polish = p->passes;
        } else {
            base.weigh_by_moment = std::get<rtn_method>(m).weigh_by_moment;
        }
    }
    base.rtn_as_flags = base.weigh_by_moment == detail::weighs(f);
    std::vector<std::string> ignored;
    base.common_as_flags = f.scheme;
    try {
        base.flags_say_all = scheme_of(f, ignored) == base.common;
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
    scheme const common = detail::common_scheme(flags, notes);
    r.rules.push_back({"Linear", common});
    if (flags.base) {
        r.rules.insert(r.rules.end(), flags.base->more.begin(), flags.base->more.end());
    }
    for (std::string const& rule : flags.rules) {
        r.rules.push_back(detail::rule_of_flag(
            rule, common, mx_rule_of(flags.scheme, flags.output.layout), flags.scheme));
    }
    if (flags.ignore) {
        r.ignore = *flags.ignore;
    }
    r.methods.clear();
    if (flags.gptq) {
        if (!(flags.rel_damp >= 0.0) || flags.rel_damp > 1.0) {
            fail_usage("rel_damp", {}, "0 to 1", std::to_string(flags.rel_damp));
        }
        r.methods.emplace_back(gptq_method{flags.order, flags.rel_damp});
    } else {
        bool const as_file =
            flags.base && flags.base->common_as_flags == flags.scheme && !flags.base->rtn_as_flags;
        r.methods.emplace_back(
            rtn_method{as_file ? flags.base->weigh_by_moment : detail::weighs(flags)});
    }
    if (flags.polish > 0) {
        r.methods.emplace_back(polish_method{flags.polish});
    }
    return r;
}

}  // namespace fpq
