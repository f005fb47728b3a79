// SPDX-License-Identifier: Apache-2.0
// Floor 8. Recipes as JSON, both ways: from_json(to_json(r)) == r. Unknown keys and values out of
// range are refused by their place; missing keys have the defaults of recipe.hpp.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <nlohmann/json.hpp>
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

namespace detail {

/// A vocabulary: values and their words.
template <class T, std::size_t N>
using word_list = std::array<std::pair<T, std::string_view>, N>;

inline constexpr word_list<element_kind, 12> element_words{{{element_kind::e2m1, "e2m1"},
                                                            {element_kind::e2m3, "e2m3"},
                                                            {element_kind::e3m2, "e3m2"},
                                                            {element_kind::e4m3, "e4m3"},
                                                            {element_kind::e5m2, "e5m2"},
                                                            {element_kind::int2, "int2"},
                                                            {element_kind::int3, "int3"},
                                                            {element_kind::int4, "int4"},
                                                            {element_kind::int5, "int5"},
                                                            {element_kind::int6, "int6"},
                                                            {element_kind::int7, "int7"},
                                                            {element_kind::int8, "int8"}}};
inline constexpr word_list<scale_kind, 3> scale_words{
    {{scale_kind::fp16, "fp16"}, {scale_kind::e8m0, "e8m0"}, {scale_kind::e4m3, "e4m3"}}};
inline constexpr word_list<granularity, 3> grain_words{{{granularity::tensor, "tensor"},
                                                        {granularity::channel, "channel"},
                                                        {granularity::group, "group"}}};
inline constexpr word_list<quant_order, 2> order_words{
    {{quant_order::natural, "default"}, {quant_order::activation, "activation"}}};
inline constexpr word_list<export_kind, 3> export_words{
    {{export_kind::none, "none"},
     {export_kind::realquant, "realquant"},
     {export_kind::pseudoquant, "pseudoquant"}}};

template <class T, std::size_t N>
std::string_view word_of(word_list<T, N> const& words, T value) noexcept {
    for (auto const& [known, word] : words) {
        if (known == value) {
            return word;
        }
    }
    return "";
}

/// The rules of scale_rule.hpp as words.
inline word_list<scale_rule, 11> const& rule_words() {
    static word_list<scale_rule, 11> const words = [] {
        word_list<scale_rule, 11> out{};
        for (std::size_t i = 0; i < out.size(); ++i) {
            auto const rule = static_cast<scale_rule>(i);
            out[i] = {rule, name_of(rule)};
        }
        return out;
    }();
    return words;
}

inline word_list<transform_kind, 9> const& transform_words() {
    static word_list<transform_kind, 9> const words = [] {
        word_list<transform_kind, 9> out{};
        for (std::size_t i = 0; i < out.size(); ++i) {
            auto const kind = static_cast<transform_kind>(i);
            out[i] = {kind, name_of(kind)};
        }
        return out;
    }();
    return words;
}

/// One object of a recipe file while it is read; refuses what was not asked for.
class recipe_object {
public:
    recipe_object(nlohmann::json const& object, std::string place)
        : object_(object), place_(std::move(place)) {
        if (!object.is_object()) {
            refuse("", "an object");
        }
    }

    void only(std::initializer_list<std::string_view> keys) const {
        for (auto const& [name, value] : object_.items()) {
            bool known = false;
            std::string list;
            for (std::string_view const key : keys) {
                known = known || key == name;
                list += (list.empty() ? "" : ", ") + std::string(key);
            }
            if (!known) {
                fail_usage("unknown key in a recipe", place_ + "." + name, list, name);
            }
        }
    }

    [[nodiscard]] nlohmann::json const* find(std::string_view key) const {
        auto const at = object_.find(std::string(key));
        return at == object_.end() || at->is_null() ? nullptr : &*at;
    }

    [[noreturn]] void refuse(std::string_view key, std::string_view expected) const {
        nlohmann::json const* const value = key.empty() ? &object_ : find(key);
        fail_usage("bad value in a recipe", key.empty() ? place_ : at(key), expected,
                   value == nullptr
                       ? "nothing"
                       : value->dump(-1, ' ', true, nlohmann::json::error_handler_t::replace));
    }

