// SPDX-License-Identifier: Apache-2.0
// Floor 8. Recipe and checkpoint to plan. Everything that can be refused is refused here, by module
// and by the flag that makes it fit. Numerics come from the recipe alone: whether and where one
// exports changes no scheme; a layout holds it or is refused.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/core/hosted/printable.hpp"
#include "fpq/dialect/dialect.hpp"
#include "fpq/graph/derived_tensors.hpp"
#include "fpq/graph/graph.hpp"
#include "fpq/io/file/hub_cache.hpp"
#include "fpq/io/safetensors/checkpoint.hpp"
#include "fpq/io/text/text_files.hpp"
#include "fpq/pipeline/memory.hpp"
#include "fpq/pipeline/plan.hpp"
#include "fpq/pipeline/presets.hpp"
#include "fpq/pipeline/recipe.hpp"
#include "fpq/pipeline/recipe_json.hpp"
#include "fpq/pipeline/resolve_layout.hpp"
#include "fpq/pipeline/resolve_schemes.hpp"
#include "fpq/pipeline/smoothed_taps.hpp"
#include "fpq/pipeline/strangers.hpp"
#include "fpq/pipeline/words.hpp"
#include "fpq/solve/two_sided.hpp"

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
        scheme_chooser(recipe_, graph_, plan_).choose();
        check_methods();
        check_smoothing();
        check_needs();
        plan_entries();
        plan_output();
        return std::move(plan_);
    }

