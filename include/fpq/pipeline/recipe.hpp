// SPDX-License-Identifier: Apache-2.0
// Floor 8. Every choice a user makes, as one struct with defaults, the checks between the choices,
// and the formats that follow from them. It knows no flag spelling: tools/quantize/options.hpp
// binds flags to these fields.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/dialect/dialect.hpp"
#include "fpq/format/block.hpp"
#include "fpq/quant/observer.hpp"
#include "fpq/solve/gptq.hpp"
#include "fpq/transform/transform.hpp"

namespace fpq {

/// The families of the command line: --format int, fp, nvfp, mxfp.
enum class format_family : std::uint8_t { integer, fp, nvfp, mxfp };

enum class export_kind : std::uint8_t { none, realquant, pseudoquant };

/// What fpq-quantize was asked to do. Bits of 16 mean "not quantized".
struct recipe {
    std::filesystem::path model;
    std::string dataset;  // a path, or "self"; empty: no calibration
    std::size_t sequence_length = 2048;
    std::size_t num_sequences = 1024;
    std::uint64_t seed = 42;

    format_family family = format_family::integer;
    int w_bits = 4;
    int a_bits = 16;
    std::string element = "auto";             // of mxfp6 and mxfp8: auto, e2m3, e3m2, e4m3, e5m2
    std::optional<std::size_t> w_group_size;  // unset: the whole row
    std::optional<std::size_t> a_group_size;
    granularity w_grain = granularity::group;
    granularity a_grain = granularity::group;
    scale_kind scale_precision = scale_kind::fp16;
    bool symmetric = true;
    scale_rule w_observer = scale_rule::minmax;
    scale_rule a_observer = scale_rule::minmax;

    bool gptq = false;
    quant_order order = quant_order::natural;
    double rel_damp = 0.01;
    int polish = 0;

    transform_kind transform = transform_kind::identity;
    std::size_t transform_block = 128;

    bool pow2_global_scale = true;

    export_kind exported = export_kind::none;
    dialect layout = dialect::fp_quant;
    std::filesystem::path save_path;
    std::uint64_t max_shard_size = std::uint64_t{5} * 1024 * 1024 * 1024;

    bool eval_perplexity = false;
    std::vector<std::filesystem::path> eval_data;  // empty: the calibration text
    std::size_t eval_characters = 0;               // of each text; 0: all
    std::size_t eval_windows = 0;                  // of each text; 0: all
    bool eval_bos = true;                          // special tokens as the tokenizer adds them
    int threads = 1;

