// SPDX-License-Identifier: Apache-2.0
// Floor 8. Recipe and checkpoint to plan. Everything that can be refused is refused here, by module
// and by the flag that makes it fit. Numerics come from the recipe alone: whether and where one
// exports changes no scheme; a layout holds it or is refused.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/dialect/registry.hpp"
#include "fpq/graph/graph.hpp"
#include "fpq/io/file/hub_cache.hpp"
#include "fpq/io/safetensors/checkpoint.hpp"
#include "fpq/io/text/name_pattern.hpp"
#include "fpq/pipeline/plan.hpp"
#include "fpq/pipeline/presets.hpp"
#include "fpq/pipeline/recipe.hpp"
#include "fpq/pipeline/recipe_json.hpp"

namespace fpq {

namespace detail {

/// One resolution: the recipe, what it is about, and the plan as it grows.
class plan_maker {
public:
    plan_maker(recipe const& r, checkpoint const& source, model_graph const& graph)
        : recipe_(r), source_(source), graph_(graph) {}

    run_plan make() {
        plan_.model = model_directory(recipe_.model);
        plan_.methods = recipe_.methods;
        plan_.calibration = recipe_.calibration;
        plan_.evaluation = recipe_.evaluation;
        plan_.recipe = to_json(recipe_);
        choose_schemes();
        check_groups();
        check_methods();
        check_needs();
        plan_entries();
        plan_output();
        plan_.peak_memory = peak_memory();
        return std::move(plan_);
    }

private:
    [[nodiscard]] bool calibrates() const { return !recipe_.calibration.dataset.empty(); }

    /// The last rule that matches, unless the module is ignored.
    void choose_schemes() {
        std::vector<name_pattern> ignored;
        for (std::string const& text : recipe_.ignore) {
            ignored.emplace_back(text);
        }
        std::vector<name_pattern> patterns;
        for (module_rule const& rule : recipe_.rules) {
            patterns.emplace_back(rule.pattern);
        }
        std::vector<bool> used(patterns.size(), false);
        auto const pick = [&](std::string const& module) {
            std::size_t which = run_plan::none;
            for (std::size_t i = 0; i < patterns.size(); ++i) {
                if (patterns[i].matches(module)) {
                    which = i;
                    used[i] = true;
                }
            }
            bool const kept = std::any_of(ignored.begin(), ignored.end(),
                                          [&](auto const& p) { return p.matches(module); });
            return kept ? run_plan::none : which;
        };
        for (linear_node const& node : graph_.linears()) {
            plan_.how.push_back(add_scheme(node, pick(node.module)));
        }
        plan_.how.push_back(choose_head(pick(graph_.head().module)));
        for (std::size_t i = 0; i < patterns.size(); ++i) {
            bool const named = patterns[i].text() != "Linear";
            if (named && patterns[i].matches(graph_.embedding()) &&
                !std::any_of(ignored.begin(), ignored.end(),
                             [&](auto const& p) { return p.matches(graph_.embedding()); })) {
                fail_usage("rule", recipe_.rules[i].pattern,
                           "no match of " + graph_.embedding() +
                               " (no layout holds a quantized embedding; --ignore it)",
                           "a match");
            }
            if (named && !used[i]) {
                fail_usage("rule", recipe_.rules[i].pattern, "a pattern that some linear matches",
                           "none does");
            }
        }
    }

    std::size_t choose_head(std::size_t which) {
        linear_node const& head = graph_.head();
        if (which != run_plan::none && graph_.config().tied_head &&
            !recipe_.rules[which].how.does_nothing()) {
            fail_usage("rule", recipe_.rules[which].pattern,
                       head.module + " to stay as it is (it is tied to the embedding; --ignore it)",
                       "a scheme for it");
        }
        return add_scheme(head, which);
    }

