// SPDX-License-Identifier: Apache-2.0
// Floor 6. quantization_config of compressed-tensors, ours or another writer's: read, or refused by
// its key where a client would compute something else.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "fpq/core/hosted/error.hpp"
#include "fpq/dialect/compressed_tensors_formats.hpp"
#include "fpq/dialect/dialect.hpp"
#include "fpq/dialect/stored.hpp"
#include "fpq/io/json/json_member.hpp"

namespace fpq::detail {

/// Which strategy, symmetry, order, type and time of scaling a client reads of a format's
/// arguments: scales of weights are stored, those of inputs are found by the client. Defaults are
/// the library's.
inline void require_compressed_tensors_manner(checkpoint const& source, nlohmann::json const& args,
                                              bool global, bool input) {
    auto const refuse = [&](char const* key, std::string_view expected) {
        fail_config(
            source,
            "config_groups: " + std::string(input ? "input_activations." : "weights.") + key,
            expected, member_or_null(args, key));
    };
    nlohmann::json const& strategy = member_or_null(args, "strategy");
    if (!json_equals(strategy, global ? "tensor_group" : "group") &&
        (global || !strategy.is_null())) {
        refuse("strategy", global ? "tensor_group" : "group");
    }
    nlohmann::json const& symmetric = member_or_null(args, "symmetric");
    if (!symmetric.is_null() && symmetric != true) {
        refuse("symmetric", "true");
    }
    nlohmann::json const& dynamic = member_or_null(args, "dynamic");
    if (!input && !dynamic.is_null() && dynamic != false) {
        refuse("dynamic", "false");
    }
    if (input && !(global ? json_equals(dynamic, "local") : dynamic == true)) {
        refuse("dynamic", global ? "local" : "true");
    }
    // The other orders need an index of groups beside the weight, which these formats have not.
    nlohmann::json const& order = member_or_null(args, "actorder");
    if (!order.is_null() && order != false && !json_equals(order, "weight") &&
        !json_equals(order, "static")) {
        refuse("actorder", "null, weight or static");
    }
    std::string_view const scale = global ? "torch.float8_e4m3fn" : "torch.uint8";
    nlohmann::json const& type = member_or_null(args, "scale_dtype");
    if (!type.is_null() && !json_equals(type, scale)) {
        refuse("scale_dtype", scale);
    }
}

/// One of config_groups, by its own format or the one at the top.
inline stored_scheme read_compressed_tensors_group(checkpoint const& source,
                                                   nlohmann::json const& group,
                                                   nlohmann::json const& top_format) {
    if (!member_or_null(group, "weights").is_object()) {
        fail_config(source, "config_groups", "a group with weights", group);
    }
    nlohmann::json const& own = member_or_null(group, "format");
    nlohmann::json const& name = own.is_null() ? top_format : own;
    compressed_tensors_format const* row = nullptr;
    for (compressed_tensors_format const& known : compressed_tensors_formats) {
        row = json_equals(name, known.name) ? &known : row;
    }
    if (row == nullptr) {
        fail_config(source, "format",
                    "nvfp4- or mxfp4-pack-quantized, mxfp6-pack-quantized or mxfp8-quantized",
                    name);
    }
    stored_scheme s;
    s.format = row->format;
    s.code_suffix = row->code_suffix;
    s.code_type = row->code_type;
    nlohmann::json const& inputs = member_or_null(group, "input_activations");
    for (nlohmann::json const* args : {&member_or_null(group, "weights"), &inputs}) {
        if (args == &inputs && args->is_null()) {
            continue;
        }
        quant_format const& want = args == &inputs ? row->input : row->format;
        if (member_or_null(*args, "num_bits") != element_bits(want.element) ||
            member_or_null(*args, "group_size") != want.group ||
            !json_equals(member_or_null(*args, "type"), "float")) {
            fail_config(source, "config_groups",
                        std::to_string(element_bits(want.element)) + "-bit float in groups of " +
                            std::to_string(want.group),
                        *args);
        }
        require_compressed_tensors_manner(source, *args, want.has_global, args == &inputs);
    }
    if (!inputs.is_null()) {
        s.input = quant_args{row->input, scale_rule::minmax, scale_rule::even, true, true};
    }
    if (nlohmann::json const& output = member_or_null(group, "output_activations");
        !output.is_null()) {
        fail_config(source, "config_groups: output_activations", "null", output);
    }
    for (std::string const& target :
         json_strings(source, member_or_null(group, "targets"), "config_groups.targets")) {
        s.targets.emplace_back(target, error_category::input);
    }
    if (s.targets.empty()) {
        fail_config(source, "config_groups.targets", "at least one target",
                    member_or_null(group, "targets"));
    }
    return s;
}

inline stored_layout read_compressed_tensors(checkpoint const& source, nlohmann::json const& q) {
    nlohmann::json const& groups = member_or_null(q, "config_groups");
    if (!groups.is_object() || groups.empty()) {
        fail_config(source, "config_groups", "at least one group", groups);
    }
    nlohmann::json const& transform = member_or_null(q, "transform_config");
    if (!transform.is_null() && !transform.empty()) {
        fail_config(source, "transform_config", "none", transform);
    }
    nlohmann::json const& sparsity = member_or_null(q, "sparsity_config");
    if (!sparsity.is_null() && !sparsity.empty() &&
        !json_equals(member_or_null(sparsity, "format"), "dense")) {
        fail_config(source, "sparsity_config", "none", sparsity);
    }
    stored_layout out;
    for (auto const& [name, group] : groups.items()) {
        out.schemes.push_back(
            read_compressed_tensors_group(source, group, member_or_null(q, "format")));
    }
    for (std::string const& entry : json_strings(source, member_or_null(q, "ignore"), "ignore")) {
        out.ignored.emplace_back(entry, error_category::input);
    }
    return out;
}

}  // namespace fpq::detail
