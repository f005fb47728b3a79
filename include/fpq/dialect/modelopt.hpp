// SPDX-License-Identifier: Apache-2.0
// Floor 6. The ModelOpt NVFP4 dialect (TensorRT-LLM, SGLang, vLLM): tensors, their plan, the flat
// quantization_config and hf_quant_config.json with the same content. MXFP4 has no client there.
//
//   weight U8 (out, in/2); weight_scale F8_E4M3 (out, in/16); weight_scale_2 and, for W4A4,
//   input_scale F32 scalars, multiplier style: the reciprocals of our divisors, exact when those
//   are powers of two
#pragma once

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fpq/dialect/dialect.hpp"

namespace fpq {

/// Errors: fpq::error (usage) when no client could load an export with these facts.
inline void check_modelopt(export_facts const& facts) {
    constexpr dialect d = dialect::modelopt;
    detail::require_fp4(d, facts.format, false);
    if (facts.pseudo) {
        detail::refuse_export(d, "export_quantized_model", "realquant", "pseudoquant");
    }
    if (facts.transform != "identity") {
        detail::refuse_export(d, "transform_class", "identity (no client rotates its inputs)",
                              facts.transform);
    }
}

inline void check_modelopt_linear(std::string_view module, std::size_t in,
                                  export_facts const& facts) {
    check_modelopt(facts);
    detail::require_multiple(dialect::modelopt, module, in, facts.format.group, "the group size");
}

/// The tensors of one linear (bias not included), w (out, in).
inline std::vector<tensor_plan> modelopt_plan(std::string const& module, std::size_t out,
                                              std::size_t in, export_facts const& facts,
                                              std::string const& group) {
    check_modelopt_linear(module, in, facts);
    std::vector<tensor_plan> plan{
        {module + ".weight", dtype::u8, {out, in / 2}, group},
        {module + ".weight_scale", dtype::f8_e4m3, {out, in / facts.format.group}, group},
        {module + ".weight_scale_2", dtype::f32, {}, group}};
    if (facts.activations) {
        plan.push_back({module + ".input_scale", dtype::f32, {}, group});
    }
    return plan;
}

/// The tensors of modelopt_plan, filled. Numeric contract: weight_scale_2 = fl(1 / global_scale).
inline std::vector<tensor_data> modelopt_tensors(linear_record const& r,
                                                 export_facts const& facts) {
    packed_view const& w = r.weight;
    check_modelopt_linear(r.module, w.cols, facts);
    bool const act = facts.activations;
    if (!(w.format == facts.format) || r.forward_matrix != nullptr || (act && !r.has_act)) {
        detail::refuse_export(dialect::modelopt, r.module,
                              "the export's format, no transform, an activation global scale",
                              "another record");
    }
    detail::require_sound(r);
    std::vector<tensor_data> out;
    out.push_back({r.module + ".weight",
                   dtype::u8,
                   {w.rows, w.cols / 2},
                   std::as_bytes(detail::code_bytes(w))});
    out.push_back({r.module + ".weight_scale",
                   dtype::f8_e4m3,
                   {w.rows, w.cols / w.format.group},
                   std::as_bytes(detail::scale_bytes_of(w))});
    out.push_back(detail::scalar_tensor(r.module + ".weight_scale_2", 1.0F / w.global_scale, {}));
    if (act) {
        out.push_back(
            detail::scalar_tensor(r.module + ".input_scale", 1.0F / r.act_global_scale, {}));
    }
    return out;
}

/// The flat quantization_config object of config.json.
inline nlohmann::json modelopt_config(export_facts const& facts) {
    check_modelopt(facts);
    nlohmann::json const args = {
        {"num_bits", 4}, {"type", "float"}, {"group_size", 16}, {"dynamic", false}};
    nlohmann::json group = {{"targets", nlohmann::json::array({"Linear"})}, {"weights", args}};
    if (facts.activations) {
        group["input_activations"] = args;
    }
    return {{"quant_method", "modelopt"},
            {"quant_algo", facts.activations ? "NVFP4" : "W4A16_NVFP4"},
            {"producer", {{"name", "modelopt"}, {"version", "0.37.0"}}},
            {"ignore", facts.unquantized_modules},
            {"config_groups", {{"group_0", group}}}};
}

/// hf_quant_config.json: the same facts for clients that read that file.
inline nlohmann::json modelopt_legacy_config(export_facts const& facts) {
    nlohmann::json const flat = modelopt_config(facts);
    return {{"producer", flat.at("producer")},
            {"quantization",
             {{"quant_algo", flat.at("quant_algo")},
              {"kv_cache_quant_algo", nullptr},
              {"group_size", 16},
              {"exclude_modules", flat.at("ignore")}}}};
}

}  // namespace fpq
