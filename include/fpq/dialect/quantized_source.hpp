// SPDX-License-Identifier: Apache-2.0
// Floor 6. Reads quantized linears back from a checkpoint of any dialect that we write, without
// copying codes or scales out of the map, and refuses what does not fit together. Which tensors of
// a whole checkpoint are wrong is verify.hpp.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/dialect/dialect.hpp"
#include "fpq/format/packed.hpp"
#include "fpq/io/safetensors/checkpoint.hpp"

namespace fpq {

/// How a client of the checkpoint rounds the inputs of its quantized linears.
enum class activation_rule : std::uint8_t {
    none,          // inputs stay as they are (W4A16)
    nvfp4_static,  // groups of 16: E4M3 of amax/6 * G, with the static global scale G
    mx_abs_max,    // groups of 32: 2^floor(log2 amax) stored, decoded with 1/3 (G = 3)
    mx_quest,      // groups of 32: from the deviation of the group, G = 1
    mx_even        // groups of 32: floor(log2 amax) - 2, one more from mantissa 1.75 up, G = 1
};

/// One linear as read. `weight.codes` is null for pseudoquant, whose values are `dense` (out, in).
/// `forward_matrix` (transform_block, transform_block): the client computes x' = x F per block of
/// inputs before it rounds them; empty when the dialect has none.
struct stored_linear {
    packed_view weight;
    float act_global_scale = 1.0F;
    bool quantizes_input = false;
    activation_rule input_rule = activation_rule::none;
    std::vector<float> forward_matrix;
    std::size_t transform_block = 0;
    std::vector<float> dense;
};

namespace detail {

[[noreturn]] inline void fail_config(checkpoint const& source, std::string_view key,
                                     std::string_view expected, nlohmann::json const& found) {
    fail_input("unsupported quantization",
               (source.directory() / "config.json").string() + ": " + std::string(key), expected,
               printable(found.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace)));
}

/// object[key], or null when the key or the object is absent.
inline nlohmann::json const& member_or_null(nlohmann::json const& object, std::string_view key) {
    static nlohmann::json const null;
    if (!object.is_object()) {
        return null;
    }
    auto const found = object.find(std::string(key));
    return found == object.end() ? null : *found;
}

inline bool json_equals(nlohmann::json const& value, std::string_view text) {
    return value.is_string() && value.get_ref<std::string const&>() == text;
}

inline std::vector<std::string> json_strings(checkpoint const& source, nlohmann::json const& list,
                                             std::string_view key) {
    std::vector<std::string> out;
    if (list.is_null()) {
        return out;
    }
    if (!list.is_array()) {
        fail_config(source, key, "a list of module names", list);
    }
    for (nlohmann::json const& item : list) {
        if (!item.is_string()) {
            fail_config(source, key, "a list of module names", item);
        }
        out.push_back(item.get<std::string>());
    }
    return out;
}

/// A tensor of exactly this type and shape. Errors: input, by name.
inline tensor_ref const& typed_tensor(checkpoint const& source, std::string const& name, dtype type,
                                      std::initializer_list<std::uint64_t> shape) {
    tensor_ref const& t = source.at(name);
    if (t.type != type) {
        fail_input("wrong type of tensor", tensor_place(t), dtype_name(type), dtype_name(t.type));
    }
    require_shape(t, std::span<std::uint64_t const>(shape.begin(), shape.size()));
    return t;
}

/// A finite positive float32 scalar, shape [1] or [].
inline float read_global(checkpoint const& source, std::string const& name) {
    tensor_ref const& t = source.at(name);
    if (t.type != dtype::f32 || t.bytes.size() != 4) {
        fail_input("bad global scale", tensor_place(t), "one F32",
                   std::string(dtype_name(t.type)) + " " + fpq::shape_text(t.shape));
    }
    float value = 0;
    std::memcpy(&value, t.bytes.data(), 4);
    if (!std::isfinite(value) || value <= 0.0F) {
        fail_input("bad global scale", tensor_place(t), "a finite positive value",
                   std::to_string(value));
    }
    return value;
}

}  // namespace detail

