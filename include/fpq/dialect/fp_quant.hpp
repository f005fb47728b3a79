// SPDX-License-Identifier: Apache-2.0
// Floor 6. The FP-Quant layout (Hugging Face quant_method "fp_quant"), realquant and pseudoquant.
// The only one whose clients rotate inputs.
//
//   realquant    qweight U8 (out, in/2), scales U8 (out, in/b): raw E4M3 or E8M0 bytes
//   pseudoquant  dqweight BF16 (out, in): the decoded weight, still rotated
//   both         forward_ and backward_hadamard_matrix BF16 (g, g), weight_ and act_global_scale
//                F32 [1], divisor style
#pragma once

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

#include "fpq/core/half.hpp"
#include "fpq/core/hosted/error.hpp"
#include "fpq/dialect/dialect.hpp"
#include "fpq/dialect/fp_quant_read.hpp"
#include "fpq/dialect/stored.hpp"

namespace fpq {

/// The global scales of MXFP4 in this layout: abs_max stores 2^floor(log2 amax), which is 3 times
/// the step; quest, and weights under a plain E8M0 rule, store the step itself.
inline constexpr float fp_quant_mx_abs_max_global = 3.0F;
inline constexpr float fp_quant_mx_step_global = 1.0F;

namespace detail {

/// The width of the blocks that clients rotate: the transform's, or their default without one.
inline std::size_t fp_quant_block(scheme const& s) noexcept {
    return s.transform.is_identity() ? s.weight->format.group : s.transform.block;
}

inline bool is_quest(scheme const& s) noexcept {
    return s.input && s.input->rule == scale_rule::quest;
}

/// Inputs that stay as they are: no key says so, and clients quantize them whatever the weights
/// were solved for. Empty when inputs are quantized.
inline std::optional<refusal> fp_quant_runs_otherwise(export_linear const& linear,
                                                      scheme const& s) {
    if (s.input) {
        return std::nullopt;
    }
    return refusal{linear.module + ": a_bits",
                   std::string("4 (clients run it as W4A4; ") +
                       (s.transform.is_identity() ? "" : "without --transform_class ") +
                       "compressed-tensors holds W4A16)",
                   "16"};
}

inline std::optional<refusal> refuse_fp_quant_inputs(export_linear const& linear, scheme const& s) {
    if (!s.input) {
        // By a global scale that nothing has measured; MXFP4 needs none.
        return s.weight->format == nvfp4 ? fp_quant_runs_otherwise(linear, s) : std::nullopt;
    }
    bool const mx = s.weight->format == mxfp4;
    if (!(s.input->format == s.weight->format)) {
        return refusal{linear.module + ": inputs", std::string(format_name(s.weight->format)),
                       std::string(format_name(s.input->format))};
    }
    if (s.input->rule != scale_rule::minmax && !(mx && is_quest(s))) {
        return refusal{linear.module + ": a_observer", "minmax (clients round inputs by it)",
                       name_of(s.input->rule)};
    }
    if (mx && !is_quest(s) && s.input->mx != scale_rule::fp_quant) {
        return refusal{linear.module + ": mx_rule", "fp_quant (clients round inputs by it)",
                       name_of(s.input->mx)};
    }
    return std::nullopt;
}

inline std::optional<refusal> refuse_fp_quant(export_plan const& plan,
                                              export_linear const& linear) {
    scheme const& s = plan.scheme_of(linear);
    if (std::optional<refusal> why = refuse_head(linear)) {
        return why;
    }
    if (std::optional<refusal> why = refuse_plain_weight(linear, s)) {
        return why;
    }
    bool const nv = s.weight->format == nvfp4;
    if (!nv && !(s.weight->format == mxfp4)) {
        return refusal{linear.module + ": format", "nvfp4 or mxfp4",
                       std::string(format_name(s.weight->format))};
    }
    if (plan.schemes.size() > 1) {
        return refusal{linear.module + ": rule",
                       "one scheme for all modules (compressed-tensors holds several)",
                       std::to_string(plan.schemes.size()) + " schemes"};
    }
    std::size_t const g = fp_quant_block(s);
    if ((g != 16 || !nv) && g != 32 && g != 64 && g != 128) {
        return refusal{"hadamard_group_size", nv ? "16, 32, 64 or 128" : "32, 64 or 128",
                       std::to_string(g)};
    }
    if (!is_client_transform(s.transform.kind)) {
        return refusal{"transform_class", "identity, hadamard or gsr", name_of(s.transform.kind)};
    }
    if (std::optional<refusal> why =
            refuse_width(linear, s.weight->format.group, "the group size")) {
        return why;
    }
    if (std::optional<refusal> why = refuse_width(linear, g, "hadamard_group_size")) {
        return why;
    }
    return refuse_fp_quant_inputs(linear, s);
}

inline std::vector<tensor_plan> fp_quant_tensors(export_plan const& plan,
                                                 export_linear const& linear) {
    scheme const& s = plan.scheme_of(linear);
    std::uint64_t const g = fp_quant_block(s);
    std::uint64_t const out = linear.out;
    std::string const& module = linear.module;
    std::vector<tensor_plan> tensors;
    if (plan.pseudo) {
        tensors.push_back({module + ".dqweight", dtype::bf16, {out, linear.in}, linear.group});
    } else {
        tensors.push_back({module + ".qweight", dtype::u8, {out, linear.in / 2}, linear.group});
        tensors.push_back({module + ".scales",
                           dtype::u8,
                           {out, linear.in / s.weight->format.group},
                           linear.group});
    }
    tensors.push_back({module + ".forward_hadamard_matrix", dtype::bf16, {g, g}, linear.group});
    tensors.push_back({module + ".backward_hadamard_matrix", dtype::bf16, {g, g}, linear.group});
    tensors.push_back({module + ".weight_global_scale", dtype::f32, {1}, linear.group});
    tensors.push_back({module + ".act_global_scale", dtype::f32, {1}, linear.group});
    return tensors;
}

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

inline void require_fp_quant_record(scheme const& s, linear_record const& r) {
    require_sound("fp_quant", s, r);
    std::size_t const g = fp_quant_block(s);
    if ((r.forward_matrix != nullptr || !s.transform.is_identity()) &&
        (r.forward_matrix == nullptr || r.transform_block != g)) {
        fail_record("fp_quant", r, "a transform matrix of " + std::to_string(g),
                    std::to_string(r.forward_matrix == nullptr ? 0 : r.transform_block));
    }
    float const global = r.weight.global_scale;
    if (s.weight->format == mxfp4 && global != fp_quant_mx_abs_max_global &&
        global != fp_quant_mx_step_global) {
        fail_record("fp_quant", r, "an MXFP4 weight global scale of 3 or 1",
                    std::to_string(global));
    }
}

/// act_global_scale is the record's for NVFP4 with quantized inputs, 1 for NVFP4 without, and what
/// the client's forward_method needs for MXFP4. dqweight is bf16(decode(qweight, scales)).
inline std::vector<tensor_data> write_fp_quant(export_plan const& plan, export_linear const& linear,
                                               linear_record const& r) {
    scheme const& s = plan.scheme_of(linear);
    require_fp_quant_record(s, r);
    packed_view const& w = r.weight;
    std::uint64_t const g = fp_quant_block(s);
    std::vector<tensor_data> out;
    if (plan.pseudo) {
        out.push_back({r.module + ".dqweight", dtype::bf16, {w.rows, w.cols}, decoded_bf16(w)});
    } else {
        out.push_back(
            {r.module + ".qweight", dtype::u8, {w.rows, w.cols / 2}, std::as_bytes(code_bytes(w))});
        out.push_back({r.module + ".scales",
                       dtype::u8,
                       {w.rows, w.cols / w.format.group},
                       std::as_bytes(scale_bytes_of(w))});
    }
    float const* const backward =
        r.backward_matrix != nullptr ? r.backward_matrix : r.forward_matrix;
    out.push_back({r.module + ".forward_hadamard_matrix",
                   dtype::bf16,
                   {g, g},
                   bf16_matrix(r.forward_matrix, g)});
    out.push_back(
        {r.module + ".backward_hadamard_matrix", dtype::bf16, {g, g}, bf16_matrix(backward, g)});
    float const act = s.weight->format == nvfp4 ? (s.input ? r.act_global_scale : 1.0F)
                      : is_quest(s)             ? fp_quant_mx_step_global
                                                : fp_quant_mx_abs_max_global;
    out.push_back(scalar_tensor(r.module + ".weight_global_scale", w.global_scale, {1}));
    out.push_back(scalar_tensor(r.module + ".act_global_scale", act, {1}));
    return out;
}

inline nlohmann::json fp_quant_config(export_plan const& plan) {
    scheme const& s = plan.schemes.front();
    return {{"quant_method", "fp_quant"},
            {"forward_dtype", s.weight->format == nvfp4 ? "nvfp4" : "mxfp4"},
            {"forward_method", is_quest(s) ? "quest" : "abs_max"},
            {"backward_dtype", "bf16"},
            {"hadamard_group_size", fp_quant_block(s)},
            {"modules_to_not_convert", plan.unquantized},
            {"pseudoquantization", plan.pseudo},
            {"store_master_weights", false},
            {"transform_init", name_of(s.transform.kind)}};
}

/// The type becomes bfloat16 (the client takes no other), and W4A16, which the layout cannot say,
/// gets our own key "fpq".
inline std::vector<named_json> fp_quant_files(export_plan const& plan,
                                              nlohmann::json const& config) {
    nlohmann::json out = config;
    out["quantization_config"] = fp_quant_config(plan);
    bool const has_dtype = out.contains("dtype");
    if (has_dtype) {
        out["dtype"] = "bfloat16";
    }
    if (!has_dtype || out.contains("torch_dtype")) {
        out["torch_dtype"] = "bfloat16";
    }
    if (!plan.schemes.front().input) {
        out["fpq"] = {{"activation_bits", 16}};
    }
    return {{"config.json", std::move(out)}};
}

inline constexpr std::array<std::string_view, 7> fp_quant_parts{".qweight",
                                                                ".dqweight",
                                                                ".scales",
                                                                ".forward_hadamard_matrix",
                                                                ".backward_hadamard_matrix",
                                                                ".weight_global_scale",
                                                                ".act_global_scale"};

}  // namespace detail

inline constexpr dialect fp_quant{"fp_quant",
                                  &detail::refuse_fp_quant,
                                  &detail::fp_quant_tensors,
                                  &detail::write_fp_quant,
                                  &detail::fp_quant_files,
                                  &detail::is_fp_quant,
                                  &detail::read_fp_quant,
                                  &detail::read_fp_quant_linear,
                                  &detail::verify_fp_quant,
                                  detail::fp_quant_parts};

}  // namespace fpq
