// SPDX-License-Identifier: Apache-2.0
// Floor 6. What a checkpoint layout ("dialect") is: an object that plans, writes, reads and
// verifies, and the one representation that all of them relabel. One header a dialect; registry.hpp
// lists them.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/format/packed.hpp"
#include "fpq/graph/graph.hpp"
#include "fpq/graph/scheme.hpp"
#include "fpq/io/safetensors/checkpoint.hpp"
#include "fpq/io/safetensors/dtype.hpp"
#include "fpq/io/safetensors/shard_plan.hpp"
#include "fpq/io/text/name_pattern.hpp"

namespace fpq {

struct dialect;

/// One linear that an export will hold, w (out, in).
struct export_linear {
    std::string module;
    std::string group;  ///< linears of one group share a shard: those that clients fuse
    std::size_t out = 0;
    std::size_t in = 0;
    std::size_t how = 0;  ///< index into export_plan::schemes
    bool head = false;    ///< it is the output head
};

/// All that a layout needs to know before a byte is solved.
struct export_plan {
    std::vector<scheme> schemes;               ///< distinct
    std::vector<export_linear> linears;        ///< in the order in which they will be written
    std::vector<std::string> unquantized;      ///< modules that clients would convert and must not
    bool pseudo = false;                       ///< fp_quant: dequantized bf16 weights
    bool omit_scale_dtype = false;             ///< compressed-tensors readers before 2025-11
    std::shared_ptr<model_graph const> graph;  ///< for layouts with names of their own