    [[nodiscard]] std::string at(std::string_view key) const {
        return place_ + "." + std::string(key);
    }

    void read(std::string_view key, std::string& out) const {
        if (nlohmann::json const* const v = find(key)) {
            v->is_string() ? void(out = v->get<std::string>()) : refuse(key, "a string");
        }
    }
    void read(std::string_view key, std::filesystem::path& out) const {
        std::string text = out.string();
        read(key, text);
        out = text;
    }
    void read(std::string_view key, bool& out) const {
        if (nlohmann::json const* const v = find(key)) {
            v->is_boolean() ? void(out = v->get<bool>()) : refuse(key, "true or false");
        }
    }
    /// A count from `least` to `most`.
    template <class Int>
    void read_count(std::string_view key, Int& out, std::uint64_t least, std::uint64_t most) const {
        if (nlohmann::json const* const v = find(key)) {
            bool const natural =
                v->is_number_unsigned() || (v->is_number_integer() && v->get<std::int64_t>() >= 0);
            if (!natural || v->get<std::uint64_t>() < least || v->get<std::uint64_t>() > most) {
                refuse(key,
                       "an integer from " + std::to_string(least) + " to " + std::to_string(most));
            }
            out = static_cast<Int>(v->get<std::uint64_t>());
        }
    }
    void read_number(std::string_view key, double& out, double least, double most) const {
        if (nlohmann::json const* const v = find(key)) {
            if (!v->is_number() || !(v->get<double>() >= least && v->get<double>() <= most)) {
                refuse(key, "a number from " + nlohmann::json(least).dump() + " to " +
                                nlohmann::json(most).dump());
            }
            out = v->get<double>();
        }
    }
    void read_strings(std::string_view key, std::vector<std::string>& out) const {
        nlohmann::json const* const v = find(key);
        if (v == nullptr) {
            return;
        }
        if (!v->is_array()) {
            refuse(key, "a list of strings");
        }
        out.clear();
        for (nlohmann::json const& item : *v) {
            if (!item.is_string()) {
                refuse(key, "a list of strings");
            }
            out.push_back(item.get<std::string>());
        }
    }
    template <class T, std::size_t N>
    void read_word(std::string_view key, word_list<T, N> const& words, T& out) const {
        nlohmann::json const* const v = find(key);
        if (v == nullptr) {
            return;
        }
        std::string list;
        for (auto const& [value, word] : words) {
            if (v->is_string() && v->get_ref<std::string const&>() == word) {
                out = value;
                return;
            }
            list += (list.empty() ? "" : ", ") + std::string(word);
        }
        refuse(key, list);
    }

private:
    nlohmann::json const& object_;
    std::string place_;
};

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
    o.read_word("element", element_words, a.format.element);
    o.read_word("scale", scale_words, a.format.scale);
    o.read_word("granularity", grain_words, a.format.grain);
    a.format.group = a.format.grain == granularity::group ? 16 : 0;
    o.read_count("group", a.format.group, 1, std::uint64_t{1} << 20);
    o.read("symmetric", a.format.symmetric);
    a.format.has_global = a.format.scale == scale_kind::e4m3;
    o.read_word("observer", rule_words(), a.rule);
    o.read_word("mx_rule", rule_words(), a.mx);
    if (!is_e8m0_rule(a.mx)) {
        o.refuse("mx_rule", "fp_quant, floor, ceil, even or divisor_7_25");
    }
    constexpr word_list<bool, 2> globals{{{true, "pow2"}, {false, "exact"}}};
    o.read_word("global_scale", globals, a.pow2_global);
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
        t.read_word("kind", transform_words(), s.transform.kind);
        t.read_count("block", s.transform.block, 1, std::uint64_t{1} << 16);
        t.read_count("seed", s.transform.seed, 0, ~std::uint64_t{0});
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
    };
    return {{name_of(m), std::visit(writer{}, m)}};
}

