// SPDX-License-Identifier: Apache-2.0
// Floor 8. Recipes as JSON, both ways: from_json(to_json(r)) == r. Unknown keys and values out of
// range are refused by their place; missing keys have the defaults of recipe.hpp. Bytes of paths
// that are no UTF-8 stand there as json_text.hpp writes them, and come back.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/io/json/json_text.hpp"
#include "fpq/pipeline/bounds.hpp"
#include "fpq/pipeline/presets.hpp"
#include "fpq/pipeline/recipe.hpp"
#include "fpq/pipeline/recipe_object.hpp"
#include "fpq/pipeline/words.hpp"

namespace fpq {

namespace detail {

inline nlohmann::json json_of(quant_args const& a) {
    quant_format const& f = a.format;
    nlohmann::json out{{"element", word_of(element_words, f.element)},
                       {"scale", word_of(scale_words, f.scale)},
                       {"granularity", word_of(grain_words, f.grain)},
                       {"symmetric", f.symmetric},
                       {"observer", name_of(a.rule)},
                       {"mx_rule", name_of(a.mx)},
                       {"global_scale", a.pow2_global ? "pow2" : "exact"}};
    if (f.grain == granularity::group) {
        out["group"] = f.group;
    }
    return out;
}

inline quant_args args_of(nlohmann::json const& json, std::string const& place, bool input) {
    recipe_object const o(json, place);
    o.only({"element", "scale", "granularity", "group", "symmetric", "observer", "mx_rule",
            "global_scale"});
    quant_args a;
    a.dynamic = input;
    o.read_word("element", element_words, element_synonyms, a.format.element);
    o.read_word("scale", scale_words, scale_synonyms, a.format.scale);
    o.read_word("granularity", grain_words, grain_synonyms, a.format.grain);
    a.format.group = a.format.grain == granularity::group ? 16 : 0;
    o.read_count("group", bounds::group, a.format.group);
    o.read("symmetric", a.format.symmetric);
    if (!a.format.symmetric && !is_integer(a.format.element)) {
        o.refuse("symmetric", "true (floats have no zero point)");
    }
    a.format.has_global = a.format.scale == scale_kind::e4m3;
    if (input) {
        o.read_word("observer", input_observers, observer_synonyms, a.rule);
    } else {
        o.read_word("observer", weight_observers, observer_synonyms, a.rule);
    }
    o.read_word("mx_rule", mx_rules, mx_synonyms, a.mx);
    o.read_word("global_scale", global_words, {}, a.pow2_global);
    return a;
}

inline nlohmann::json json_of(scheme const& s) {
    nlohmann::json out = nlohmann::json::object();
    out["weights"] = s.weight ? json_of(*s.weight) : nlohmann::json();
    out["inputs"] = s.input ? json_of(*s.input) : nlohmann::json();
    out["transform"] = {{"kind", name_of(s.transform.kind)},
                        {"block", s.transform.block},
                        {"seed", s.transform.seed}};
    return out;
}

/// An object, or the name of a preset.
inline scheme scheme_of(nlohmann::json const& json, std::string const& place) {
    scheme s;
    if (json.is_string()) {
        std::string const name = json.get<std::string>();
        if (name == "bf16") {
            return s;
        }
        preset const* const p = find_preset(name);
        if (p == nullptr) {
            fail_usage("unknown preset in a recipe", place, preset_names(), name);
        }
        s.weight = quant_args{p->weight, scale_rule::minmax, scale_rule::even, true, false};
        if (p->input) {
            s.input = quant_args{*p->input, scale_rule::minmax, scale_rule::even, true, true};
        }
        return s;
    }
    recipe_object const o(json, place);
    o.only({"weights", "inputs", "transform"});
    if (nlohmann::json const* const weights = o.find("weights")) {
        s.weight = args_of(*weights, o.at("weights"), false);
    }
    if (nlohmann::json const* const inputs = o.find("inputs")) {
        s.input = args_of(*inputs, o.at("inputs"), true);
    }
    if (nlohmann::json const* const transform = o.find("transform")) {
        recipe_object const t(*transform, o.at("transform"));
        t.only({"kind", "block", "seed"});
        t.read_word("kind", transform_words(), transform_synonyms, s.transform.kind);
        t.read_count("block", bounds::transform_block, s.transform.block);
        t.read_count("seed", bounds::seed, s.transform.seed);
    }
    return s;
}

inline nlohmann::json json_of(method const& m) {
    struct writer {
        nlohmann::json operator()(rtn_method const& r) const {
            return {{"weigh_by_moment", r.weigh_by_moment}};
        }
        nlohmann::json operator()(gptq_method const& g) const {
            return {{"order", word_of(order_words, g.order)}, {"rel_damp", g.rel_damp}};
        }
        nlohmann::json operator()(polish_method const& p) const { return {{"passes", p.passes}}; }
        nlohmann::json operator()(two_sided_method const& t) const {
            return {{"order", word_of(order_words, t.order)}, {"rel_damp", t.rel_damp}};
        }
        nlohmann::json operator()(joint_method const& j) const { return {{"sweeps", j.sweeps}}; }
    };
    return {{name_of(m), std::visit(writer{}, m)}};
}

inline method method_of(nlohmann::json const& json, std::string const& place) {
    recipe_object const o(json, place);
    o.only({"rtn", "gptq", "two_sided", "polish", "joint"});
    if (json.size() != 1) {
        o.refuse("", "one method: rtn, gptq, two_sided, polish or joint");
    }
    std::string const name = json.begin().key();
    recipe_object const args(json.begin().value(), o.at(name));
    if (name == "rtn") {
        rtn_method m;
        args.only({"weigh_by_moment"});
        args.read("weigh_by_moment", m.weigh_by_moment);
        return m;
    }
    auto const feedback = [&](auto m) -> method {
        args.only({"order", "rel_damp"});
        args.read_word("order", order_words, order_synonyms, m.order);
        args.read_real("rel_damp", bounds::rel_damp, m.rel_damp);
        return m;
    };
    if (name == "gptq") {
        return feedback(gptq_method{});
    }
    if (name == "two_sided") {
        return feedback(two_sided_method{});
    }
    if (name == "joint") {
        joint_method m;
        args.only({"sweeps"});
        args.read_count("sweeps", bounds::joint_sweeps, m.sweeps);
        return m;
    }
    polish_method m;
    args.only({"passes"});
    args.read_count("passes", bounds::polish_passes, m.passes);
    return m;
}

}  // namespace detail

/// The recipe as JSON; paths and what may be one as utf8_escaped makes them.
inline nlohmann::json to_json(recipe const& r) {
    nlohmann::json rules = nlohmann::json::array();
    for (module_rule const& rule : r.rules) {
        rules.push_back({{"pattern", rule.pattern}, {"scheme", detail::json_of(rule.how)}});
    }
    nlohmann::json methods = nlohmann::json::array();
    for (method const& m : r.methods) {
        methods.push_back(detail::json_of(m));
    }
    nlohmann::json texts = nlohmann::json::array();
    for (std::filesystem::path const& text : r.evaluation.texts) {
        texts.push_back(utf8_escaped(text.string()));
    }
    nlohmann::json out = {{"model", utf8_escaped(r.model.string())},
                          {"rules", std::move(rules)},
                          {"ignore", r.ignore},
                          {"methods", std::move(methods)},
                          {"calibration",
                           {{"dataset", utf8_escaped(r.calibration.dataset)},
                            {"sequence_length", r.calibration.sequence_length},
                            {"num_sequences", r.calibration.num_sequences},
                            {"seed", r.calibration.seed}}},
                          {"output",
                           {{"kind", name_of(r.output.kind)},
                            {"layout", r.output.layout},
                            {"directory", utf8_escaped(r.output.directory.string())},
                            {"max_shard_size", r.output.max_shard_size}}},
                          {"evaluation",
                           {{"perplexity", r.evaluation.perplexity},
                            {"texts", std::move(texts)},
                            {"characters", r.evaluation.characters},
                            {"windows", r.evaluation.windows},
                            {"add_special", r.evaluation.add_special}}},
                          {"threads", r.threads}};
    if (r.evaluation.tasks != task_args{}) {
        task_args const& tasks = r.evaluation.tasks;
        out["evaluation"]["tasks"] = {{"names", tasks.names},
                                      {"batch", tasks.batch},
                                      {"thinking", tasks.thinking},
                                      {"include", utf8_escaped(tasks.include.string())}};
    }
    if (r.smoothing.acts()) {
        out["smoothing"] = {{"rule", name_of(r.smoothing.rule)}};
        out["smoothing"]["alpha"] =
            r.smoothing.alpha ? nlohmann::json(*r.smoothing.alpha) : nlohmann::json();
    }
    if (!r.calibration.text_column.empty()) {
        out["calibration"]["text_column"] = utf8_escaped(r.calibration.text_column);
    }
    return out;
}

/// The recipe in `json`; `place` names it in messages. Also takes a report, whose "recipe" it
/// reads. Throws fpq::error (usage).
inline recipe recipe_from_json(nlohmann::json const& json, std::string const& place) {
    if (json.is_object() && json.contains("recipe") && json.contains("linears")) {
        return recipe_from_json(json.at("recipe"), place + ": recipe");
    }
    detail::recipe_object const o(json, place);
    o.only({"model", "rules", "ignore", "methods", "smoothing", "calibration", "output",
            "evaluation", "threads", "carried"});  // the last: of an export, for who verifies it
    recipe r;
    o.read("model", r.model);
    o.read_strings("ignore", r.ignore);
    o.read_count("threads", bounds::threads, r.threads);
    if (nlohmann::json const* const rules = o.find("rules")) {
        for (std::size_t i = 0; rules->is_array() && i < rules->size(); ++i) {
            detail::recipe_object const rule((*rules)[i], o.at("rules[" + std::to_string(i) + "]"));
            rule.only({"pattern", "scheme"});
            module_rule out;
            rule.read("pattern", out.pattern);
            if (nlohmann::json const* const how = rule.find("scheme")) {
                out.how = detail::scheme_of(*how, rule.at("scheme"));
            }
            r.rules.push_back(std::move(out));
        }
        if (!rules->is_array()) {
            o.refuse("rules", "a list");
        }
    }
    if (nlohmann::json const* const methods = o.find("methods")) {
        if (!methods->is_array() || methods->empty()) {
            o.refuse("methods", "a list of at least one method");
        }
        r.methods.clear();
        for (std::size_t i = 0; i < methods->size(); ++i) {
            r.methods.push_back(
                detail::method_of((*methods)[i], o.at("methods[" + std::to_string(i) + "]")));
        }
    }
    if (nlohmann::json const* const part = o.find("smoothing")) {
        detail::recipe_object const s(*part, o.at("smoothing"));
        s.only({"rule", "alpha"});
        s.read_word("rule", detail::smooth_words, detail::smooth_synonyms, r.smoothing.rule);
        double alpha = 0.0;
        s.read_real("alpha", bounds::smooth_alpha, alpha);
        if (s.find("alpha") != nullptr) {
            r.smoothing.alpha = alpha;
        }
        if (r.smoothing.alpha && !r.smoothing.acts()) {
            s.refuse("rule", "smoothquant or awq beside an alpha");
        }
    }
    if (nlohmann::json const* const part = o.find("calibration")) {
        detail::recipe_object const c(*part, o.at("calibration"));
        c.only({"dataset", "text_column", "sequence_length", "num_sequences", "seed"});
        c.read_bytes("dataset", r.calibration.dataset);
        c.read_bytes("text_column", r.calibration.text_column);
        c.read_count("sequence_length", bounds::sequence_length, r.calibration.sequence_length);
        c.read_count("num_sequences", bounds::num_sequences, r.calibration.num_sequences);
        c.read_count("seed", bounds::seed, r.calibration.seed);
    }
    if (nlohmann::json const* const part = o.find("output")) {
        detail::recipe_object const c(*part, o.at("output"));
        c.only({"kind", "layout", "directory", "max_shard_size"});
        c.read_word("kind", detail::export_words, detail::export_synonyms, r.output.kind);
        c.read_name("layout", detail::layout_words, detail::layout_synonyms, r.output.layout);
        c.read("directory", r.output.directory);
        if (c.find("kind") == nullptr && !r.output.directory.empty()) {
            r.output.kind = export_kind::realquant;  // a place alone is a wish to write
        }
        c.read_count("max_shard_size", bounds::shard_bytes, r.output.max_shard_size);
    }
    if (nlohmann::json const* const part = o.find("evaluation")) {
        detail::recipe_object const c(*part, o.at("evaluation"));
        c.only({"perplexity", "texts", "characters", "windows", "add_special", "tasks"});
        c.read("perplexity", r.evaluation.perplexity);
        std::vector<std::string> texts;
        c.read_strings("texts", texts);
        for (std::string const& text : texts) {
            r.evaluation.texts.emplace_back(utf8_unescaped(text));
        }
        c.read_count("characters", bounds::characters, r.evaluation.characters);
        c.read_count("windows", bounds::windows, r.evaluation.windows);
        c.read("add_special", r.evaluation.add_special);
        if (nlohmann::json const* const tasks = c.find("tasks")) {
            detail::recipe_object const t(*tasks, c.at("tasks"));
            t.only({"names", "batch", "thinking", "include"});
            t.read_strings("names", r.evaluation.tasks.names);
            t.read_count("batch", bounds::task_batch, r.evaluation.tasks.batch);
            t.read("thinking", r.evaluation.tasks.thinking);
            t.read("include", r.evaluation.tasks.include);
        }
    }
    return r;
}

}  // namespace fpq
