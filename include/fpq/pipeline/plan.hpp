// SPDX-License-Identifier: Apache-2.0
// Floor 8. What a run will do, decided before it does anything: one action for every tensor of the
// checkpoint, the tensors of the output, and the memory it will need.
#pragma once

#include <fmt/format.h>
#include <string_view>
#include <utility>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/dialect/exporter.hpp"
#include "fpq/io/safetensors/checkpoint.hpp"
#include "fpq/io/safetensors/checkpoint_writer.hpp"
#include "fpq/model/config.hpp"
#include "fpq/model/names.hpp"
#include "fpq/pipeline/recipe.hpp"

namespace fpq {

enum class tensor_action : std::uint8_t { quantize, copy, drop };

struct plan_entry {
    std::string tensor;
    tensor_action action = tensor_action::copy;
    std::string why;
    std::uint64_t bytes_in = 0;
    std::uint64_t bytes_out = 0;
};

struct run_plan {
    std::vector<plan_entry> entries;     // in the order of the checkpoint's names
    std::vector<tensor_plan> output;     // empty without an export
    std::vector<std::string> notes;      // what a user should know before starting
    export_facts facts;                  // of the export
    std::uint64_t output_bytes = 0;      // of the tensors
    std::uint64_t peak_memory = 0;       // bytes, estimated
    std::size_t calibration_tokens = 0;  // 0: no calibration
};

namespace detail {

inline std::string dense_module(std::string const& tensor) {
    constexpr std::string_view suffix = ".weight";
    return tensor.ends_with(suffix) ? tensor.substr(0, tensor.size() - suffix.size()) : tensor;
}

/// Groups of rows of one linear that must divide its width, or the run is refused by name.
inline void check_linear_width(recipe const& r, std::string const& module, linear_shape shape) {
    if (r.transform != transform_kind::identity && shape.in % r.transform_block != 0) {
        fail_usage("hadamard_group_size", module,
                   "a divisor of the input width " + std::to_string(shape.in),
                   std::to_string(r.transform_block));
    }
}

/// The block that an export names: that of the transform, or the least the client knows.
inline std::size_t exported_transform_block(recipe const& r) {
    if (r.transform != transform_kind::identity) {
        return r.transform_block;
    }
    return r.family == format_family::nvfp ? 16 : 32;
}

inline std::uint64_t peak_memory_estimate(recipe const& r, model_config const& config,
                                          bool calibrates) {
    std::uint64_t layer = 0;
    std::uint64_t widest_pair = 0;
    std::uint64_t hessians = 0;
    for (linear_role role : linear_roles) {
        linear_shape const shape = expected_shape(config, role);
        std::uint64_t const values = std::uint64_t{shape.out} * shape.in;
        layer += values * 4;
        widest_pair = std::max(widest_pair, values * 12);  // working copy, decoded, packed
        if (calibrates && shared_input(role) == role &&
            (r.gptq || r.w_observer == scale_rule::sweep)) {
            std::uint64_t const square = std::uint64_t{shape.in} * shape.in;
            hessians += square * 8;  // sum and its compensation
            widest_pair = std::max(widest_pair, values * 12 + square * 12);  // factor
        }
    }
    std::uint64_t const hidden =
        calibrates ? std::uint64_t{r.num_sequences} * r.sequence_length * config.hidden_size * 4
                   : 0;
    std::uint64_t const window = std::uint64_t{r.sequence_length} *
                                 (config.intermediate_size * 3 + config.hidden_size * 4) * 4;
    return layer + widest_pair + hessians + hidden + (calibrates ? window : 0) +
           (std::uint64_t{64} << 20);
}

}  // namespace detail

/// Decides everything. Throws fpq::error for a tensor of unknown name, a missing tensor, a width
/// that the transform, the format or the client forbids.
inline run_plan make_plan(recipe const& r, checkpoint const& source, model_config const& config) {
    run_plan plan;
    bool const calibrates = !r.dataset.empty();
    plan.calibration_tokens = calibrates ? r.num_sequences * r.sequence_length : 0;
    plan.facts.format = r.quantizes_weights() ? weight_format(r) : nvfp4;
    plan.facts.activations = r.quantizes_inputs();
    plan.facts.pseudo = r.exported == export_kind::pseudoquant;
    plan.facts.transform = std::string(transform_name(r.transform));
    plan.facts.hadamard_group = detail::exported_transform_block(r);
    // The head stays as it is; clients look for its name even when it is tied to the embedding.
    plan.facts.unquantized_modules = {std::string(head_module)};
    if (r.exported != export_kind::none) {
        check_export(r.layout, plan.facts);
    }

    std::set<std::string> quantized;
    for (std::size_t layer = 0; layer < config.layers && r.quantizes_weights(); ++layer) {
        for (linear_role role : linear_roles) {
            std::string const module = linear_name(layer, role);
            linear_shape const shape = expected_shape(config, role);
            detail::check_linear_width(r, module, shape);
            quantized.insert(module + ".weight");
            if (r.exported != export_kind::none) {
                std::string const group = linear_name(layer, shared_input(role));
                for (tensor_plan& tensor :
                     plan_linear(r.layout, module, shape.out, shape.in, plan.facts, group)) {
                    plan.output.push_back(std::move(tensor));
                }
            }
        }
    }
    std::set<std::string> needed;
    for_each_tensor_name(config, [&](std::string const& name) {
        (void)source.at(name);
        needed.insert(name);
    });
    for (std::string const& name : source.names()) {
        tensor_ref const& tensor = source.at(name);
        plan_entry entry;
        entry.tensor = name;
        entry.bytes_in = tensor.bytes.size();
        if (quantized.contains(name)) {
            entry.action = tensor_action::quantize;
            entry.why = family_name(r.family) + std::to_string(r.w_bits);
        } else if (!needed.contains(name)) {
            bool const tied = name == head_name && config.tied_head;
            entry.action = tensor_action::drop;
            entry.why = tied ? "tied to the embedding" : "not read by this architecture";
            if (!tied) {
                plan.notes.push_back("tensor " + name +
                                     " is not part of the model and is left out");
            }
        } else {
            entry.why = name == embedding_name                   ? "embedding"
                        : name == head_name                      ? "head"
                        : name.find("norm") != std::string::npos ? "norm"
                        : name.ends_with(".bias")                ? "bias"
                                                                 : "not quantized";
            entry.bytes_out = entry.bytes_in;
            if (r.exported != export_kind::none) {
                std::string group = detail::dense_module(name);
                if (name.ends_with(".bias")) {
                    group = name.substr(0, name.size() - 5);
                    for (linear_role role : linear_roles) {
                        if (group.ends_with(role_name(role))) {
                            group.replace(group.size() - role_name(role).size(),
                                          role_name(role).size(), role_name(shared_input(role)));
                            break;
                        }
                    }
                }
                plan.output.push_back({name, tensor.type, tensor.shape, group});
            }
        }
        plan.entries.push_back(std::move(entry));
    }
    for (tensor_plan const& tensor : plan.output) {
        plan.output_bytes += tensor.byte_count();
    }
    plan.peak_memory = detail::peak_memory_estimate(r, config, calibrates);
    return plan;
}

/// A table for `--dry_run`.
inline std::string describe_plan(run_plan const& plan) {
    std::string text = fmt::format("{:<52} {:<9} {:>14}  {}\n", "tensor", "action", "bytes", "why");
    for (plan_entry const& e : plan.entries) {
        text += fmt::format("{:<52} {:<9} {:>14}  {}\n", e.tensor,
                            e.action == tensor_action::quantize ? "quantize"
                            : e.action == tensor_action::copy   ? "copy"
                                                                : "drop",
                            e.bytes_in, e.why);
    }
    if (!plan.output.empty()) {
        text +=
            fmt::format("output: {} tensors, {} bytes\n", plan.output.size(), plan.output_bytes);
    }
    text += fmt::format("peak memory: about {} MiB\n", plan.peak_memory >> 20);
    text += fmt::format("calibration: {} tokens\n", plan.calibration_tokens);
    for (std::string const& note : plan.notes) {
        text += "note: " + note + "\n";
    }
    return text;
}

}  // namespace fpq
