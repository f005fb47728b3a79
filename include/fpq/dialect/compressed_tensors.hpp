// SPDX-License-Identifier: Apache-2.0
// Floor 6. The compressed-tensors layout: NVFP4, MXFP4, MXFP6 and MXFP8, weights alone or with
// inputs, one scheme or several ("mixed-precision").
//
//   NVFP4   weight_packed U8 (out, in/2); weight_scale F8_E4M3 (out, in/16); weight_global_scale
//   F32
//           [1] and, with inputs, input_global_scale F32 [1], both divisors
//   MXFP4   weight_packed U8 (out, in/2);   weight_scale U8, E8M0 (out, in/32)
//   MXFP6   weight_packed U8 (out, 3 in/4); weight_scale U8, E8M0 (out, in/32)
//   MXFP8   weight F8_E4M3 (out, in);       weight_scale U8, E8M0 (out, in/32)
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/dialect/compressed_tensors_formats.hpp"
#include "fpq/dialect/compressed_tensors_read.hpp"
#include "fpq/dialect/dialect.hpp"
#include "fpq/dialect/stored.hpp"
#include "fpq/io/json/json_member.hpp"

namespace fpq {

namespace detail {

/// MX inputs are rounded by the client, by its own rule.
inline std::optional<refusal> refuse_compressed_tensors_inputs(scheme const& s,
                                                               std::string const& module,
                                                               quant_format const& known) {
    if (!s.input) {
        return std::nullopt;
    }
    if (!(s.input->format == known)) {
        return refusal{module + ": inputs", std::string(format_name(known)),
                       std::string(format_name(s.input->format))};
    }
    if (s.input->rule != scale_rule::minmax) {
        return refusal{module + ": a_observer", "minmax (clients round inputs by it)",
                       name_of(s.input->rule)};
    }
    if (s.input->format.scale == scale_kind::e8m0 && s.input->mx != scale_rule::even) {
        return refusal{module + ": mx_rule", "even (clients round inputs by it)",
                       name_of(s.input->mx)};
    }
    return std::nullopt;
}

inline std::optional<refusal> refuse_compressed_tensors(export_plan const& plan,
                                                        export_linear const& linear) {
    scheme const& s = plan.scheme_of(linear);
    if (std::optional<refusal> why = refuse_plain_weight(linear, s)) {
        return why;
    }
    compressed_tensors_format const* const row = find_compressed_tensors(s.weight->format);
    if (row == nullptr) {
        return refusal{linear.module + ": format", "nvfp4, mxfp4, mxfp6 (e2m3) or mxfp8 (e4m3)",
                       std::string(format_name(s.weight->format))};
    }
    if (std::optional<refusal> why = refuse_unrotated_layout(plan, linear, s)) {
        return why;
    }
    if (std::optional<refusal> why =
            refuse_width(linear, s.weight->format.group, "the group size")) {
        return why;
    }
    return refuse_compressed_tensors_inputs(s, linear.module, row->input);
}

inline std::vector<tensor_plan> compressed_tensors_tensors(export_plan const& plan,
                                                           export_linear const& linear) {
    scheme const& s = plan.scheme_of(linear);
    compressed_tensors_format const& row = *find_compressed_tensors(s.weight->format);
    std::uint64_t const out = linear.out;
    std::vector<tensor_plan> tensors;
    tensors.push_back({linear.module + std::string(row.code_suffix),
                       row.code_type,
                       {out, row.format.row_bytes(linear.in)},
                       linear.group});
    tensors.push_back({linear.module + ".weight_scale",
                       row.scale_type,
                       {out, row.format.groups(linear.in)},
                       linear.group});
    if (row.format.has_global) {
        tensors.push_back({linear.module + ".weight_global_scale", dtype::f32, {1}, linear.group});
        if (s.input) {
            tensors.push_back(
                {linear.module + ".input_global_scale", dtype::f32, {1}, linear.group});
        }
    }
    return tensors;
}

inline std::vector<tensor_data> write_compressed_tensors(export_plan const& plan,
                                                         export_linear const& linear,
                                                         linear_record const& r) {
    scheme const& s = plan.scheme_of(linear);
    require_sound("compressed-tensors", s, r);
    packed_view const& w = r.weight;
    if (r.forward_matrix != nullptr) {
        fail_record("compressed-tensors", r, "no transform", "a transform matrix");
    }
    if (!w.format.has_global && w.global_scale != 1.0F) {
        fail_record("compressed-tensors", r, "an MX weight global scale of 1",
                    std::to_string(w.global_scale));
    }
    compressed_tensors_format const& row = *find_compressed_tensors(w.format);
    std::vector<tensor_data> out;
    out.push_back({r.module + std::string(row.code_suffix),
                   row.code_type,
                   {w.rows, w.format.row_bytes(w.cols)},
                   std::as_bytes(code_bytes(w))});
    out.push_back({r.module + ".weight_scale",
                   row.scale_type,
                   {w.rows, w.format.groups(w.cols)},
                   std::as_bytes(scale_bytes_of(w))});
    if (w.format.has_global) {
        out.push_back(scalar_tensor(r.module + ".weight_global_scale", w.global_scale, {1}));
        if (s.input) {
            out.push_back(scalar_tensor(r.module + ".input_global_scale", r.act_global_scale, {1}));
        }
    }
    return out;
}

/// One QuantizationArgs object; readers forbid unknown keys, so every key here is theirs.
inline nlohmann::json compressed_tensors_args(quant_args const& a, bool input, bool omit_dtypes) {
    bool const nv = a.format.has_global;
    nlohmann::json args = {{"num_bits", element_bits(a.format.element)},
                           {"type", "float"},
                           {"strategy", nv ? "tensor_group" : "group"},
                           {"group_size", a.format.group},
                           {"symmetric", true},
                           {"dynamic", false},
                           {"actorder", nullptr},
                           {"block_structure", nullptr},
                           {"observer", input && nv ? "static_minmax" : "memoryless_minmax"},
                           {"observer_kwargs", nlohmann::json::object()}};
    if (input && nv) {
        args["dynamic"] = "local";
    } else if (input) {
        args["dynamic"] = true;
        args["observer"] = nullptr;
    }
    if (!(omit_dtypes && nv)) {
        args["scale_dtype"] = nv ? "torch.float8_e4m3fn" : "torch.uint8";
        args["zp_dtype"] = nullptr;
    }
    return args;
}

/// The quantization_config object. With one scheme the group's target is every Linear that is not
/// ignored; with several, each group lists its modules: clients that fuse q, k, v look for these.
inline nlohmann::json compressed_tensors_config(export_plan const& plan) {
    nlohmann::json groups = nlohmann::json::object();
    std::string top;
    for (std::size_t i = 0; i < plan.schemes.size(); ++i) {
        scheme const& s = plan.schemes[i];
        nlohmann::json targets = nlohmann::json::array();
        for (export_linear const& linear : plan.linears) {
            if (linear.how == i && plan.schemes.size() > 1) {
                targets.push_back(linear.module);
            }
        }
        if (plan.schemes.size() == 1) {
            targets.push_back("Linear");
        }
        std::string const format(find_compressed_tensors(s.weight->format)->name);
        top = top.empty() || top == format ? format : "mixed-precision";
        nlohmann::json group = {
            {"targets", targets},
            {"format", format},
            {"output_activations", nullptr},
            {"weights", compressed_tensors_args(*s.weight, false, plan.omit_scale_dtype)},
            {"input_activations", nullptr}};
        if (s.input) {
            group["input_activations"] =
                compressed_tensors_args(*s.input, true, plan.omit_scale_dtype);
        }
        groups["group_" + std::to_string(i)] = std::move(group);
    }
    return {{"quant_method", "compressed-tensors"},
            {"version", "0.13.0"},
            {"format", top},
            {"quantization_status", "compressed"},
            {"global_compression_ratio", nullptr},
            {"kv_cache_scheme", nullptr},
            {"sparsity_config", nlohmann::json::object()},
            {"transform_config", nlohmann::json::object()},
            {"ignore", plan.unquantized},
            {"config_groups", groups}};
}

inline std::vector<named_json> compressed_tensors_files(export_plan const& plan,
                                                        nlohmann::json const& config) {
    nlohmann::json out = config;
    out["quantization_config"] = compressed_tensors_config(plan);
    return {{"config.json", std::move(out)}};
}

inline stored_linear read_compressed_tensors_linear(checkpoint const& source,
                                                    stored_scheme const& how,
                                                    std::string const& module) {
    stored_linear out;
    out.input = how.input;
    bool const global = how.format.has_global;
    view_packed(source, how, module + std::string(how.code_suffix), module + ".weight_scale",
                find_compressed_tensors(how.format)->scale_type, out);
    if (global) {
        out.weight.global_scale = read_global(source, module + ".weight_global_scale");
        if (out.input) {
            out.act_global_scale = read_global(source, module + ".input_global_scale");
        }
    }
    return out;
}

inline bool is_compressed_tensors(nlohmann::json const& q) {
    return json_equals(member_or_null(q, "quant_method"), "compressed-tensors");
}

/// Keys beside the groups: some clients read the format at the top, some that of the group, and
/// weights of another status are taken for plain ones.
inline void verify_compressed_tensors(checkpoint const& source,
                                      std::vector<std::string>& findings) {
    nlohmann::json const& q = member_or_null(source.config(), "quantization_config");
    nlohmann::json const& top = member_or_null(q, "format");
    for (auto const& [name, group] : member_or_null(q, "config_groups").items()) {
        nlohmann::json const& own = member_or_null(group, "format");
        if (!own.is_null() && !top.is_null() && own != top &&
            !json_equals(top, "mixed-precision")) {
            findings.push_back("quantization_config: format: expected " + printable(own.dump()) +
                               " as in " + printable(name) + ", found " + printable(top.dump()));
        }
    }
    nlohmann::json const& status = member_or_null(q, "quantization_status");
    if (!status.is_null() && !json_equals(status, "compressed")) {
        findings.push_back("quantization_config: quantization_status: expected compressed, found " +
                           printable(status.dump()));
    }
    if (nlohmann::json const& cache = member_or_null(q, "kv_cache_scheme"); !cache.is_null()) {
        bool const scales =
            std::any_of(source.names().begin(), source.names().end(),
                        [](std::string const& name) { return name.ends_with(".k_scale"); });
        findings.emplace_back(scales ? "warning: quantization_config: kv_cache_scheme: clients "
                                       "quantize keys and values, which fpq does not evaluate"
                                     : "quantization_config: kv_cache_scheme: expected scales of "
                                       "keys and values (k_scale), found none");
    }
}

inline constexpr std::array<std::string_view, 5> compressed_tensors_parts{
    ".weight_packed", ".weight", ".weight_scale", ".weight_global_scale", ".input_global_scale"};

}  // namespace detail

inline constexpr dialect compressed_tensors{"compressed-tensors",
                                            &detail::refuse_compressed_tensors,
                                            &detail::compressed_tensors_tensors,
                                            &detail::write_compressed_tensors,
                                            &detail::compressed_tensors_files,
                                            &detail::is_compressed_tensors,
                                            &detail::read_compressed_tensors,
                                            &detail::read_compressed_tensors_linear,
                                            &detail::verify_compressed_tensors,
                                            detail::compressed_tensors_parts};

}  // namespace fpq