    [[nodiscard]] scheme const& scheme_of(export_linear const& linear) const {
        return schemes[linear.how];
    }
};

/// One quantized linear, as a run hands it to a writer. Nothing is owned.
/// The matrices are (transform_block, transform_block) row-major: a client computes x' = x F per
/// block; null means identity. act_global_scale is divisor style, as packed_view::global_scale, and
/// is read only when the scheme quantizes inputs.
struct linear_record {
    std::string module;
    packed_view weight;
    float act_global_scale = 1.0F;
    float const* forward_matrix = nullptr;
    float const* backward_matrix = nullptr;
    std::size_t transform_block = 0;
};

/// What keeps a layout from holding a linear: the place, and the flag that would make it fit.
struct refusal {
    std::string where;
    std::string expected;
    std::string found;
};

/// A JSON file of an export.
struct named_json {
    std::string name;
    nlohmann::json content;
};

/// How a stored checkpoint treats one kind of its linears.
struct stored_scheme {
    quant_format format = nvfp4;
    std::optional<quant_args> input;  ///< what clients do to inputs; empty: nothing
    bool pseudo = false;              ///< fp_quant: the weight is stored decoded
    std::size_t transform_block = 0;  ///< 0: no matrices
    std::string_view code_suffix;     ///< module + suffix is the tensor of codes
    dtype code_type = dtype::u8;
    std::vector<name_pattern> targets;  ///< modules; empty: all
};

/// Whether a tensor's name ends as those do that stand beside or for the codes of a quantized
/// linear, in any layout.
inline bool is_quantized_part(std::string_view name) noexcept {
    constexpr std::array<std::string_view, 10> parts{
        ".qweight",        ".dqweight",         ".scales",
        ".weight_scale",   ".weight_packed",    ".weight_global_scale",
        ".weight_scale_2", ".act_global_scale", ".input_global_scale",
        ".input_scale"};
    return std::any_of(parts.begin(), parts.end(),
                       [name](std::string_view part) { return name.ends_with(part); });
}

/// What a layout's reader found in config.json.
struct stored_layout {
    std::vector<stored_scheme> schemes;  ///< the first whose targets match counts
    std::vector<name_pattern> ignored;   ///< modules that clients leave as they are
};

/// One linear as read. `weight.codes` is null for pseudoquant, whose values are `dense` (out, in).
/// `forward_matrix` (transform_block, transform_block): the client computes x' = x F per block of
/// inputs before it rounds them; empty when the layout has none.
struct stored_linear {
    packed_view weight;
    std::optional<quant_args> input;
    float act_global_scale = 1.0F;
    std::vector<float> forward_matrix;
    std::size_t transform_block = 0;
    std::vector<float> dense;
};

/// What a layout adds whose tensors all lie in one file of another container, under names of its
/// own. Its block formats are planned as U8 tensors of (rows, bytes of a row).
struct single_file {
    std::string_view name;
    /// Why no client could load the model, apart from its quantized linears; empty when one can.
    std::optional<refusal> (*refuses)(export_plan const&);
    /// Tensors that stand for facts of the config.
    std::vector<tensor_data> (*made)(export_plan const&);
    /// A tensor that is not quantized as the file will have it; `copy` fills it, borrowing the
    /// bytes where they are the same. Throws fpq::error (input) for one that the file has no name
    /// for.
    tensor_plan (*planned)(export_plan const&, tensor_ref const&);
    tensor_data (*copy)(export_plan const&, tensor_ref const&);
    /// The file, of these tensors in this order.
    shard_layout (*lay_out)(export_plan const&, std::vector<tensor_plan> const&, checkpoint const&);
    /// All that is wrong with a written file, as verify_checkpoint says it.
    std::vector<std::string> (*verify)(std::filesystem::path const&);
    /// function(name, bytes) for every tensor of a written file. Throws fpq::error (input).
    void (*for_each_tensor)(
        std::filesystem::path const&,
        std::function<void(std::string const&, std::span<std::byte const>)> const&);
};

/// A checkpoint layout: plan, write, read and verify together. One constexpr object a file, all of
/// them in registry.hpp. A quantized linear is one thing (codes, scale bytes, global scales,
/// transform); a layout names and shapes it, and never changes a rule.
struct dialect {
    std::string_view name;
    /// Why no client could load this linear of the plan; empty when one can.
    std::optional<refusal> (*refuses)(export_plan const&, export_linear const&);
    /// The tensors of a linear that is not refused; its bias is not among them.
    std::vector<tensor_plan> (*tensors)(export_plan const&, export_linear const&);
    /// The same tensors, filled. Codes and scales are borrowed from the record. Throws fpq::error:
    /// usage for a record that is not what was planned, numeric for a scale no reader can take.
    std::vector<tensor_data> (*write)(export_plan const&, export_linear const&,
                                      linear_record const&);
    /// config.json and its like, from the source's config.
    std::vector<named_json> (*files)(export_plan const&, nlohmann::json const& config);
    /// Whether a quantization_config is this layout's.
    bool (*recognizes)(nlohmann::json const& quantization_config);
    /// Throws fpq::error (input) by key for a variant that is not read.
    stored_layout (*read)(checkpoint const&, nlohmann::json const& quantization_config);
    /// One linear of a scheme. Throws fpq::error (input) by tensor.
    stored_linear (*linear)(checkpoint const&, stored_scheme const&, std::string const& module);
    /// Findings about config.json and side files that only this layout's clients care for.
    void (*verify)(checkpoint const&, std::vector<std::string>& findings);
    /// Ends of the names of a quantized linear's tensors; its plain bias is not among them.
    std::span<std::string_view const> parts{};
    /// Null: tensors lie in safetensors files, and those that are not quantized keep their names.
    single_file const* file = nullptr;
};

namespace detail {

template <class T>
std::vector<std::byte> to_bytes(std::span<T const> values) {
    std::span<std::byte const> const raw = std::as_bytes(values);
    return {raw.begin(), raw.end()};
}

inline tensor_data scalar_tensor(std::string name, float value, std::vector<std::uint64_t> shape) {
    return {std::move(name), dtype::f32, std::move(shape),
            to_bytes(std::span<float const>(&value, 1))};
}

/// Refuses a width that is no multiple of `of`.
inline std::optional<refusal> refuse_width(export_linear const& linear, std::size_t of,
                                           std::string_view what) {
    if (of != 0 && linear.in != 0 && linear.in % of == 0) {
        return std::nullopt;
    }
    return refusal{linear.module, std::string(what) + " to divide the input width",
                   std::to_string(linear.in) + " inputs, " + std::to_string(of)};
}

/// Refuses a linear of which only the inputs are quantized: its plain weight says nothing of them.
inline std::optional<refusal> refuse_plain_weight(export_linear const& linear, scheme const& s) {
    if (s.weight) {
        return std::nullopt;
    }
    return refusal{linear.module,
                   "quantized weights (clients do not quantize inputs alone: --a_bits 16, or "
                   "--ignore " +
                       linear.module + ")",
                   "inputs alone (w_bits 16)"};
}

/// Refuses what no layout holds whose clients rotate nothing and know no global scale for MX: the
/// rule fp_quant, pseudo-quantized weights, a transform.
inline std::optional<refusal> refuse_unrotated_layout(export_plan const& plan,
                                                      export_linear const& linear,
                                                      scheme const& s) {
    if (s.weight->format.scale == scale_kind::e8m0 && s.weight->mx == scale_rule::fp_quant) {
        return refusal{linear.module + ": mx_rule",
                       "even, floor, ceil or divisor_7_25 (the layout has no global scale for MX)",
                       "fp_quant"};
    }
    if (plan.pseudo) {
        return refusal{"export_quantized_model", "realquant", "pseudoquant"};
    }
    if (!s.transform.is_identity()) {
        return refusal{linear.module + ": transform_class",
                       "identity (no client rotates its inputs)", name_of(s.transform.kind)};
    }
    return std::nullopt;
}

/// Refuses a head for the layouts whose clients read it as it is.
inline std::optional<refusal> refuse_head(export_linear const& linear) {
    if (!linear.head) {
        return std::nullopt;
    }
    return refusal{linear.module, "an unquantized head (--ignore " + linear.module + ")",
                   "a scheme for it"};
}

/// A record that is not what was planned for its linear.
[[noreturn]] inline void fail_record(std::string_view layout, linear_record const& r,
                                     std::string_view expected, std::string_view found) {
    fail_usage(std::string(layout) + " cannot hold this", r.module, expected, found);
}

/// Scale bytes that no reader can misread: finite, and no sign bit in E4M3.
inline std::optional<std::size_t> first_bad_scale(scale_kind kind,
                                                  std::span<std::uint8_t const> scales) noexcept {
    std::uint8_t const most = kind == scale_kind::e4m3 ? e4m3::max_code : e8m0::max_code;
    auto const bad = std::find_if(scales.begin(), scales.end(),
                                  [most](std::uint8_t byte) { return byte > most; });
    return bad == scales.end() ? std::nullopt
                               : std::optional(static_cast<std::size_t>(bad - scales.begin()));
}

inline void require_global(std::string_view module, std::string_view what, float value) {
    if (!std::isfinite(value) || value <= 0.0F) {
        fail_numeric("bad global scale", module, std::string(what) + " finite and positive",
                     std::to_string(value));
    }
}

/// Checks format, scales and globals of a record before any byte of it is written.
inline void require_sound(std::string_view layout, scheme const& how, linear_record const& r) {
    packed_view const& w = r.weight;
    if (!how.weight || !(w.format == how.weight->format)) {
        fail_record(layout, r, "the planned format", "another");
    }
    std::span<std::uint8_t const> const scales(w.scales, w.format.scale_count(w.rows, w.cols));
    if (std::optional<std::size_t> const at = first_bad_scale(w.format.scale, scales)) {
        fail_numeric("bad block scale", r.module + ": scale " + std::to_string(*at),
                     "a finite positive byte", std::to_string(scales[*at]));
    }
    require_global(r.module, "weight global scale", w.global_scale);
    require_global(r.module, "activation global scale", r.act_global_scale);
}

inline std::span<std::uint8_t const> code_bytes(packed_view const& w) noexcept {
    return {w.codes, w.rows * w.format.row_bytes(w.cols)};
}
inline std::span<std::uint8_t const> scale_bytes_of(packed_view const& w) noexcept {
    return {w.scales, w.format.scale_count(w.rows, w.cols) * w.format.scale_bytes_each()};
}

}  // namespace detail

/// The name of a format as presets and messages use it; "another format" for those without one.
inline std::string_view format_name(quant_format const& f) noexcept {
    struct row {
        quant_format format;
        std::string_view name;
    };
    constexpr std::array<row, 6> rows{{{nvfp4, "nvfp4"},
                                       {mxfp4, "mxfp4"},
                                       {mxfp6_e2m3, "mxfp6"},
                                       {mxfp6_e3m2, "mxfp6_e3m2"},
                                       {mxfp8_e4m3, "mxfp8"},
                                       {mxfp8_e5m2, "mxfp8_e5m2"}}};
    for (row const& r : rows) {
        if (r.format == f) {
            return r.name;
        }
    }
    return "another format";
}

}  // namespace fpq