    [[nodiscard]] bool quantizes_weights() const { return w_bits < 16; }
    [[nodiscard]] bool quantizes_inputs() const { return a_bits < 16; }
};

inline std::string family_name(format_family family) {
    switch (family) {
        case format_family::integer:
            return "int";
        case format_family::fp:
            return "fp";
        case format_family::nvfp:
            return "nvfp";
        case format_family::mxfp:
            break;
    }
    return "mxfp";
}

inline std::string observer_name(scale_rule kind) {
    return kind == scale_rule::minmax ? "minmax" : kind == scale_rule::mse ? "mse" : "sweep";
}

namespace detail {

inline element_kind float_element(recipe const& r, int bits) {
    if (bits == 4) {
        return element_kind::e2m1;
    }
    if (bits == 6) {
        return r.element == "e3m2" ? element_kind::e3m2 : element_kind::e2m3;
    }
    if (bits == 8) {
        return r.element == "e5m2" ? element_kind::e5m2 : element_kind::e4m3;
    }
    fail_usage("bits", family_name(r.family), "4, 6 or 8", std::to_string(bits));
}

inline quant_format operand_format(recipe const& r, int bits, granularity grain,
                                   std::optional<std::size_t> group) {
    if (r.family == format_family::nvfp) {
        return nvfp4;
    }
    if (r.family == format_family::mxfp) {
        quant_format format = mxfp4;
        format.element = float_element(r, bits);
        return format;
    }
    bool const whole = grain == granularity::group && !group;
    granularity const actual = whole ? granularity::channel : grain;
    if (r.family == format_family::integer) {
        return int_format(bits, group.value_or(0), r.symmetric, actual);
    }
    quant_format format = fp4(group.value_or(0), actual);
    format.element = float_element(r, bits);
    return format;
}

}  // namespace detail

/// Of the weights; call only when they are quantized.
inline quant_format weight_format(recipe const& r) {
    return detail::operand_format(r, r.w_bits, r.w_grain, r.w_group_size);
}

/// Of the linears' inputs, quantized row by row while the model runs.
inline quant_format input_format(recipe const& r) {
    return detail::operand_format(r, r.a_bits, r.a_grain, r.a_group_size);
}

/// The MX scale rule of the minmax and mse observers. Without an export, and in FP-Quant's dialect,
/// the reference harness' 4/3 rule (G = 3); compressed-tensors has no global scale for MX, and its
/// clients quantize inputs by the `even` rule.
inline scale_rule recipe_mx_rule(recipe const& r) {
    bool const plain = r.exported != export_kind::none && r.layout != dialect::fp_quant;
    return plain ? scale_rule::even : scale_rule::fp_quant;
}

/// Applies what a family forces (nvfp: groups of 16, e4m3; mxfp: 32, e8m0), then refuses
/// combinations that cannot be done. Returns one line for each value that it changed.
/// Throws fpq::error (usage).
inline std::vector<std::string> settle(recipe& r) {
    std::vector<std::string> notes;
    auto const force_group = [&notes, &r](std::optional<std::size_t>& group, std::size_t value,
                                          char const* what) {
        if (group != value) {
            group = value;
            notes.push_back("changed " + std::string(what) + " group_size to " +
                            std::to_string(value) + " for " + family_name(r.family));
        }
    };
    auto const force_scale = [&notes, &r](scale_kind kind, char const* name) {
        if (r.scale_precision != kind) {
            r.scale_precision = kind;
            notes.push_back("changed scale_precision to " + std::string(name) + " for " +
                            family_name(r.family));
        }
    };
    if (r.family == format_family::nvfp || r.family == format_family::mxfp) {
        bool const nv = r.family == format_family::nvfp;
        force_group(r.w_group_size, nv ? 16 : 32, "weight");
        force_group(r.a_group_size, nv ? 16 : 32, "activation");
        force_scale(nv ? scale_kind::e4m3 : scale_kind::e8m0, nv ? "e4m3" : "e8m0");
        r.w_grain = r.a_grain = granularity::group;
    } else if (r.scale_precision != scale_kind::fp16) {
        fail_usage("scale_precision", family_name(r.family), "fp16",
                   r.scale_precision == scale_kind::e4m3 ? "e4m3" : "e8m0");
    }
    auto const check_bits = [&r](int bits, char const* what) {
        if (bits == 16) {
            return;
        }
        bool const fine = r.family == format_family::integer ? bits >= 2 && bits <= 8
                          : r.family == format_family::nvfp  ? bits == 4
                                                             : bits == 4 || bits == 6 || bits == 8;
        if (!fine) {
            fail_usage(what, family_name(r.family),
                       r.family == format_family::integer ? "2 to 8, or 16"
                       : r.family == format_family::nvfp  ? "4 or 16"
                                                          : "4, 6, 8 or 16",
                       std::to_string(bits));
        }
    };
    check_bits(r.w_bits, "w_bits");
    check_bits(r.a_bits, "a_bits");
    auto const check_group = [](granularity grain, std::optional<std::size_t> group,
                                char const* what) {
        if (grain == granularity::group && group && *group == 0) {
            fail_usage(what, {}, "a positive number", "0");
        }
    };
    check_group(r.w_grain, r.w_group_size, "w_group_size");
    check_group(r.a_grain, r.a_group_size, "a_group_size");
    if (r.sequence_length < 2) {
        fail_usage("sequence_length", {}, "2 or more", std::to_string(r.sequence_length));
    }
    if (r.num_sequences == 0) {
        fail_usage("num_sequences", {}, "1 or more", "0");
    }
    if (!(r.rel_damp >= 0.0) || r.rel_damp > 1.0) {
        fail_usage("rel_damp", {}, "0 to 1", std::to_string(r.rel_damp));
    }
    bool const needs_text = r.gptq || (r.quantizes_inputs() && r.family == format_family::nvfp);
    if (needs_text && r.dataset.empty()) {
        fail_usage("dataset_name_or_path",
                   r.gptq ? "GPTQ needs calibration text"
                          : "nvfp inputs need calibration text for their global scale",
                   "a file, a directory or self", "nothing");
    }
    if (r.exported != export_kind::none) {
        if (r.save_path.empty()) {
            fail_usage("save_path", "export_quantized_model", "a directory", "nothing");
        }
        bool const fp4_family =
            (r.family == format_family::nvfp || r.family == format_family::mxfp) && r.w_bits == 4;
        if (!fp4_family || (r.a_bits != 4 && r.a_bits != 16)) {
            fail_usage("export_quantized_model", {},
                       "nvfp or mxfp with w_bits 4 and a_bits 4 or 16",
                       family_name(r.family) + " w_bits " + std::to_string(r.w_bits) + " a_bits " +
                           std::to_string(r.a_bits));
        }
        if (r.layout != dialect::fp_quant && r.exported == export_kind::pseudoquant) {
            fail_usage("export_format", "pseudoquant", "fp_quant", dialect_name(r.layout));
        }
    }
    return notes;
}

/// For the report and for the config of the output.
inline nlohmann::json to_json(recipe const& r) {
    return {{"format", family_name(r.family)},
            {"w_bits", r.w_bits},
            {"a_bits", r.a_bits},
            {"symmetric", r.symmetric},
            {"w_group_size", r.w_group_size ? nlohmann::json(*r.w_group_size) : nlohmann::json()},
            {"w_observer", observer_name(r.w_observer)},
            {"a_observer", observer_name(r.a_observer)},
            {"solver", r.gptq ? "gptq" : "rtn"},
            {"quantization_order", r.order == quant_order::activation ? "activation" : "default"},
            {"rel_damp", r.rel_damp},
            {"polish", r.polish},
            {"transform_class", transform_name(r.transform)},
            {"transform_block", r.transform_block},
            {"global_scale", r.pow2_global_scale ? "pow2" : "exact"},
            {"dataset", r.dataset},
            {"sequence_length", r.sequence_length},
            {"num_sequences", r.num_sequences},
            {"seed", r.seed}};
}

}  // namespace fpq
