// SPDX-License-Identifier: Apache-2.0
// Floor 8. What a run will do, decided before it does anything: a scheme for every linear, an
// action for every tensor of the checkpoint, the tensors of the output, memory. resolve.hpp makes
// it of a recipe; everything after reads the plan alone.
#pragma once

#include <fmt/format.h>
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "fpq/core/hosted/natural_order.hpp"
#include "fpq/core/hosted/printable.hpp"
#include "fpq/dialect/dialect.hpp"
#include "fpq/graph/graph.hpp"
#include "fpq/graph/scheme.hpp"
#include "fpq/io/safetensors/shard_plan.hpp"
#include "fpq/method/methods.hpp"
#include "fpq/pipeline/evaluated_text.hpp"
#include "fpq/pipeline/recipe.hpp"

namespace fpq {

enum class tensor_action : std::uint8_t { quantize, copy, fold, drop };

constexpr char const* name_of(tensor_action action) noexcept {
    constexpr char const* names[] = {"quantize", "copy", "fold", "drop"};
    return names[static_cast<int>(action)];
}

/// One tensor of the checkpoint.
struct plan_entry {
    std::string tensor;
    tensor_action action = tensor_action::copy;
    std::string why;
    std::uint64_t bytes_in = 0;
};

/// What is written, and where.
struct planned_output {
    dialect const* layout = nullptr;
    std::filesystem::path directory;
    std::uint64_t max_shard_size = 0;  ///< bytes
    export_plan linears;
    std::vector<tensor_plan> tensors;  ///< all of the output
    std::vector<shard_layout> shards;  ///< where these will lie
    std::uint64_t bytes = 0;           ///< of these
};

struct run_plan {
    static constexpr std::size_t none = ~std::size_t{0};

    std::filesystem::path model;
    std::vector<scheme> schemes;   ///< distinct
    std::vector<std::size_t> how;  ///< of graph.linears(), into schemes, then of the head; or none
    std::vector<method> methods;
    smooth_args smoothing;            ///< before the methods work on a layer
    std::vector<std::string> guided;  ///< linears whose outputs' side is over the memory budget
    calibration_args calibration;     ///< dataset empty: none
    evaluation_args evaluation;       ///< with the texts that it reads
    evaluated_text evaluates = evaluated_text::own;
    std::optional<planned_output> output;
    int threads = 0;       ///< of the backend that it was made for
    std::string backend;   ///< results of different ones differ in their last bits
    bool restart = false;  ///< an interrupted run's work is discarded, not continued

    std::vector<plan_entry> entries;  ///< in the order of the checkpoint's names
    std::vector<std::string>
        strangers;                    ///< tensors that the graph does not know; an export has them
    std::vector<std::string> notes;   ///< what a user should know before starting
    std::uint64_t peak_memory = 0;    ///< bytes, estimated, without texts and evaluation
    std::uint64_t device_memory = 0;  ///< bytes of a card, estimated, without hidden states
    std::size_t calibration_tokens = 0;  ///< 0: no calibration
    nlohmann::json recipe;               ///< what it was made of, for the report

    /// Null when the linear stays as it is.
    [[nodiscard]] scheme const* scheme_of(model_graph const& graph, linear_node const& node) const {
        std::size_t const at = node.layer == graph.layers()
                                   ? how.size() - 1
                                   : static_cast<std::size_t>(&node - graph.linears().data());
        return how[at] == none ? nullptr : &schemes[how[at]];
    }

    /// What is done to the inputs at a tap of a layer: those who read it agree. Null: nothing.
    [[nodiscard]] scheme const* input_scheme(model_graph const& graph, std::size_t layer,
                                             tap input) const {
        for (linear_node const& node : graph.layer(layer)) {
            if (node.input == input) {
                return scheme_of(graph, node);
            }
        }
        return nullptr;
    }

    /// Linears whose inputs are quantized.
    [[nodiscard]] std::size_t quantized_inputs() const {
        return static_cast<std::size_t>(
            std::count_if(how.begin(), how.end(), [this](std::size_t which) {
                return which != none && schemes[which].input.has_value();
            }));
    }

    /// Whether one of its methods is an M.
    template <class M>
    [[nodiscard]] bool has() const {
        return std::any_of(methods.begin(), methods.end(),
                           [](method const& m) { return std::holds_alternative<M>(m); });
    }

    /// Whether layers are solved within a backward pass.
    [[nodiscard]] bool solves_by_gradients() const {
        return needs_of(methods).output_moment &&
               std::any_of(schemes.begin(), schemes.end(),
                           [](scheme const& s) { return s.weight.has_value(); });
    }

    /// Whether a linear is solved without the second moment of its outputs' gradients.
    [[nodiscard]] bool is_guided(linear_node const& node) const {
        return std::find(guided.begin(), guided.end(), node.module) != guided.end();
    }

    [[nodiscard]] bool quantizes_something() const noexcept { return !schemes.empty(); }
};

/// What a rehearsal found out beside the plan.
struct rehearsal {
    double seconds = 0.0;      ///< that the run will take, estimated on this machine
    std::uint64_t memory = 0;  ///< bytes at the widest moment, texts counted
    std::uint64_t states = 0;  ///< bytes of hidden states on a card, or over its budget beside it
};

/// A table for `--dry_run`, layers in the order of their numbers.
inline std::string describe_plan(run_plan const& plan, rehearsal const& seen) {
    std::vector<plan_entry const*> entries;
    std::uint64_t before = 0;
    for (plan_entry const& e : plan.entries) {
        entries.push_back(&e);
        before += e.bytes_in;
    }
    std::sort(entries.begin(), entries.end(), [](plan_entry const* a, plan_entry const* b) {
        return natural_less(a->tensor, b->tensor);
    });
    constexpr double mebi = 1 << 20;
    std::string text = fmt::format("{:<52} {:<9} {:>14}  {}\n", "tensor", "action", "bytes", "why");
    for (plan_entry const* const e : entries) {
        text += fmt::format("{:<52} {:<9} {:>14}  {}\n", detail::printable(e->tensor),
                            name_of(e->action), e->bytes_in, detail::printable(e->why, 200));
    }
    text += fmt::format("before: {} tensors, {:.1f} MiB\n", plan.entries.size(),
                        static_cast<double>(before) / mebi);
    if (plan.output) {
        text +=
            fmt::format("after: {} tensors, {:.1f} MiB, {} in {}\n", plan.output->tensors.size(),
                        static_cast<double>(plan.output->bytes) / mebi, plan.output->layout->name,
                        detail::printable(plan.output->directory.string(), 200));
    }
    text += fmt::format("calibration: {} tokens\n", plan.calibration_tokens);
    text += fmt::format("peak memory: about {} MiB\n", seen.memory >> 20);
    if (plan.device_memory != 0) {
        text += fmt::format("peak memory of the card: about {} MiB, and {} MiB of hidden states\n",
                            plan.device_memory >> 20, seen.states >> 20);
    }
    text += fmt::format("time: about {:.0f} s with {} threads, from rates measured here\n",
                        std::max(1.0, seen.seconds), plan.threads);
    for (std::string const& note : plan.notes) {
        text += "note: " + detail::printable(note, 400) + "\n";
    }
    return text;
}

}  // namespace fpq
