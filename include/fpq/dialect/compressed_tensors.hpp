// SPDX-License-Identifier: Apache-2.0
// Floor 6. The compressed-tensors dialect: nvfp4-pack-quantized and mxfp4-pack-quantized, W4A4 and
// W4A16. Tensors, their plan and quantization_config. Reading back is quantized_source.hpp.
//
//   weight_packed U8 (out, in/2); weight_scale F8_E4M3 (out, in/16) or U8 E8M0 (out, in/32);
//   NVFP4 also weight_global_scale F32 [1] and, for W4A4, input_global_scale F32 [1], both divisors
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

/// "nvfp4-pack-quantized" or "mxfp4-pack-quantized".
inline std::string_view compressed_tensors_format(quant_format const& f) noexcept {
    return detail::is_nvfp4(f) ? "nvfp4-pack-quantized" : "mxfp4-pack-quantized";
}

/// Errors: fpq::error (usage) when no client could load an export with these facts.
inline void check_compressed_tensors(export_facts const& facts) {
    constexpr dialect d = dialect::compressed_tensors;
    detail::require_fp4(d, facts.format, true);
    if (facts.pseudo) {
        detail::refuse_export(d, "export_quantized_model", "realquant", "pseudoquant");
    }
    if (facts.transform != "identity") {
        detail::refuse_export(d, "transform_class", "identity (no client rotates its inputs)",
                              facts.transform);
    }
}

inline void check_compressed_tensors_linear(std::string_view module, std::size_t in,
                                            export_facts const& facts) {
    check_compressed_tensors(facts);
    detail::require_multiple(dialect::compressed_tensors, module, in, facts.format.group,
                             "the group size");
}

/// The tensors of one linear (bias not included), w (out, in). `group` keeps them in one shard.
inline std::vector<tensor_plan> compressed_tensors_plan(std::string const& module, std::size_t out,
                                                        std::size_t in, export_facts const& facts,
                                                        std::string const& group) {
    check_compressed_tensors_linear(module, in, facts);
    bool const nv = detail::is_nvfp4(facts.format);
    std::vector<tensor_plan> plan;
    plan.push_back({module + ".weight_packed", dtype::u8, {out, in / 2}, group});
    plan.push_back({module + ".weight_scale",
                    nv ? dtype::f8_e4m3 : dtype::u8,
                    {out, in / facts.format.group},
                    group});
    if (nv) {
        plan.push_back({module + ".weight_global_scale", dtype::f32, {1}, group});
        if (facts.activations) {
            plan.push_back({module + ".input_global_scale", dtype::f32, {1}, group});
        }
    }
    return plan;
}

/// The tensors of compressed_tensors_plan, filled. Errors: an MXFP4 weight whose global scale is
/// not 1 (this dialect has no place for it), NVFP4 W4A4 without an activation global scale.
inline std::vector<tensor_data> compressed_tensors_tensors(linear_record const& r,
                                                           export_facts const& facts) {
    constexpr dialect d = dialect::compressed_tensors;
    packed_view const& w = r.weight;
    check_compressed_tensors_linear(r.module, w.cols, facts);
    if (!(w.format == facts.format)) {
        detail::refuse_export(d, r.module, "the format of the export", "another");
    }
    if (r.forward_matrix != nullptr) {
        detail::refuse_export(d, r.module, "no transform", "a transform matrix");
    }
    detail::require_sound(r);
    bool const nv = detail::is_nvfp4(facts.format);
    if (!nv && w.global_scale != 1.0F) {
        detail::refuse_export(d, r.module, "an MXFP4 weight global scale of 1",
                              std::to_string(w.global_scale));
    }
    if (nv && facts.activations && !r.has_act) {
        detail::refuse_export(d, r.module, "an activation global scale", "none");
    }
    std::vector<tensor_data> out;
    out.push_back({r.module + ".weight_packed",
                   dtype::u8,
                   {w.rows, w.cols / 2},
                   std::as_bytes(detail::code_bytes(w))});
    out.push_back({r.module + ".weight_scale",
                   nv ? dtype::f8_e4m3 : dtype::u8,
                   {w.rows, w.cols / w.format.group},
                   std::as_bytes(detail::scale_bytes_of(w))});
    if (nv) {
        out.push_back(
            detail::scalar_tensor(r.module + ".weight_global_scale", w.global_scale, {1}));
        if (facts.activations) {
            out.push_back(
                detail::scalar_tensor(r.module + ".input_global_scale", r.act_global_scale, {1}));
        }
    }
    return out;
}

namespace detail {

/// One QuantizationArgs object; readers forbid unknown keys, so every key here is theirs.
inline nlohmann::json compressed_tensors_args(export_facts const& facts, bool input) {
    bool const nv = is_nvfp4(facts.format);
    nlohmann::json args = {{"num_bits", 4},
                           {"type", "float"},
                           {"strategy", nv ? "tensor_group" : "group"},
                           {"group_size", facts.format.group},
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
    if (!(facts.omit_scale_dtype && nv)) {
        args["scale_dtype"] = nv ? "torch.float8_e4m3fn" : "torch.uint8";
        args["zp_dtype"] = nullptr;
    }
    return args;
}

}  // namespace detail

/// The quantization_config object.
inline nlohmann::json compressed_tensors_config(export_facts const& facts) {
    check_compressed_tensors(facts);
    std::string const format(compressed_tensors_format(facts.format));
    nlohmann::json group = {{"targets", nlohmann::json::array({"Linear"})},
                            {"format", format},
                            {"output_activations", nullptr},
                            {"weights", detail::compressed_tensors_args(facts, false)},
                            {"input_activations", nullptr}};
    if (facts.activations) {
        group["input_activations"] = detail::compressed_tensors_args(facts, true);
    }
    return {{"quant_method", "compressed-tensors"},
            {"version", "0.13.0"},
            {"format", format},
            {"quantization_status", "compressed"},
            {"global_compression_ratio", nullptr},
            {"kv_cache_scheme", nullptr},
            {"sparsity_config", nlohmann::json::object()},
            {"transform_config", nlohmann::json::object()},
            {"ignore", facts.unquantized_modules},
            {"config_groups", {{"group_0", group}}}};
}

}  // namespace fpq
