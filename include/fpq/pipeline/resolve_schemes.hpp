// SPDX-License-Identifier: Apache-2.0
// Floor 8. The first half of resolve: which scheme every linear gets. Rules that cannot be are
// refused by module.
#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/graph/graph.hpp"
#include "fpq/io/text/name_pattern.hpp"
#include "fpq/pipeline/bounds.hpp"
#include "fpq/pipeline/plan.hpp"
#include "fpq/pipeline/recipe.hpp"
#include "fpq/pipeline/words.hpp"

namespace fpq::detail {

/// Fills `schemes` and `how` of a plan.
class scheme_chooser {
public:
    scheme_chooser(recipe const& r, model_graph const& graph, run_plan& plan)
        : recipe_(r), graph_(graph), plan_(plan) {}

    void choose() {
        check_numbers();
        choose_schemes();
        check_groups();
        if (plan_.schemes.empty()) {
            bool const asks =
                std::any_of(recipe_.rules.begin(), recipe_.rules.end(),
                            [](module_rule const& rule) { return !rule.how.does_nothing(); });
            plan_.notes.emplace_back(asks ? "nothing is quantized: --ignore and rules leave no "
                                            "module"
                                          : "nothing is quantized: no rule has a format, and no "
                                            "flag chooses one (w_bits 16)");
        }
    }

private:
    /// For recipes that no reader has checked.
    void check_numbers() const {
        calibration_args const& c = recipe_.calibration;
        require_within("sequence_length", bounds::sequence_length, c.sequence_length);
        require_within("num_sequences", bounds::num_sequences, c.num_sequences);
        require_within("max_shard_size", bounds::shard_bytes, recipe_.output.max_shard_size);
        require_within("eval_characters", bounds::characters, recipe_.evaluation.characters);
        require_within("eval_windows", bounds::windows, recipe_.evaluation.windows);
        for (module_rule const& rule : recipe_.rules) {
            check_operand(rule, false);
            check_operand(rule, true);
            if (!rule.how.transform.is_identity()) {
                require_within("hadamard_group_size", bounds::transform_block,
                               rule.how.transform.block);
            }
        }
    }

    /// What a recipe file could not say of an operand either.
    static void check_operand(module_rule const& rule, bool input) {
        std::optional<quant_args> const& a = input ? rule.how.input : rule.how.weight;
        if (!a) {
            return;
        }
        if (!a->format.symmetric && !is_integer(a->format.element)) {
            fail_usage("asymmetric", rule.pattern, "integers (floats have no zero point)",
                       word_of(element_words, a->format.element));
        }
        if ((input ? word_of(input_observers, a->rule) : word_of(weight_observers, a->rule))
                .empty()) {
            fail_usage(input ? "a_observer" : "w_observer", rule.pattern,
                       listed(input ? words_of(input_observers) : words_of(weight_observers)),
                       name_of(a->rule));
        }
        if (word_of(mx_rules, a->mx).empty()) {
            fail_usage("mx_rule", rule.pattern, listed(words_of(mx_rules)), name_of(a->mx));
        }
    }

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
        std::vector<fate> fates(patterns.size());
        auto const pick = [&](std::string const& module) {
            std::size_t which = run_plan::none;
            bool const kept = matches_any(ignored, module);
            for (std::size_t i = 0; i < patterns.size(); ++i) {
                if (patterns[i].matches(module)) {
                    fates[i].matches = true;
                    fates[i].ignored = fates[i].ignored || kept;
                    which = i;
                }
            }
            if (which == run_plan::none || kept) {
                return run_plan::none;
            }
            fates[which].counts = true;
            return which;
        };
        for (linear_node const& node : graph_.linears()) {
            plan_.how.push_back(add_scheme(node, pick(node.module)));
        }
        plan_.how.push_back(choose_head(pick(graph_.head().module)));
        note_idle_patterns(ignored);
        for (std::size_t i = 0; i < patterns.size(); ++i) {
            check_fate(i, patterns[i], fates[i], matches_any(ignored, graph_.embedding()));
        }
    }

    /// What became of a rule.
    struct fate {
        bool matches = false;  // some linear
        bool counts = false;   // for some linear
        bool ignored = false;  // --ignore has some of what it matches
    };

    static bool matches_any(std::vector<name_pattern> const& patterns, std::string const& module) {
        return std::any_of(patterns.begin(), patterns.end(),
                           [&](name_pattern const& p) { return p.matches(module); });
    }

    /// Refuses a rule that cannot be, and tells of one that nothing is left for.
    void check_fate(std::size_t i, name_pattern const& pattern, fate const& f,
                    bool embedding_ignored) {
        bool const idle = recipe_.rules[i].how.does_nothing();
        bool const named = pattern.text() != "Linear";
        bool const embedding = named && pattern.matches(graph_.embedding());
        if (embedding && !idle && !embedding_ignored) {
            fail_usage("rule", pattern.text(),
                       "no match of " + graph_.embedding() +
                           " (no layout holds a quantized embedding; --ignore it)",
                       "a match");
        }
        if (named && !f.matches && !(embedding && idle)) {
            fail_usage("rule", pattern.text(), "a pattern that some linear matches", "none does");
        }
        if (f.matches && !f.counts && !(idle && i == 0)) {
            plan_.notes.push_back("rule " + shown(pattern.text()) +
                                  " does nothing: all that it matches has a later rule" +
                                  (f.ignored ? " or stays by --ignore" : ""));
        }
    }

    /// --ignore of what is not there: other models have it, or it is a slip.
    void note_idle_patterns(std::vector<name_pattern> const& ignored) {
        for (name_pattern const& pattern : ignored) {
            bool found = pattern.text().empty() || pattern.matches(graph_.head().module) ||
                         pattern.matches(graph_.embedding());
            for (linear_node const& node : graph_.linears()) {
                found = found || pattern.matches(node.module);
            }
            if (!found) {
                plan_.notes.push_back("--ignore " + shown(pattern.text()) +
                                      ": no module has that name");
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

    recipe const& recipe_;
    model_graph const& graph_;
    run_plan& plan_;
};

}  // namespace fpq::detail