    /// The index of a rule's scheme among the distinct ones, after its checks on this linear.
    std::size_t add_scheme(linear_node const& node, std::size_t which) {
        if (which == run_plan::none || recipe_.rules[which].how.does_nothing()) {
            return run_plan::none;
        }
        scheme const& how = recipe_.rules[which].how;
        transform_args const& t = how.transform;
        if (!t.is_identity() && (t.block == 0 || node.in % t.block != 0)) {
            fail_usage("hadamard_group_size", node.module,
                       "a divisor of the input width " + std::to_string(node.in),
                       std::to_string(t.block));
        }
        for (std::optional<quant_args> const* const a : {&how.weight, &how.input}) {
            if (*a && (*a)->format.grain == granularity::group && (*a)->format.group == 0) {
                fail_usage("group_size", node.module, "a positive number", "0");
            }
        }
        auto const at = std::find(plan_.schemes.begin(), plan_.schemes.end(), how);
        if (at == plan_.schemes.end()) {
            plan_.schemes.push_back(how);
            return plan_.schemes.size() - 1;
        }
        return static_cast<std::size_t>(at - plan_.schemes.begin());
    }

    [[nodiscard]] std::string scheme_text(scheme const* s) const {
        if (s == nullptr) {
            return "unquantized";
        }
        auto const one = [](std::optional<quant_args> const& a) {
            return a ? std::string(word_of(element_words, a->format.element)) + "/" +
                           std::string(word_of(scale_words, a->format.scale))
                     : std::string("16 bits");
        };
        return one(s->weight) + " with inputs of " + one(s->input);
    }

    /// Engines fuse q/k/v and gate/up, and all that read one tap get the same inputs.
    void check_groups() const {
        for (std::size_t layer = 0; layer < graph_.layers(); ++layer) {
            for (linear_node const& node : graph_.layer(layer)) {
                for (linear_node const& other : graph_.layer(layer)) {
                    bool const fused = node.group == other.group;
                    scheme const* const a = plan_.scheme_of(graph_, node);
                    scheme const* const b = plan_.scheme_of(graph_, other);
                    if (!(fused || node.input == other.input) || a == b) {
                        continue;
                    }
                    bool const same_inputs = a != nullptr && b != nullptr && a->input == b->input &&
                                             a->transform == b->transform;
                    if (fused || !same_inputs) {
                        fail_usage("rule",
                                   node.module + " and " + other.module +
                                       (fused ? " (engines fuse them)" : " (they read one input)"),
                                   "one scheme", scheme_text(a) + ", and " + scheme_text(b));
                    }
                }
            }
        }
    }

    void check_methods() const {
        if (plan_.methods.empty() || std::holds_alternative<polish_method>(plan_.methods.front())) {
            fail_usage("methods", {}, "rtn or gptq first",
                       plan_.methods.empty() ? "none" : "polish");
        }
        for (std::size_t i = 1; i < plan_.methods.size(); ++i) {
            if (!std::holds_alternative<polish_method>(plan_.methods[i])) {
                fail_usage("methods", {}, "polish after the first method",
                           name_of(plan_.methods[i]));
            }
        }
    }

    /// Text for whatever must see inputs.
    void check_needs() {
        bool weights = false;
        bool global_inputs = false;
        for (scheme const& s : plan_.schemes) {
            weights = weights || s.weight.has_value();
            global_inputs = global_inputs || (s.input && s.input->format.has_global);
        }
        bool const moment = weights && needs_of(plan_.methods).second_moment;
        if (!calibrates() && moment) {
            std::string const what =
                name_of(plan_.methods.front()) == std::string("gptq")
                    ? "GPTQ needs calibration text"
                    : std::string(name_of(plan_.methods.back())) + " needs calibration text";
            fail_usage("dataset_name_or_path", what, "a file, a directory or self", "nothing");
        }
        if (!calibrates() && global_inputs) {
            fail_usage("dataset_name_or_path",
                       "nvfp inputs need calibration text for their global scale",
                       "a file, a directory or self", "nothing");
        }
        if (recipe_.calibration.sequence_length < 2) {
            fail_usage("sequence_length", {}, "2 or more",
                       std::to_string(recipe_.calibration.sequence_length));
        }
        if (recipe_.calibration.num_sequences == 0) {
            fail_usage("num_sequences", {}, "1 or more", "0");
        }
        if (plan_.schemes.empty()) {
            plan_.calibration.dataset.clear();
        }
        if (calibrates()) {
            plan_.calibration_tokens =
                recipe_.calibration.num_sequences * recipe_.calibration.sequence_length;
        }
    }