private:
    [[nodiscard]] bool calibrates() const { return !recipe_.calibration.dataset.empty(); }
    /// After check_needs: something looks at the text.
    [[nodiscard]] bool looks() const { return !plan_.calibration.dataset.empty(); }

    void check_methods() const {
        if (plan_.methods.empty() || improves(plan_.methods.front())) {
            fail_usage("methods", {}, "rtn, gptq or two_sided first",
                       plan_.methods.empty() ? "none" : name_of(plan_.methods.front()));
        }
        for (std::size_t i = 1; i < plan_.methods.size(); ++i) {
            if (!improves(plan_.methods[i])) {
                fail_usage("methods", {}, "polish or joint after the first method",
                           name_of(plan_.methods[i]));
            }
        }
        // A backward pass begins behind the head.
        if (plan_.solves_by_gradients() && plan_.scheme_of(graph_, graph_.head()) != nullptr) {
            fail_usage("objective", graph_.head().module,
                       "a head that stays as it is, with two_sided", "one that is quantized");
        }
    }

    /// Which inputs have scales folded; a note counts those of quantized linears that cannot.
    void check_smoothing() {
        plan_.smoothing = recipe_.smoothing;
        if (!plan_.smoothing.acts()) {
            return;
        }
        if (needs_of(plan_.methods).output_moment) {
            fail_usage("smooth", {}, "--objective output beside it", "two_sided");
        }
        std::size_t scaled = 0;
        std::vector<std::string> left;  // the first linear that reads each
        for (std::size_t layer = 0; layer < graph_.layers(); ++layer) {
            for (tap const at : layer_taps) {
                linear_node const* const reader = first_reader(layer, at);
                if (reader == nullptr) {
                    continue;
                }
                if (smoothed_target(plan_, graph_, layer, at)) {
                    ++scaled;
                } else {
                    left.push_back(reader->module);
                }
            }
        }
        if (!left.empty()) {
            plan_.notes.push_back(
                "--smooth: nothing quantized makes the inputs of " + left.front() +
                (left.size() > 1
                     ? " and " + std::to_string(left.size() - 1) + " more: they have no scales"
                     : ": they have no scales"));
        }
        if (scaled == 0) {
            plan_.smoothing = {};
        }
    }

    /// The first linear of a layer that reads a tap and has a quantized weight.
    [[nodiscard]] linear_node const* first_reader(std::size_t layer, tap at) const {
        for (linear_node const& node : graph_.layer(layer)) {
            if (node.input == at && weight_scheme(node) != nullptr) {
                return &node;
            }
        }
        return nullptr;
    }

    /// Text for whatever must see inputs.
    void check_needs() {
        bool weights = false;
        bool global_inputs = false;
        for (scheme const& s : plan_.schemes) {
            weights = weights || s.weight.has_value();
            global_inputs = global_inputs || (s.input && s.input->format.has_global);
        }
        method_needs const needs = needs_of(plan_.methods);
        bool const moment = weights && (needs.second_moment || needs.output_moment);
        if (!calibrates() && moment) {
            std::string const what =
                name_of(plan_.methods.front()) == std::string("gptq")
                    ? "GPTQ needs calibration text"
                    : std::string(name_of(plan_.methods.back())) + " needs calibration text";
            fail_usage("dataset_name_or_path", what, "a file, a directory or self", "nothing");
        }
        if (!calibrates() && plan_.smoothing.acts()) {
            fail_usage("dataset_name_or_path", "--smooth needs calibration text",
                       "a file, a directory or self", "nothing");
        }
        if (!calibrates() && global_inputs) {
            fail_usage("dataset_name_or_path",
                       "nvfp inputs need calibration text for their global scale",
                       "a file, a directory or self", "nothing");
        }
        bool const looked_at = moment || global_inputs || plan_.smoothing.acts();
        choose_evaluation(looked_at);
        if (!looked_at) {
            plan_.calibration.dataset.clear();  // nothing would look at it
        }
        std::string const longer =
            graph_.config().long_windows(recipe_.calibration.sequence_length);
        if ((looks() || plan_.evaluation.perplexity) && !longer.empty()) {
            plan_.notes.push_back(longer);
        }
        if (looks()) {
            plan_.calibration_tokens =
                recipe_.calibration.num_sequences * recipe_.calibration.sequence_length;
        }
    }

    /// Without a text of its own, an evaluation is on the calibration text, which is said, as is
    /// one whose own text is what the run looks at.
    void choose_evaluation(bool looks_at_text) {
        if (!recipe_.evaluation.perplexity) {
            return;
        }
        if (!recipe_.evaluation.texts.empty()) {
            if (looks_at_text) {
                note_shared_texts();
            }
            return;
        }
        std::string const& text = recipe_.calibration.dataset;
        if (text.empty() || text == "self" || text == "-") {
            fail_usage("eval_perplexity", {}, "--eval_data FILE", "none");
        }
        plan_.evaluation.texts.emplace_back(text);
        plan_.evaluates = evaluated_text::calibration;
        plan_.notes.push_back("no --eval_data: perplexity and KL are of the calibration text " +
                              text);
    }

    void note_shared_texts() {
        std::string const& dataset = recipe_.calibration.dataset;
        std::size_t shared = 0;
        for (std::filesystem::path const& text : recipe_.evaluation.texts) {
            bool const same = dataset != "self" && !shared_text_file(text, dataset).empty();
            if (same) {
                plan_.notes.push_back("--eval_data " + text.string() +
                                      ": its perplexity and KL are of the calibration text");
            }
            shared += same ? 1 : 0;
        }
        plan_.evaluates = shared == 0                                 ? evaluated_text::own
                          : shared == recipe_.evaluation.texts.size() ? evaluated_text::calibration
                                                                      : evaluated_text::both;
    }

    [[nodiscard]] scheme const* weight_scheme(linear_node const& node) const {
        scheme const* const s = plan_.scheme_of(graph_, node);
        return s != nullptr && s->weight ? s : nullptr;
    }

    /// Every linear that has a scheme, for its weight or its inputs alone, the head last.
    template <class F>
    void for_each_scheme(F f) const {
        for (linear_node const& node : graph_.linears()) {
            if (scheme const* const s = plan_.scheme_of(graph_, node)) {
                f(node, *s);
            }
        }
        if (scheme const* const s = plan_.scheme_of(graph_, graph_.head())) {
            f(graph_.head(), *s);
        }
    }

    void plan_entries() {
        std::map<std::string, std::string> quantized;  // tensor, why
        for_each_scheme([&](linear_node const& node, scheme const& s) {
            if (s.weight) {
                quantized[node.weight()] =
                    std::string(word_of(element_words, s.weight->format.element)) + " " +
                    std::string(word_of(scale_words, s.weight->format.scale));
            }
        });
        std::set<std::string> const folded = folded_tensors();
        std::set<std::string> needed;
        graph_.for_each_tensor([&](std::string const& name) {
            (void)source_.at(name);
            needed.insert(name);
        });
        std::vector<std::string> derived;
        for (std::string const& name : source_.names()) {
            plan_entry entry;
            entry.tensor = name;
            entry.bytes_in = source_.at(name).bytes.size();
            if (auto const at = quantized.find(name); at != quantized.end()) {
                entry.action = tensor_action::quantize;
                entry.why = at->second;
            } else if (folded.contains(name)) {
                entry.action = tensor_action::fold;
                entry.why = "norm or bias, divided by scales";
            } else if (!needed.contains(name)) {
                bool const tied = name == graph_.head().weight() && graph_.config().tied_head;
                bool const made_anew = !tied && is_derived_tensor(name);
                entry.action = tied || made_anew ? tensor_action::drop : tensor_action::copy;
                entry.why = tied        ? "tied to the embedding"
                            : made_anew ? "a table that loaders make anew"
                                        : "not understood, kept";
                if (made_anew) {
                    derived.push_back(name);
                } else if (!tied) {
                    plan_.strangers.push_back(name);
                }
            } else {
                entry.why = name == graph_.embedding() + ".weight" ? "embedding"
                            : name == graph_.head().weight()       ? "head"
                            : source_.at(name).shape.size() == 1   ? "norm or bias"
                                                                   : "not quantized";
            }
            plan_.entries.push_back(std::move(entry));
        }
        if (!derived.empty()) {
            plan_.notes.push_back(tensors_line(derived, "left out, loaders make them anew"));
        }
        if (!plan_.strangers.empty()) {
            plan_.notes.push_back(
                tensors_line(plan_.strangers, recipe_.output.kind == export_kind::none
                                                  ? "not understood, nothing reads them"
                                                  : "not understood, copied as they are"));
        }
        for (auto const* notes : {&graph_.config().notes, &graph_.config().contradictions}) {
            plan_.notes.insert(plan_.notes.end(), notes->begin(), notes->end());
        }
    }

    /// The norms and biases that smoothing changes.
    [[nodiscard]] std::set<std::string> folded_tensors() const {
        std::set<std::string> out;
        for (std::size_t layer = 0; layer < graph_.layers(); ++layer) {
            for (tap const at : layer_taps) {
                if (auto const target = smoothed_target(plan_, graph_, layer, at)) {
                    out.insert(folded_tensor(graph_, layer, *target));
                }
            }
        }
        out.erase(std::string());
        return out;
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
        for (std::string& module : strangers().modules()) {
            out.push_back(std::move(module));
        }
        return out;
    }

    [[nodiscard]] stranger_check strangers() const {
        return {plan_, graph_, source_, plan_.strangers};
    }

    void plan_output() {
        output_args const& o = recipe_.output;
        if (o.kind == export_kind::none) {
            return;
        }
        if (o.directory.empty()) {
            fail_usage("save_path", "export_quantized_model", "a directory", "nothing");
        }
        strangers().refuse_parts();
        planned_output out;
        out.directory = o.directory;
        out.max_shard_size = o.max_shard_size;
        out.linears.pseudo = o.kind == export_kind::pseudoquant;
        out.linears.unquantized = unquantized();
        out.linears.graph = std::make_shared<model_graph const>(graph_);
        std::vector<std::size_t> renumbered(plan_.schemes.size(), run_plan::none);
        for_each_scheme([&](linear_node const& node, scheme const& s) {
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
        out.layout = choose_layout(o.layout, out.linears, plan_.notes);
        for (export_linear const& linear : out.linears.linears) {
            for (tensor_plan& tensor : out.layout->tensors(out.linears, linear)) {
                out.tensors.push_back(std::move(tensor));
            }
        }
        if (out.layout->file == nullptr) {
            strangers().refuse_in(out);
            plan_copies(out);
            out.shards = plan_shards(out.tensors, out.max_shard_size);
        } else {
            plan_single_file(*out.layout->file, out);
        }
        for (tensor_plan const& tensor : out.tensors) {
            out.bytes += tensor.byte_count();
        }
        plan_.output = std::move(out);
    }

    /// What is copied lies in the shard of the linear, or the fused group, that it belongs to.
    void plan_copies(planned_output& out) const {
        std::map<std::string, std::string> group_of;  // tensor, group
        for (linear_node const& node : graph_.linears()) {
            group_of[node.bias_name()] = node.group;
        }
        constexpr std::string_view suffix = ".weight";
        for (plan_entry const& entry : plan_.entries) {
            if (entry.action != tensor_action::copy && entry.action != tensor_action::fold) {
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

    /// All that is not quantized, under the names of the file.
    void plan_single_file(single_file const& file, planned_output& out) const {
        if (out.max_shard_size != output_args{}.max_shard_size) {
            fail_usage("max_shard_size", out.layout->name, "no limit: the layout is one file",
                       std::to_string(out.max_shard_size));
        }
        if (!recipe_.evaluation.tasks.names.empty()) {
            fail_usage("lm_eval", out.layout->name,
                       "a layout that fpq reads (compressed-tensors, fp_quant or modelopt)",
                       "tasks");
        }
        for (plan_entry const& entry : plan_.entries) {
            if (entry.action == tensor_action::copy || entry.action == tensor_action::fold) {
                out.tensors.push_back(file.planned(out.linears, source_.at(entry.tensor)));
            }
        }
        for (tensor_data const& made : file.made(out.linears)) {
            out.tensors.push_back({made.name, made.type, made.shape, made.name});
        }
        out.shards.push_back(file.lay_out(out.linears, out.tensors, source_));
    }

    recipe const& recipe_;
    checkpoint const& source_;
    model_graph const& graph_;
    run_plan plan_;
};

/// Refuses, for a device, a descent over groups that its kernels do not hold.
inline void require_narrow_groups(run_plan const& plan, model_graph const& graph) {
    constexpr std::size_t most = 128;  // cuda::descent_tile::most_width
    bool const two_sided = needs_of(plan.methods).output_moment;
    char const* what = nullptr;
    for (method const& m : plan.methods) {
        what = std::holds_alternative<joint_method>(m) ? "--joint on a GPU"
               : std::holds_alternative<polish_method>(m) && two_sided
                   ? "--polish with --objective "
                     "two_sided on a GPU"
                   : what;
    }
    for (linear_node const& node : graph.linears()) {
        scheme const* const s = what == nullptr ? nullptr : plan.scheme_of(graph, node);
        if (s != nullptr && s->weight &&
            std::min(s->weight->format.group_of(node.in), node.in) > most) {
            fail_usage(what, node.module, "groups of up to 128 columns, or --device cpu",
                       std::to_string(s->weight->format.group_of(node.in)));
        }
    }
}

/// The linears of a plan that `budget` bytes are too few for, two-sided, and a note of them.
inline void choose_guided(run_plan& plan, model_graph const& graph, std::uint64_t budget) {
    std::uint64_t most = 0;
    std::size_t solved = 0;
    for (linear_node const& node : graph.linears()) {
        scheme const* const s = plan.scheme_of(graph, node);
        if (s == nullptr || !s->weight) {
            continue;
        }
        ++solved;
        std::uint64_t const bytes = two_sided_bytes(node.out, node.in);
        if (bytes > budget) {
            plan.guided.push_back(node.module);
            most = std::max(most, bytes);
        }
    }
    if (!plan.guided.empty()) {
        plan.notes.push_back("--host_memory " + std::to_string(budget) + ": " +
                             std::to_string(plan.guided.size()) + " of " + std::to_string(solved) +
                             " linears, the first " + plan.guided.front() +
                             ", are solved for token-weighted inputs alone (guided): their " +
                             "outputs take up to " + std::to_string(most) + " bytes");
    }
}

}  // namespace detail

/// Decides everything for a run on `b`. Throws fpq::error: usage for what cannot be, by flag and
/// module; input for a tensor that is missing.
template <class B>
run_plan resolve(B const& b, recipe const& r, checkpoint const& source, model_graph const& graph) {
    run_plan plan = detail::plan_maker(r, source, graph).make();
    plan.threads = b.threads;
    plan.backend = name_of(b);
    if constexpr (B::is_queued) {
        if (plan.smoothing.acts()) {
            detail::require_on_host<B>("--smooth");
        }
        detail::require_narrow_groups(plan, graph);
        std::size_t const length = std::max<std::size_t>(1, plan.calibration.sequence_length);
        plan.peak_memory = host_memory_of(plan, graph);
        plan.device_memory = layer_memory_of(plan, graph, length * windows_at_once(b, length));
        require_device_memory(b, plan.device_memory);
    } else {
        if (plan.solves_by_gradients() && b.budget.host != 0) {
            detail::choose_guided(plan, graph, b.budget.host);
        }
        plan.peak_memory = cpu_memory_of(plan, graph);
    }
    return plan;
}

}  // namespace fpq
