// SPDX-License-Identifier: Apache-2.0
// Floor 6. What every checkpoint dialect shares: the one representation that all of them relabel,
// the facts of an export, and the checks that keep a file from being silently wrong. One header
// per dialect writes the bytes; exporter.hpp chooses among them.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fpq/core/half.hpp"
#include "fpq/core/hosted/error.hpp"
#include "fpq/format/packed.hpp"
#include "fpq/io/safetensors/shard_plan.hpp"

namespace fpq {

enum class dialect : std::uint8_t { fp_quant, compressed_tensors, modelopt };

/// The names of `--export_format`.
inline std::string_view dialect_name(dialect d) noexcept {
    constexpr std::array<std::string_view, 3> names{"fp_quant", "compressed-tensors", "modelopt"};
    return names[static_cast<std::size_t>(d)];
}

/// Empty when no dialect has that name; '_' and '-' are the same.
inline std::optional<dialect> parse_dialect(std::string_view name) {
    std::string text(name);
    std::replace(text.begin(), text.end(), '-', '_');
    for (dialect const d : {dialect::fp_quant, dialect::compressed_tensors, dialect::modelopt}) {
        std::string known(dialect_name(d));
        std::replace(known.begin(), known.end(), '-', '_');
        if (known == text) {
            return d;
        }
    }
    return std::nullopt;
}

/// One quantized linear, as the pipeline hands it to a writer. Nothing is owned.
/// The matrices are (transform_block, transform_block) row-major: a client computes x' = x F per
/// block; null means identity. act_global_scale is divisor style, as packed_view::global_scale.
struct linear_record {
    std::string module;
    packed_view weight;
    float act_global_scale = 1.0F;
    bool has_act = false;
    float const* forward_matrix = nullptr;
    float const* backward_matrix = nullptr;
    std::size_t transform_block = 0;
};

/// What holds for every linear of one export.
struct export_facts {
    quant_format format = nvfp4;
    bool activations = true;  // W4A4; false: W4A16
    bool pseudo = false;      // fp_quant: dequantized bf16 weights
    std::string transform = "identity";
    std::size_t hadamard_group = 0;  // 0: the dialect's default
    std::vector<std::string> unquantized_modules;
    std::string forward_method = "abs_max";  // fp_quant, MXFP4 activations: abs_max or quest
    bool omit_scale_dtype = false;           // compressed-tensors readers before 2025-11
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

[[noreturn]] inline void refuse_export(dialect d, std::string_view where, std::string_view expected,
                                       std::string_view found) {
    fail_usage(std::string(dialect_name(d)) + " cannot hold this", where, expected, found);
}

inline bool is_nvfp4(quant_format const& f) noexcept { return f == nvfp4; }
inline bool is_mxfp4(quant_format const& f) noexcept { return f == mxfp4; }

/// The 4-bit layouts that all three dialects are about.
inline void require_fp4(dialect d, quant_format const& f, bool mx_allowed) {
    if (!is_nvfp4(f) && !(mx_allowed && is_mxfp4(f))) {
        refuse_export(d, "format", mx_allowed ? "nvfp4 or mxfp4" : "nvfp4",
                      "another element, scale or group size");
    }
}

inline void require_multiple(dialect d, std::string_view module, std::size_t in, std::size_t of,
                             std::string_view what) {
    if (of == 0 || in == 0 || in % of != 0) {
        refuse_export(d, module, std::string(what) + " to divide the input width",
                      std::to_string(in) + " inputs, " + std::to_string(of));
    }
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

/// Checks scales and globals of a record before any byte of it is written.
inline void require_sound(linear_record const& r) {
    packed_view const& w = r.weight;
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

/// The modules that clients would convert but that hold plain weights in `plan`: two-dimensional
/// `.weight` tensors other than embeddings, in order of the plan, and lm_head always (it is a
/// Linear in every client even when it is tied and has no tensor). Derived from what is written.
inline std::vector<std::string> unquantized_linears(std::span<tensor_plan const> plan) {
    std::vector<std::string> out;
    bool head = false;
    for (tensor_plan const& t : plan) {
        bool const plain = t.type == dtype::bf16 || t.type == dtype::f16 || t.type == dtype::f32;
        if (!plain || t.shape.size() != 2 || !t.name.ends_with(".weight")) {
            continue;
        }
        std::string const module = t.name.substr(0, t.name.size() - 7);
        if (!module.ends_with("embed_tokens")) {
            out.push_back(module);
            head = head || module == "lm_head";
        }
    }
    if (!head) {
        out.emplace_back("lm_head");
    }
    return out;
}

}  // namespace fpq