    [[nodiscard]] scheme const* weight_scheme(linear_node const& node) const {
        scheme const* const s = plan_.scheme_of(graph_, node);
        return s != nullptr && s->weight ? s : nullptr;
    }

    /// Every linear whose weight is quantized, the head last.
    template <class F>
    void for_each_quantized(F f) const {
        for (linear_node const& node : graph_.linears()) {
            if (scheme const* const s = weight_scheme(node)) {
                f(node, *s);
            }
        }
        if (scheme const* const s = weight_scheme(graph_.head())) {
            f(graph_.head(), *s);
        }
    }

    void plan_entries() {
        std::map<std::string, std::string> quantized;  // tensor, why
        for_each_quantized([&](linear_node const& node, scheme const& s) {
            quantized[node.weight()] =
                std::string(word_of(element_words, s.weight->format.element)) + " " +
                std::string(word_of(scale_words, s.weight->format.scale));
        });
        std::set<std::string> needed;
        graph_.for_each_tensor([&](std::string const& name) {
            (void)source_.at(name);
            needed.insert(name);
        });
        for (std::string const& name : source_.names()) {
            plan_entry entry;
            entry.tensor = name;
            entry.bytes_in = source_.at(name).bytes.size();
            if (auto const at = quantized.find(name); at != quantized.end()) {
                entry.action = tensor_action::quantize;
                entry.why = at->second;
            } else if (!needed.contains(name)) {
                bool const tied = name == graph_.head().weight() && graph_.config().tied_head;
                entry.action = tensor_action::drop;
                entry.why = tied ? "tied to the embedding" : "not read by this architecture";
                if (!tied) {
                    plan_.notes.push_back("tensor " + name +
                                          " is not part of the model and is left out");
                }
            } else {
                entry.why = name == graph_.embedding() + ".weight" ? "embedding"
                            : name == graph_.head().weight()       ? "head"
                            : source_.at(name).shape.size() == 1   ? "norm or bias"
                                                                   : "not quantized";
            }
            plan_.entries.push_back(std::move(entry));
        }
    }

    /// The modules that clients would convert but that hold plain weights, in the order of the
    /// file, and the head always (it is a Linear in every client even when it is tied).
    [[nodiscard]] std::vector<std::string> unquantized() const {
        std::vector<std::string> out;
        for (linear_node const& node : graph_.linears()) {
            if (weight_scheme(node) == nullptr) {
                out.push_back(node.module);
            }
        }
        if (weight_scheme(graph_.head()) == nullptr) {
            out.push_back(graph_.head().module);
        }
        return out;
    }

    void plan_output() {
        output_args const& o = recipe_.output;
        if (o.kind == export_kind::none) {
            return;
        }
        if (o.directory.empty()) {
            fail_usage("save_path", "export_quantized_model", "a directory", "nothing");
        }
        planned_output out;
        out.directory = o.directory;
        out.max_shard_size = o.max_shard_size;
        out.linears.pseudo = o.kind == export_kind::pseudoquant;
        out.linears.unquantized = unquantized();
        std::vector<std::size_t> renumbered(plan_.schemes.size(), run_plan::none);
        for_each_quantized([&](linear_node const& node, scheme const& s) {
            std::size_t& index = renumbered[static_cast<std::size_t>(&s - plan_.schemes.data())];
            if (index == run_plan::none) {
                index = out.linears.schemes.size();
                out.linears.schemes.push_back(s);
            }
            out.linears.linears.push_back(
                {node.module, node.group, node.out, node.in, index, node.layer == graph_.layers()});
        });
        if (out.linears.linears.empty()) {
            fail_usage("export_quantized_model", {}, "quantized weights", "none (w_bits 16)");
        }
        out.layout = choose_layout(out.linears);
        for (export_linear const& linear : out.linears.linears) {
            for (tensor_plan& tensor : out.layout->tensors(out.linears, linear)) {
                out.tensors.push_back(std::move(tensor));
            }
        }
        plan_copies(out);
        for (tensor_plan const& tensor : out.tensors) {
            out.bytes += tensor.byte_count();
        }
        plan_.output = std::move(out);
    }