inline method method_of(nlohmann::json const& json, std::string const& place) {
    recipe_object const o(json, place);
    o.only({"rtn", "gptq", "polish"});
    if (json.size() != 1) {
        o.refuse("", "one method: rtn, gptq or polish");
    }
    std::string const name = json.begin().key();
    recipe_object const args(json.begin().value(), o.at(name));
    if (name == "rtn") {
        rtn_method m;
        args.only({"weigh_by_moment"});
        args.read("weigh_by_moment", m.weigh_by_moment);
        return m;
    }
    if (name == "gptq") {
        gptq_method m;
        args.only({"order", "rel_damp"});
        args.read_word("order", order_words, m.order);
        args.read_number("rel_damp", m.rel_damp, 0.0, 1.0);
        return m;
    }
    polish_method m;
    args.only({"passes"});
    args.read_count("passes", m.passes, 1, 1000);
    return m;
}

}  // namespace detail

/// The recipe as JSON.
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
        texts.push_back(text.string());
    }
    nlohmann::json out = {{"model", r.model.string()},
                          {"rules", std::move(rules)},
                          {"ignore", r.ignore},
                          {"methods", std::move(methods)},
                          {"calibration",
                           {{"dataset", r.calibration.dataset},
                            {"sequence_length", r.calibration.sequence_length},
                            {"num_sequences", r.calibration.num_sequences},
                            {"seed", r.calibration.seed}}},
                          {"output",
                           {{"kind", name_of(r.output.kind)},
                            {"layout", r.output.layout},
                            {"directory", r.output.directory.string()},
                            {"max_shard_size", r.output.max_shard_size}}},
                          {"evaluation",
                           {{"perplexity", r.evaluation.perplexity},
                            {"texts", std::move(texts)},
                            {"characters", r.evaluation.characters},
                            {"windows", r.evaluation.windows},
                            {"add_special", r.evaluation.add_special}}},
                          {"threads", r.threads}};
    if (!r.calibration.text_column.empty()) {
        out["calibration"]["text_column"] = r.calibration.text_column;
    }
    return out;
}

/// The recipe in `json`; `place` names it in messages. Also takes a report, whose "recipe" it
/// reads. Throws fpq::error (usage).
inline recipe recipe_from_json(nlohmann::json const& json, std::string const& place) {
    if (json.is_object() && json.contains("recipe") && json.contains("linears")) {
        return recipe_from_json(json.at("recipe"), place + ": recipe");
    }
    constexpr std::uint64_t most = std::uint64_t{1} << 32;
    detail::recipe_object const o(json, place);
    o.only(
        {"model", "rules", "ignore", "methods", "calibration", "output", "evaluation", "threads"});
    recipe r;
    o.read("model", r.model);
    o.read_strings("ignore", r.ignore);
    o.read_count("threads", r.threads, 0, 4096);
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
    if (nlohmann::json const* const part = o.find("calibration")) {
        detail::recipe_object const c(*part, o.at("calibration"));
        c.only({"dataset", "text_column", "sequence_length", "num_sequences", "seed"});
        c.read("dataset", r.calibration.dataset);
        c.read("text_column", r.calibration.text_column);
        c.read_count("sequence_length", r.calibration.sequence_length, 2, most);
        c.read_count("num_sequences", r.calibration.num_sequences, 1, most);
        c.read_count("seed", r.calibration.seed, 0, ~std::uint64_t{0});
    }
    if (nlohmann::json const* const part = o.find("output")) {
        detail::recipe_object const c(*part, o.at("output"));
        c.only({"kind", "layout", "directory", "max_shard_size"});
        c.read_word("kind", detail::export_words, r.output.kind);
        c.read("layout", r.output.layout);
        c.read("directory", r.output.directory);
        c.read_count("max_shard_size", r.output.max_shard_size, 1, ~std::uint64_t{0});
    }
    if (nlohmann::json const* const part = o.find("evaluation")) {
        detail::recipe_object const c(*part, o.at("evaluation"));
        c.only({"perplexity", "texts", "characters", "windows", "add_special"});
        c.read("perplexity", r.evaluation.perplexity);
        std::vector<std::string> texts;
        c.read_strings("texts", texts);
        r.evaluation.texts.assign(texts.begin(), texts.end());
        c.read_count("characters", r.evaluation.characters, 0, ~std::uint64_t{0});
        c.read_count("windows", r.evaluation.windows, 0, most);
        c.read("add_special", r.evaluation.add_special);
    }
    return r;
}

}  // namespace fpq