/// The quantized linears of a checkpoint, which must outlive it. A checkpoint without
/// quantization_config has none. Errors: fpq::error (input) for a dialect or variant that we do not
/// read, by config key; linear() for tensors that are missing, of another type or shape, or hold
/// NaN or negative scales, by file and tensor.
class quantized_source {
public:
    explicit quantized_source(checkpoint const& source) : source_(&source) {
        nlohmann::json const& q = detail::member_or_null(source.config(), "quantization_config");
        if (q.is_null()) {
            return;
        }
        nlohmann::json const& method = detail::member_or_null(q, "quant_method");
        if (detail::json_equals(method, "fp_quant")) {
            read_fp_quant(q);
        } else if (detail::json_equals(method, "compressed-tensors")) {
            read_compressed_tensors(q);
        } else if (detail::json_equals(method, "modelopt")) {
            read_modelopt(q);
        } else {
            detail::fail_config(source, "quantization_config.quant_method",
                                "fp_quant, compressed-tensors or modelopt", method);
        }
        for (std::string const& name : source.names()) {
            std::string_view const suffix = code_suffix();
            if (name.ends_with(suffix) && (kind_ != dialect::modelopt || is_modelopt_code(name))) {
                modules_.push_back(name.substr(0, name.size() - suffix.size()));
            }
        }
    }

    /// Empty when the checkpoint is not quantized.
    [[nodiscard]] std::optional<dialect> kind() const noexcept { return kind_; }
    [[nodiscard]] quant_format const& format() const noexcept { return format_; }
    [[nodiscard]] bool pseudo() const noexcept { return pseudo_; }
    /// What clients do to the inputs of every quantized linear.
    [[nodiscard]] activation_rule input_rule() const noexcept { return input_rule_; }
    /// 0 when the dialect has no matrices.
    [[nodiscard]] std::size_t transform_block() const noexcept { return transform_block_; }
    /// Quantized modules, in the order of their tensors.
    [[nodiscard]] std::vector<std::string> const& modules() const noexcept { return modules_; }
    /// modules_to_not_convert, ignore or their like.
    [[nodiscard]] std::vector<std::string> const& ignored() const noexcept { return ignored_; }

    [[nodiscard]] bool is_quantized(std::string_view module) const {
        if (!kind_) {
            return false;
        }
        std::string const name = std::string(module) + std::string(code_suffix());
        return source_->contains(name) && (kind_ != dialect::modelopt || is_modelopt_code(name));
    }

    /// Errors: see the class; also a module that is not quantized.
    [[nodiscard]] stored_linear linear(std::string_view module) const {
        std::string const name(module);
        if (!is_quantized(module)) {
            fail_input("not a quantized linear", source_->directory().string(),
                       "quantized module '" + detail::printable(module) + "'", "none");
        }
        stored_linear out;
        out.input_rule = input_rule_;
        out.quantizes_input = input_rule_ != activation_rule::none;
        out.weight.format = format_;
        if (kind_ == dialect::fp_quant) {
            read_fp_quant_linear(name, out);
        } else {
            read_plain_linear(name, out);
        }
        return out;
    }

    /// checkpoint::release for the tensors of a module, after its last use.
    void release(std::string_view module) const {
        for (std::string_view const suffix : {".scales", ".weight_scale"}) {
            source_->release(std::string(module) + std::string(suffix));
        }
        source_->release(std::string(module) + std::string(code_suffix()));
    }

private:
    [[nodiscard]] std::string_view code_suffix() const noexcept {
        if (kind_ == dialect::fp_quant) {
            return pseudo_ ? ".dqweight" : ".qweight";
        }
        return kind_ == dialect::modelopt ? ".weight" : ".weight_packed";
    }
    [[nodiscard]] bool is_modelopt_code(std::string const& name) const {
        return source_->at(name).type == dtype::u8;
    }