    [[nodiscard]] dialect const* choose_layout(export_plan const& linears) {
        std::string const& name = recipe_.output.layout;
        if (name == "auto") {
            for (dialect const* const d : dialects) {
                if (!refuses(*d, linears)) {
                    plan_.notes.push_back("layout: " + std::string(d->name));
                    return d;
                }
            }
            // The reason of the layout that comes nearest.
            bool const only_fp_quant =
                linears.pseudo || !linears.schemes.front().transform.is_identity();
            refusal const why = *refuses(only_fp_quant ? fp_quant : compressed_tensors, linears);
            fail_usage("no layout can hold this", why.where, why.expected, why.found);
        }
        dialect const* const d = find_dialect(name);
        if (d == nullptr) {
            std::string names = "auto";
            for (dialect const* const known : dialects) {
                names += ", " + std::string(known->name);
            }
            fail_usage("export_format", {}, names, name);
        }
        if (std::optional<refusal> const why = refuses(*d, linears)) {
            fail_usage(std::string(d->name) + " cannot hold this", why->where, why->expected,
                       why->found);
        }
        return d;
    }

    /// What is copied lies in the shard of the linear, or the fused group, that it belongs to.
    void plan_copies(planned_output& out) const {
        std::map<std::string, std::string> group_of;  // tensor, group
        for (linear_node const& node : graph_.linears()) {
            group_of[node.bias_name()] = node.group;
        }
        constexpr std::string_view suffix = ".weight";
        for (plan_entry const& entry : plan_.entries) {
            if (entry.action != tensor_action::copy) {
                continue;
            }
            tensor_ref const& tensor = source_.at(entry.tensor);
            auto const at = group_of.find(entry.tensor);
            std::string group = at != group_of.end() ? at->second : entry.tensor;
            if (group.ends_with(suffix)) {
                group.resize(group.size() - suffix.size());
            }
            out.tensors.push_back({entry.tensor, tensor.type, tensor.shape, group});
        }
    }

    /// Bytes at the widest moment: one layer in float32, the second moments of its taps, the
    /// largest linear while it is solved (working copy, decoded, packed, factor), hidden states, a
    /// window.
    [[nodiscard]] std::uint64_t peak_memory() const {
        bool const moments = calibrates() && needs_of(plan_.methods).second_moment;
        std::uint64_t layer = 0;
        std::uint64_t widest = 0;
        std::uint64_t squares = 0;
        std::array<bool, tap_count> seen{};
        for (linear_node const& node :
             graph_.layers() > 0 ? graph_.layer(0) : std::span<linear_node const>()) {
            std::uint64_t const square = std::uint64_t{node.in} * node.in * 4;
            layer += node.values() * 4;
            widest = std::max(widest, node.values() * 12 + (moments ? square * 3 : 0));
            bool& counted = seen[static_cast<std::size_t>(node.input)];
            squares += moments && !counted ? 4 * square : 0;  // see sharded_second_moment
            counted = true;
        }
        model_config const& c = graph_.config();
        std::uint64_t const hidden =
            calibrates() ? std::uint64_t{plan_.calibration_tokens} * c.hidden_size * 4 : 0;
        std::uint64_t const window = std::uint64_t{recipe_.calibration.sequence_length} *
                                     (c.intermediate_size * 3 + c.hidden_size * 4) * 4;
        return layer + widest + squares + hidden + (calibrates() ? window : 0) +
               (std::uint64_t{64} << 20);
    }

    recipe const& recipe_;
    checkpoint const& source_;
    model_graph const& graph_;
    run_plan plan_;
};

}  // namespace detail

/// Decides everything for a run on `b`. Throws fpq::error: usage for what cannot be, by flag and
/// module; input for a tensor that is missing.
template <class B>
run_plan resolve(B const& b, recipe const& r, checkpoint const& source, model_graph const& graph) {
    run_plan plan = detail::plan_maker(r, source, graph).make();
    plan.threads = b.threads;
    return plan;
}

}  // namespace fpq
