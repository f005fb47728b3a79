// SPDX-License-Identifier: Apache-2.0
// Floor 8. How much memory a run takes, of the host and of a card, counted from its plan; and how
// much there is.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <span>
#include <string>

#include "fpq/backend/score.hpp"
#include "fpq/graph/graph.hpp"
#include "fpq/graph/scheme.hpp"
#include "fpq/method/methods.hpp"
#include "fpq/model/evaluate.hpp"
#include "fpq/pipeline/gradient_statistics.hpp"
#include "fpq/pipeline/plan.hpp"
#include "fpq/solve/smooth.hpp"

namespace fpq {

namespace detail {

/// Bytes of memory that this process held at its widest moment so far; 0 where the system does not
/// tell.
inline std::uint64_t peak_resident() {
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);) {
        if (line.starts_with("VmHWM:")) {
            return std::strtoull(line.c_str() + 6, nullptr, 10) * 1024;
        }
    }
    return 0;
}

/// The sizes of a layer that memory follows from.
struct layer_sizes {
    layer_sizes(run_plan const& plan, model_graph const& graph) {
        method_needs const needs = needs_of(plan.methods);
        bool const looks = !plan.calibration.dataset.empty();
        bool const moments = looks && needs.second_moment;
        bool const gradients = looks && plan.solves_by_gradients();
        std::array<bool, tap_count> seen{};
        for (linear_node const& node :
             graph.layers() > 0 ? graph.layer(0) : std::span<linear_node const>()) {
            values += node.values();
            widest = std::max<std::uint64_t>(widest, node.values());
            bool& counted = seen[static_cast<std::size_t>(node.input)];
            if (moments && !counted) {
                std::uint64_t const square = std::uint64_t{node.in} * node.in;
                squares += square;
                widest_square = std::max(widest_square, square);
            }
            counted = true;
            if (gradients) {  // every linear has two of its own, or one
                std::uint64_t const out = plan.is_guided(node) ? 0 : node.out;
                squares += std::uint64_t{node.in} * node.in + out * out;
                std::uint64_t const side = std::max<std::uint64_t>(node.in, out);
                widest_square = std::max(widest_square, side * side);
            }
        }
    }
    std::uint64_t values = 0;         ///< of its linears
    std::uint64_t widest = 0;         ///< of the largest linear
    std::uint64_t squares = 0;        ///< of the second moments that are taken
    std::uint64_t widest_square = 0;  ///< of the largest of them
};

/// Bytes of the process itself with its libraries, the tokenizer and buffers of threads: 10 to 16
/// MiB beside what is counted, measured on the small models with 1 to 16 threads.
inline constexpr std::uint64_t process_memory = std::uint64_t{20} << 20;

/// Second moments that are held of a tap: see sharded_second_moment.
inline constexpr std::uint64_t moment_levels = 4;

}  // namespace detail

/// Bytes that a backward pass holds beside one layer: hidden states of several layers, and what
/// the layers above have become.
inline std::uint64_t gradient_memory_of(run_plan const& plan, model_graph const& graph) {
    if (!plan.solves_by_gradients() || plan.calibration.dataset.empty()) {
        return 0;
    }
    std::uint64_t const state =
        std::uint64_t{plan.calibration_tokens} * graph.config().hidden_size * sizeof(float);
    std::size_t const every = layers_a_kept_state(graph.layers(), state);
    std::uint64_t packed = 0;
    for (linear_node const& node : graph.linears()) {
        scheme const* const s = plan.scheme_of(graph, node);
        packed += s != nullptr && s->weight ? s->weight->format.bytes(node.out, node.in) : 0;
    }
    model_config const& c = graph.config();
    std::uint64_t const tokens = plan.calibration.sequence_length;
    // Of a window, beside what its forward holds; then what the head's rows hold.
    std::uint64_t const trace = tokens * sizeof(float) *
                                (c.hidden_size * 8 + c.heads * c.head_dim * 5 +
                                 c.kv_heads * c.head_dim * 4 + c.intermediate_size * 2);
    std::uint64_t const head = 2 * std::uint64_t{detail::logit_rows} * c.vocab_size * sizeof(float);
    return states_of_sweep(graph.layers(), every) * state + packed + trace + head;
}

/// Bytes that the search for scales of a layer's inputs holds beside the layer: the samples of all
/// taps, and for one the outputs that are to be met and a candidate's weights.
inline std::uint64_t smoothing_memory_of(run_plan const& plan, model_graph const& graph) {
    if (!plan.smoothing.acts() || graph.layers() == 0) {
        return 0;
    }
    std::uint64_t const tokens = std::min<std::uint64_t>(smooth_tokens, plan.calibration_tokens);
    std::array<std::uint64_t, tap_count> width{};
    std::array<std::uint64_t, tap_count> out{};
    std::array<std::uint64_t, tap_count> values{};
    for (linear_node const& node : graph.layer(0)) {
        std::size_t const at = static_cast<std::size_t>(node.input);
        width[at] = node.in;
        out[at] += node.out;
        values[at] += node.values();
    }
    std::uint64_t samples = 0;
    std::uint64_t widest = 0;
    for (std::size_t at = 0; at < tap_count; ++at) {
        samples += tokens * width[at];
        widest = std::max(widest, tokens * (width[at] + 2 * out[at]) + 2 * values[at]);
    }
    return (samples + widest) * sizeof(float);
}