    void read_fp_quant(nlohmann::json const& q) {
        kind_ = dialect::fp_quant;
        nlohmann::json const& type = detail::member_or_null(q, "forward_dtype");
        nlohmann::json const& method = detail::member_or_null(q, "forward_method");
        bool const nv = detail::json_equals(type, "nvfp4");
        bool const quest = detail::json_equals(method, "quest");
        if (!nv && !detail::json_equals(type, "mxfp4")) {
            detail::fail_config(*source_, "forward_dtype", "nvfp4 or mxfp4", type);
        }
        if (!detail::json_equals(method, "abs_max") && (nv || !quest)) {
            detail::fail_config(*source_, "forward_method", "abs_max (or quest for mxfp4)", method);
        }
        format_ = nv ? nvfp4 : mxfp4;
        input_rule_ = nv      ? activation_rule::nvfp4_static
                      : quest ? activation_rule::mx_quest
                              : activation_rule::mx_abs_max;
        nlohmann::json const& own = detail::member_or_null(
            detail::member_or_null(source_->config(), "fpq"), "activation_bits");
        if (own == 16) {
            input_rule_ = activation_rule::none;
        }
        nlohmann::json const& group = detail::member_or_null(q, "hadamard_group_size");
        transform_block_ = format_.group;
        if (!group.is_null()) {
            if (!group.is_number_unsigned() || group == 0 || group > 4096) {
                detail::fail_config(*source_, "hadamard_group_size", "a block size", group);
            }
            transform_block_ = group.get<std::size_t>();
        }
        nlohmann::json const& pseudo = detail::member_or_null(q, "pseudoquantization");
        pseudo_ = pseudo.is_boolean() && pseudo.get<bool>();
        ignored_ =
            detail::json_strings(*source_, detail::member_or_null(q, "modules_to_not_convert"),
                                 "modules_to_not_convert");
    }

    void read_compressed_tensors(nlohmann::json const& q) {
        kind_ = dialect::compressed_tensors;
        nlohmann::json const& groups = detail::member_or_null(q, "config_groups");
        if (!groups.is_object() || groups.size() != 1) {
            detail::fail_config(*source_, "config_groups", "one group", groups);
        }
        nlohmann::json const& group = groups.begin().value();
        nlohmann::json const& format = detail::member_or_null(q, "format");
        bool const nv = detail::json_equals(format, "nvfp4-pack-quantized");
        if (!nv && !detail::json_equals(format, "mxfp4-pack-quantized")) {
            detail::fail_config(*source_, "format", "nvfp4- or mxfp4-pack-quantized", format);
        }
        format_ = nv ? nvfp4 : mxfp4;
        nlohmann::json const& inputs = detail::member_or_null(group, "input_activations");
        for (nlohmann::json const* args : {&detail::member_or_null(group, "weights"), &inputs}) {
            if (args == &inputs && args->is_null()) {
                continue;
            }
            if (detail::member_or_null(*args, "num_bits") != 4 ||
                detail::member_or_null(*args, "group_size") != format_.group ||
                !detail::json_equals(detail::member_or_null(*args, "type"), "float")) {
                detail::fail_config(*source_, "config_groups",
                                    "4-bit float in groups of " + std::to_string(format_.group),
                                    *args);
            }
        }
        nlohmann::json const& transform = detail::member_or_null(q, "transform_config");
        if (!transform.is_null() && !transform.empty()) {
            detail::fail_config(*source_, "transform_config", "none", transform);
        }
        if (!inputs.is_null()) {
            input_rule_ = nv ? activation_rule::nvfp4_static : activation_rule::mx_even;
        }
        ignored_ = detail::json_strings(*source_, detail::member_or_null(q, "ignore"), "ignore");
    }

    void read_modelopt(nlohmann::json const& q) {
        kind_ = dialect::modelopt;
        nlohmann::json const& algorithm = detail::member_or_null(q, "quant_algo");
        bool const a4 = detail::json_equals(algorithm, "NVFP4");
        if (!a4 && !detail::json_equals(algorithm, "W4A16_NVFP4")) {
            detail::fail_config(*source_, "quant_algo", "NVFP4 or W4A16_NVFP4", algorithm);
        }
        format_ = nvfp4;
        input_rule_ = a4 ? activation_rule::nvfp4_static : activation_rule::none;
        ignored_ = detail::json_strings(*source_, detail::member_or_null(q, "ignore"), "ignore");
    }

