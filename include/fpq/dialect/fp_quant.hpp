// SPDX-License-Identifier: Apache-2.0
// Floor 6. The FP-Quant dialect (Hugging Face quant_method "fp_quant"), realquant and pseudoquant:
// tensors, their plan and quantization_config. Reading back is quantized_source.hpp.
//
//   realquant    qweight U8 (out, in/2), scales U8 (out, in/b): raw E4M3 or E8M0 bytes
//   pseudoquant  dqweight BF16 (out, in): the decoded weight, still rotated
//   both         forward_ and backward_hadamard_matrix BF16 (g, g), weight_ and act_global_scale
//                F32 [1], divisor style
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fpq/core/half.hpp"
#include "fpq/dialect/dialect.hpp"

namespace fpq {

/// The global scales of MXFP4 in this dialect: abs_max stores 2^floor(log2 amax), which is 3 times
/// the step; quest stores the step itself.
inline constexpr float fp_quant_mx_abs_max_global = 3.0F;
inline constexpr float fp_quant_mx_quest_global = 1.0F;

/// The activation global scale that clients of this dialect need for MXFP4.
inline float fp_quant_mx_act_global(std::string_view forward_method) noexcept {
    return forward_method == "quest" ? fp_quant_mx_quest_global : fp_quant_mx_abs_max_global;
}

/// hadamard_group_size as it will be written: the client's default (16 for NVFP4, 32 for MXFP4)
/// when the facts say 0.
inline std::size_t fp_quant_group(export_facts const& facts) noexcept {
    return facts.hadamard_group != 0 ? facts.hadamard_group : facts.format.group;
}

/// Errors: fpq::error (usage) when no client could load an export with these facts.
inline void check_fp_quant(export_facts const& facts) {
    constexpr dialect d = dialect::fp_quant;
    detail::require_fp4(d, facts.format, true);
    bool const nv = detail::is_nvfp4(facts.format);
    std::size_t const g = fp_quant_group(facts);
    if ((g != 16 || !nv) && g != 32 && g != 64 && g != 128) {
        detail::refuse_export(d, "hadamard_group_size", nv ? "16, 32, 64 or 128" : "32, 64 or 128",
                              std::to_string(g));
    }
    if (facts.transform != "identity" && facts.transform != "hadamard" &&
        facts.transform != "gsr") {
        detail::refuse_export(d, "transform_class", "identity, hadamard or gsr", facts.transform);
    }
    if (facts.forward_method != "abs_max" && (nv || facts.forward_method != "quest")) {
        detail::refuse_export(d, "forward_method", nv ? "abs_max" : "abs_max or quest",
                              facts.forward_method);
    }
}

/// The same for one module's shape.
inline void check_fp_quant_linear(std::string_view module, std::size_t in,
                                  export_facts const& facts) {
    check_fp_quant(facts);
    detail::require_multiple(dialect::fp_quant, module, in, facts.format.group, "the group size");
    detail::require_multiple(dialect::fp_quant, module, in, fp_quant_group(facts),
                             "hadamard_group_size");
}

/// The tensors of one linear (bias not included), w (out, in). `group` keeps them in one shard.
inline std::vector<tensor_plan> fp_quant_plan(std::string const& module, std::size_t out,
                                              std::size_t in, export_facts const& facts,
                                              std::string const& group) {
    check_fp_quant_linear(module, in, facts);
    std::uint64_t const g = fp_quant_group(facts);
    std::vector<tensor_plan> plan;
    if (facts.pseudo) {
        plan.push_back({module + ".dqweight", dtype::bf16, {out, in}, group});
    } else {
        plan.push_back({module + ".qweight", dtype::u8, {out, in / 2}, group});
        plan.push_back({module + ".scales", dtype::u8, {out, in / facts.format.group}, group});
    }
    plan.push_back({module + ".forward_hadamard_matrix", dtype::bf16, {g, g}, group});
    plan.push_back({module + ".backward_hadamard_matrix", dtype::bf16, {g, g}, group});
    plan.push_back({module + ".weight_global_scale", dtype::f32, {1}, group});
    plan.push_back({module + ".act_global_scale", dtype::f32, {1}, group});
    return plan;
}

namespace detail {

/// A (g, g) matrix as BF16, rounded to nearest even; the identity when `matrix` is null.
inline std::vector<std::byte> bf16_matrix(float const* matrix, std::size_t g) {
    std::vector<bf16> values(g * g);
    for (std::size_t i = 0; i < g * g; ++i) {
        values[i] = to_bf16(matrix != nullptr ? matrix[i] : (i / g == i % g ? 1.0F : 0.0F));
    }
    return to_bytes(std::span<bf16 const>(values));
}

/// bf16(decode), row-major.
inline std::vector<std::byte> decoded_bf16(packed_view const& w) {
    std::vector<bf16> values(w.rows * w.cols);
    std::size_t const b = w.format.group;
    for (std::size_t r = 0; r < w.rows; ++r) {
        std::uint8_t const* const codes = w.codes + r * w.format.row_bytes(w.cols);
        for (std::size_t c = 0; c < w.cols; ++c) {
            float const step = w.step(r, c / b);
            values[r * w.cols + c] = to_bf16(e2m1::decode(packed_code(4, codes, c)) * step);
        }
    }
    return to_bytes(std::span<bf16 const>(values));
}

inline void check_fp_quant_record(linear_record const& r, export_facts const& facts) {
    constexpr dialect d = dialect::fp_quant;
    check_fp_quant_linear(r.module, r.weight.cols, facts);
    if (!(r.weight.format == facts.format)) {
        refuse_export(d, r.module, "the format of the export", "another");
    }
    std::size_t const g = fp_quant_group(facts);
    if ((r.forward_matrix != nullptr || facts.transform != "identity") &&
        (r.forward_matrix == nullptr || r.transform_block != g)) {
        refuse_export(d, r.module, "a transform matrix of " + std::to_string(g),
                      std::to_string(r.forward_matrix == nullptr ? 0 : r.transform_block));
    }
    require_sound(r);
    if (is_mxfp4(facts.format)) {
        float const global = r.weight.global_scale;
        if (global != fp_quant_mx_abs_max_global && global != fp_quant_mx_quest_global) {
            refuse_export(d, r.module, "an MXFP4 weight global scale of 3 or 1",
                          std::to_string(global));
        }
    }
}

}  // namespace detail

/// The tensors of fp_quant_plan, filled. act_global_scale is the record's for NVFP4 with quantized
/// activations, 1 for NVFP4 without, and what the client's forward_method needs for MXFP4.
/// Numeric contract: dqweight is bf16(decode(qweight, scales)), rounded to nearest even.
inline std::vector<tensor_data> fp_quant_tensors(linear_record const& r,
                                                 export_facts const& facts) {
    detail::check_fp_quant_record(r, facts);
    packed_view const& w = r.weight;
    std::uint64_t const g = fp_quant_group(facts);
    std::vector<tensor_data> out;
    if (facts.pseudo) {
        out.push_back(
            {r.module + ".dqweight", dtype::bf16, {w.rows, w.cols}, detail::decoded_bf16(w)});
    } else {
        out.push_back({r.module + ".qweight",
                       dtype::u8,
                       {w.rows, w.cols / 2},
                       std::as_bytes(detail::code_bytes(w))});
        out.push_back({r.module + ".scales",
                       dtype::u8,
                       {w.rows, w.cols / w.format.group},
                       std::as_bytes(detail::scale_bytes_of(w))});
    }
    float const* const backward =
        r.backward_matrix != nullptr ? r.backward_matrix : r.forward_matrix;
    out.push_back({r.module + ".forward_hadamard_matrix",
                   dtype::bf16,
                   {g, g},
                   detail::bf16_matrix(r.forward_matrix, g)});
    out.push_back({r.module + ".backward_hadamard_matrix",
                   dtype::bf16,
                   {g, g},
                   detail::bf16_matrix(backward, g)});
    bool const nv = detail::is_nvfp4(facts.format);
    float const act = nv ? (facts.activations && r.has_act ? r.act_global_scale : 1.0F)
                         : fp_quant_mx_act_global(facts.forward_method);
    out.push_back(detail::scalar_tensor(r.module + ".weight_global_scale", w.global_scale, {1}));
    out.push_back(detail::scalar_tensor(r.module + ".act_global_scale", act, {1}));
    return out;
}

/// The quantization_config object.
inline nlohmann::json fp_quant_config(export_facts const& facts) {
    check_fp_quant(facts);
    return {{"quant_method", "fp_quant"},
            {"forward_dtype", detail::is_nvfp4(facts.format) ? "nvfp4" : "mxfp4"},
            {"forward_method", facts.forward_method},
            {"backward_dtype", "bf16"},
            {"hadamard_group_size", fp_quant_group(facts)},
            {"modules_to_not_convert", facts.unquantized_modules},
            {"pseudoquantization", facts.pseudo},
            {"store_master_weights", false},
            {"transform_init", facts.transform}};
}

}  // namespace fpq