/// Bytes at the widest moment of a run on the CPU, without texts and evaluation: one layer in
/// float32, the second moments of its taps, the largest linear while it is solved (working copy,
/// decoded, packed, factor), hidden states, a window.
inline std::uint64_t cpu_memory_of(run_plan const& plan, model_graph const& graph) {
    detail::layer_sizes const layer(plan, graph);
    bool const looks = !plan.calibration.dataset.empty();
    model_config const& c = graph.config();
    std::uint64_t const hidden =
        looks ? std::uint64_t{plan.calibration_tokens} * c.hidden_size * 4 : 0;
    std::uint64_t const window = std::uint64_t{plan.calibration.sequence_length} *
                                 (c.intermediate_size * 3 + c.hidden_size * 4) * 4;
    std::uint64_t const solving =
        layer.widest * 12 + layer.widest_square * 12 + layer.squares * 4 * detail::moment_levels;
    return layer.values * 4 + std::max(solving, smoothing_memory_of(plan, graph)) + hidden +
           gradient_memory_of(plan, graph) + (looks ? window : 0) + detail::process_memory;
}

/// Bytes of the host at the widest moment of a run on a card: the libraries, pinned memory, and a
/// few layers of codes, solved and being written. Hidden states that do not fit on the card are
/// not counted.
inline std::uint64_t host_memory_of(run_plan const& plan, model_graph const& graph) {
    return detail::layer_sizes(plan, graph).values * 2 + (std::uint64_t{640} << 20);
}

/// Bytes of a card that the work on a layer takes beside hidden states, `tokens` going through it
/// at a time: the layer, the next one and what is not yet free of the last, second moments, then
/// the largest linear while it is solved; the vocabulary where something is evaluated.
inline std::uint64_t layer_memory_of(run_plan const& plan, model_graph const& graph,
                                     std::uint64_t tokens) {
    detail::layer_sizes const layer(plan, graph);
    model_config const& c = graph.config();
    bool const transforms = std::any_of(plan.schemes.begin(), plan.schemes.end(),
                                        [](scheme const& s) { return !s.transform.is_identity(); });
    std::uint64_t const weights = layer.values * (transforms ? 8 : 6);
    std::uint64_t const through = tokens * 2 *
                                  (c.hidden_size * 7 + c.heads * c.head_dim * 2 +
                                   c.kv_heads * c.head_dim * 2 + c.intermediate_size * 3);
    std::uint64_t const watching = layer.squares * 4 * detail::moment_levels + through;
    bool const gradients = plan.solves_by_gradients() && !plan.calibration.dataset.empty();
    bool const descends = gradients || plan.has<joint_method>();
    // Both second moments whole, and of the layer w, errors and two products of them.
    std::uint64_t const both_sides = descends ? layer.widest_square * 12 + layer.widest * 20 : 0;
    std::uint64_t const solving =
        layer.squares * 4 + layer.widest_square * 12 + layer.widest * 10 + both_sides;
    std::uint64_t const vocabulary = plan.evaluation.perplexity || gradients
                                         ? std::uint64_t{c.vocab_size} * c.hidden_size * 2
                                         : 0;
    // Beside what goes through: gradients and kept activations, and of a window the scores of heads
    // that share keys; behind the layers a few rows of logits.
    std::uint64_t const length = std::max<std::uint64_t>(1, plan.calibration.sequence_length);
    std::uint64_t const back =
        gradients
            ? through + c.heads / c.kv_heads * std::min<std::uint64_t>(1024, length) * length * 12
            : 0;
    return weights + std::max(watching + back, solving) + vocabulary + (std::uint64_t{256} << 20);
}

/// Bytes of memory that this process may have: the machine's, or the limit of its group where that
/// is less; 0 where the system does not tell.
inline std::uint64_t machine_memory() {
    long const pages = ::sysconf(_SC_PHYS_PAGES);
    long const page = ::sysconf(_SC_PAGESIZE);
    std::uint64_t bytes = pages > 0 && page > 0
                              ? static_cast<std::uint64_t>(pages) * static_cast<std::uint64_t>(page)
                              : 0;
    for (char const* const limit :
         {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}) {
        std::uint64_t most = 0;
        if (std::ifstream(limit) >> most && most != 0) {  // "max": no number
            bytes = bytes == 0 ? most : std::min(bytes, most);
        }
    }
    return bytes;
}

/// For the user: a run needs more than `there`; empty: it does not, or nothing is known.
inline std::string memory_note(std::uint64_t needed, std::uint64_t there) {
    if (there == 0 || needed <= there) {
        return {};
    }
    return "the run needs about " + std::to_string(needed >> 20) + " MiB of memory, this machine " +
           "has " + std::to_string(there >> 20) + ": fewer or shorter windows need less";
}

/// Bytes of hidden states of a run on a card, in bf16: calibration, and an evaluation's twice.
inline std::uint64_t device_states_of(run_plan const& plan, model_graph const& graph,
                                      std::size_t evaluation_tokens) {
    return plan.device_memory == 0
               ? 0
               : (plan.calibration_tokens + 2 * std::uint64_t{evaluation_tokens}) *
                     graph.config().hidden_size * 2;
}

/// Bytes of the host at the widest moment of a run behind the reading of its texts: the plan's, all
/// windows, and on the CPU what an evaluation keeps of them: hidden states and logits, original and
/// quantized.
inline std::uint64_t estimate_memory(run_plan const& plan, model_graph const& graph,
                                     std::size_t evaluation_tokens) {
    model_config const& c = graph.config();
    std::uint64_t const tokens = plan.calibration_tokens + std::uint64_t{evaluation_tokens};
    std::uint64_t bytes = plan.peak_memory + tokens * sizeof(std::int32_t);
    if (evaluation_tokens > 0 && plan.device_memory == 0) {
        bytes += 2 * std::uint64_t{evaluation_tokens} * c.hidden_size * sizeof(float);
        bytes += 2 * std::uint64_t{detail::logit_rows} * c.vocab_size * sizeof(float);
    }
    return bytes;
}

}  // namespace fpq