    /// Codes U8 (out, in/2) and scales (out, in/group), by name; both stay in the map.
    void view_packed(std::string const& codes_name, std::string const& scales_name,
                     dtype scale_type, stored_linear& out) const {
        tensor_ref const& codes = source_->at(codes_name);
        std::uint64_t const step = format_.group / 2;  // code bytes a scale
        if (codes.type != dtype::u8 || codes.shape.size() != 2 || codes.shape[1] % step != 0 ||
            codes.bytes.empty()) {
            fail_input("bad codes", tensor_place(codes),
                       "U8 (out, in/2), in a multiple of " + std::to_string(format_.group),
                       std::string(dtype_name(codes.type)) + " " + shape_text(codes.shape));
        }
        tensor_ref const& scales = detail::typed_tensor(*source_, scales_name, scale_type,
                                                        {codes.shape[0], codes.shape[1] / step});
        std::span<std::uint8_t const> const bytes(
            reinterpret_cast<std::uint8_t const*>(scales.bytes.data()), scales.bytes.size());
        if (std::optional<std::size_t> const at = detail::first_bad_scale(format_.scale, bytes)) {
            fail_input("bad block scale", tensor_place(scales) + ": byte " + std::to_string(*at),
                       "a finite positive scale", std::to_string(bytes[*at]));
        }
        out.weight.rows = codes.shape[0];
        out.weight.cols = codes.shape[1] * 2;
        out.weight.codes = reinterpret_cast<std::uint8_t const*>(codes.bytes.data());
        out.weight.scales = bytes.data();
    }

    void read_fp_quant_linear(std::string const& module, stored_linear& out) const {
        out.weight.global_scale = detail::read_global(*source_, module + ".weight_global_scale");
        out.act_global_scale = detail::read_global(*source_, module + ".act_global_scale");
        if (pseudo_) {
            tensor_ref const& dense = source_->at(module + ".dqweight");
            if (dense.shape.size() != 2) {
                fail_input("bad dqweight", tensor_place(dense), "(out, in)",
                           shape_text(dense.shape));
            }
            out.dense = load_floats(dense);
            out.weight.rows = dense.shape[0];
            out.weight.cols = dense.shape[1];
        } else {
            view_packed(module + ".qweight", module + ".scales", dtype::u8, out);
        }
        tensor_ref const& matrix = source_->at(module + ".forward_hadamard_matrix");
        require_shape(matrix, std::vector<std::uint64_t>{transform_block_, transform_block_});
        if (out.weight.cols % transform_block_ != 0) {
            fail_input("hadamard_group_size does not fit", tensor_place(matrix),
                       "a divisor of " + std::to_string(out.weight.cols),
                       std::to_string(transform_block_));
        }
        out.forward_matrix = load_floats(matrix);
        out.transform_block = transform_block_;
    }

    void read_plain_linear(std::string const& module, stored_linear& out) const {
        bool const ct = kind_ == dialect::compressed_tensors;
        bool const nv = detail::is_nvfp4(format_);
        view_packed(module + std::string(code_suffix()), module + ".weight_scale",
                    nv ? dtype::f8_e4m3 : dtype::u8, out);
        if (!nv) {
            return;
        }
        float const weight = detail::read_global(
            *source_, module + (ct ? ".weight_global_scale" : ".weight_scale_2"));
        out.weight.global_scale = ct ? weight : 1.0F / weight;
        if (out.quantizes_input) {
            float const input = detail::read_global(
                *source_, module + (ct ? ".input_global_scale" : ".input_scale"));
            out.act_global_scale = ct ? input : 1.0F / input;
        }
    }

    checkpoint const* source_;
    std::optional<dialect> kind_;
    quant_format format_ = nvfp4;
    bool pseudo_ = false;
    activation_rule input_rule_ = activation_rule::none;
    std::size_t transform_block_ = 0;
    std::vector<std::string> modules_;
    std::vector<std::string> ignored_;
};

}  // namespace fpq
