// SPDX-License-Identifier: Apache-2.0
// Floor 6. The ModelOpt NVFP4 layout (TensorRT-LLM, SGLang, vLLM): the flat quantization_config,
// and hf_quant_config.json with the same content. MXFP4 has no client there.
//
//   weight U8 (out, in/2); weight_scale F8_E4M3 (out, in/16); weight_scale_2 and, with inputs,
//   input_scale F32 scalars, multiplier style: the reciprocals of our divisors, exact when those
//   are powers of two
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/dialect/dialect.hpp"
#include "fpq/dialect/stored.hpp"
#include "fpq/io/file/look.hpp"
#include "fpq/io/json/json_file.hpp"
#include "fpq/io/json/json_member.hpp"

namespace fpq {

namespace detail {

inline std::optional<refusal> refuse_modelopt(export_plan const& plan,
                                              export_linear const& linear) {
    scheme const& s = plan.scheme_of(linear);
    if (std::optional<refusal> why = refuse_head(linear)) {
        return why;
    }
    if (std::optional<refusal> why = refuse_plain_weight(linear, s)) {
        return why;
    }
    if (!(s.weight->format == nvfp4)) {
        return refusal{linear.module + ": format", "nvfp4",
                       std::string(format_name(s.weight->format))};
    }
    if (plan.schemes.size() > 1) {
        return refusal{linear.module + ": rule",
                       "one scheme for all modules (compressed-tensors holds several)",
                       std::to_string(plan.schemes.size()) + " schemes"};
    }
    if (plan.pseudo) {
        return refusal{"export_quantized_model", "realquant", "pseudoquant"};
    }
    if (!s.transform.is_identity()) {
        return refusal{linear.module + ": transform_class",
                       "identity (no client rotates its inputs)", name_of(s.transform.kind)};
    }
    if (s.input && !(s.input->format == nvfp4)) {
        return refusal{linear.module + ": inputs", "nvfp4",
                       std::string(format_name(s.input->format))};
    }
    if (s.input && s.input->rule != scale_rule::minmax) {
        return refusal{linear.module + ": a_observer", "minmax (clients round inputs by it)",
                       name_of(s.input->rule)};
    }
    return refuse_width(linear, s.weight->format.group, "the group size");
}

inline std::vector<tensor_plan> modelopt_tensors(export_plan const& plan,
                                                 export_linear const& linear) {
    std::string const& module = linear.module;
    std::uint64_t const out = linear.out;
    std::vector<tensor_plan> tensors{
        {module + ".weight", dtype::u8, {out, linear.in / 2}, linear.group},
        {module + ".weight_scale", dtype::f8_e4m3, {out, linear.in / nvfp4.group}, linear.group},
        {module + ".weight_scale_2", dtype::f32, {}, linear.group}};
    if (plan.scheme_of(linear).input) {
        tensors.push_back({module + ".input_scale", dtype::f32, {}, linear.group});
    }
    return tensors;
}

/// weight_scale_2 = fl(1 / global_scale), and input_scale alike.
inline std::vector<tensor_data> write_modelopt(export_plan const& plan, export_linear const& linear,
                                               linear_record const& r) {
    scheme const& s = plan.scheme_of(linear);
    require_sound("modelopt", s, r);
    packed_view const& w = r.weight;
    if (r.forward_matrix != nullptr) {
        fail_record("modelopt", r, "no transform", "a transform matrix");
    }
    std::vector<tensor_data> out;
    out.push_back(
        {r.module + ".weight", dtype::u8, {w.rows, w.cols / 2}, std::as_bytes(code_bytes(w))});
    out.push_back({r.module + ".weight_scale",
                   dtype::f8_e4m3,
                   {w.rows, w.cols / w.format.group},
                   std::as_bytes(scale_bytes_of(w))});
    out.push_back(scalar_tensor(r.module + ".weight_scale_2", 1.0F / w.global_scale, {}));
    if (s.input) {
        out.push_back(scalar_tensor(r.module + ".input_scale", 1.0F / r.act_global_scale, {}));
    }
    return out;
}

inline nlohmann::json modelopt_config(export_plan const& plan) {
    bool const inputs = plan.schemes.front().input.has_value();
    nlohmann::json const args = {
        {"num_bits", 4}, {"type", "float"}, {"group_size", 16}, {"dynamic", false}};
    nlohmann::json group = {{"targets", nlohmann::json::array({"Linear"})}, {"weights", args}};
    if (inputs) {
        group["input_activations"] = args;
    }
    return {{"quant_method", "modelopt"},
            {"quant_algo", inputs ? "NVFP4" : "W4A16_NVFP4"},
            {"producer", {{"name", "modelopt"}, {"version", "0.37.0"}}},
            {"ignore", plan.unquantized},
            {"config_groups", {{"group_0", group}}}};
}

inline std::vector<named_json> modelopt_files(export_plan const& plan,
                                              nlohmann::json const& config) {
    nlohmann::json const flat = modelopt_config(plan);
    nlohmann::json out = config;
    out["quantization_config"] = flat;
    return {{"config.json", std::move(out)},
            {"hf_quant_config.json",
             {{"producer", flat.at("producer")},
              {"quantization",
               {{"quant_algo", flat.at("quant_algo")},
                {"kv_cache_quant_algo", nullptr},
                {"group_size", 16},
                {"exclude_modules", flat.at("ignore")}}}}}};
}

/// hf_quant_config.json as the quantization_config that it stands for.
inline nlohmann::json modelopt_config_aside(nlohmann::json const& file,
                                            std::filesystem::path const& path) {
    nlohmann::json const& q = member_or_null(file, "quantization");
    if (!q.is_object()) {
        fail_input("unsupported quantization", path.string(), "an object quantization",
                   q.type_name());
    }
    nlohmann::json out = {{"quant_method", "modelopt"},
                          {"quant_algo", member_or_null(q, "quant_algo")},
                          {"kv_cache_scheme", member_or_null(q, "kv_cache_quant_algo")},
                          {"ignore", member_or_null(q, "exclude_modules")}};
    if (nlohmann::json const& size = member_or_null(q, "group_size");
        !size.is_null() && size != nvfp4.group) {
        fail_input("unsupported quantization", path.string() + ": group_size",
                   std::to_string(nvfp4.group), printable(size.dump()));
    }
    return out;
}

/// Where config_groups is written it must say 4-bit floats in groups of 16, as quant_algo does.
inline void require_modelopt_groups(checkpoint const& source, nlohmann::json const& q,
                                    bool inputs) {
    nlohmann::json const& groups = member_or_null(q, "config_groups");
    if (groups.is_null()) {
        return;
    }
    if (!groups.is_object() || groups.empty()) {
        fail_config(source, "config_groups", "an object with a group", groups);
    }
    for (auto const& [name, group] : groups.items()) {
        for (char const* const operand : {"weights", "input_activations"}) {
            bool const weights = std::string_view(operand) == "weights";
            std::string const key = "config_groups." + printable(name) + "." + operand;
            nlohmann::json const& args = member_or_null(group, operand);
            if (!weights && !inputs) {
                if (!args.is_null()) {
                    fail_config(source, key, "null (quant_algo is W4A16_NVFP4)", args);
                }
                continue;
            }
            nlohmann::json const& dynamic = member_or_null(args, "dynamic");
            nlohmann::json const& size = member_or_null(args, "group_size");
            nlohmann::json const& type = member_or_null(args, "type");
            if (member_or_null(args, "num_bits") != 4 ||
                !(type.is_null() || json_equals(type, "float")) ||
                !(size.is_null() || size == nvfp4.group) ||
                !(dynamic.is_null() || dynamic == false)) {
                fail_config(source, key, "4-bit float in static groups of 16", args);
            }
        }
    }
}

inline stored_layout read_modelopt(checkpoint const& source, nlohmann::json const& q) {
    nlohmann::json const& algorithm = member_or_null(q, "quant_algo");
    bool const inputs = json_equals(algorithm, "NVFP4");
    if (!inputs && !json_equals(algorithm, "W4A16_NVFP4")) {
        fail_config(source, "quant_algo", "NVFP4 or W4A16_NVFP4", algorithm);
    }
    stored_scheme s;
    s.format = nvfp4;
    s.code_suffix = ".weight";
    if (inputs) {
        s.input = quant_args{nvfp4, scale_rule::minmax, scale_rule::even, true, true};
    }
    require_modelopt_groups(source, q, inputs);
    stored_layout out;
    out.schemes.push_back(std::move(s));
    for (std::string const& entry : json_strings(source, member_or_null(q, "ignore"), "ignore")) {
        out.ignored.push_back(name_pattern::wildcards(entry, error_category::input));
    }
    return out;
}

inline stored_linear read_modelopt_linear(checkpoint const& source, stored_scheme const& how,
                                          std::string const& module) {
    stored_linear out;
    out.input = how.input;
    view_packed(source, how, module + ".weight", module + ".weight_scale", dtype::f8_e4m3, out);
    out.weight.global_scale = 1.0F / read_global(source, module + ".weight_scale_2");
    if (out.input) {
        out.act_global_scale = 1.0F / read_global(source, module + ".input_scale");
    }
    return out;
}

inline bool is_modelopt(nlohmann::json const& q) {
    return json_equals(member_or_null(q, "quant_method"), "modelopt");
}

/// hf_quant_config.json, which some clients prefer, must say what config.json says.
inline void verify_modelopt(checkpoint const& source, std::vector<std::string>& findings) {
    nlohmann::json const& here = member_or_null(source.config(), "quantization_config");
    if (!member_or_null(here, "kv_cache_scheme").is_null()) {
        findings.emplace_back(
            "warning: quantization_config: kv_cache_scheme: clients quantize keys and values, "
            "which fpq does not evaluate");
    }
    std::filesystem::path const path = source.directory() / "hf_quant_config.json";
    if (!is_there(path)) {
        findings.emplace_back(
            "warning: hf_quant_config.json is missing; some modelopt clients read only that");
        return;
    }
    nlohmann::json const file = read_json_file(path);
    nlohmann::json const& there = member_or_null(file, "quantization");
    if (member_or_null(there, "kv_cache_quant_algo").is_null() !=
        member_or_null(here, "kv_cache_scheme").is_null()) {
        findings.emplace_back(
            "hf_quant_config.json: kv_cache_quant_algo: differs from config.json's "
            "kv_cache_scheme");
    }
    auto const same = [&](char const* other, nlohmann::json const& found,
                          nlohmann::json const& expected) {
        if (found != expected) {
            findings.push_back("hf_quant_config.json: " + std::string(other) +
                               ": differs from config.json");
        }
    };
    same("quant_algo", member_or_null(there, "quant_algo"), member_or_null(here, "quant_algo"));
    same("exclude_modules", member_or_null(there, "exclude_modules"),
         member_or_null(here, "ignore"));
    nlohmann::json const& size = member_or_null(there, "group_size");
    if (size != nvfp4.group) {  // clients require it
        findings.push_back("hf_quant_config.json: group_size: expected " +
                           std::to_string(nvfp4.group) + ", found " + printable(size.dump()));
    }
}

inline constexpr std::array<std::string_view, 4> modelopt_parts{".weight", ".weight_scale",
                                                                ".weight_scale_2", ".input_scale"};

}  // namespace detail

inline constexpr dialect modelopt{"modelopt",
                                  &detail::refuse_modelopt,
                                  &detail::modelopt_tensors,
                                  &detail::write_modelopt,
                                  &detail::modelopt_files,
                                  &detail::is_modelopt,
                                  &detail::read_modelopt,
                                  &detail::read_modelopt_linear,
                                  &detail::verify_modelopt,
                                  detail::modelopt_parts};

}  // namespace fpq
