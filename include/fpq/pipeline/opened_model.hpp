// SPDX-License-Identifier: Apache-2.0
// Floor 8. A checkpoint directory as a model that can run layer by layer, whether its linears are
// dense or quantized in any dialect that fpq writes. Holds no layer.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "fpq/core/half.hpp"
#include "fpq/dialect/quantized_source.hpp"
#include "fpq/io/safetensors/checkpoint.hpp"
#include "fpq/model/decoder.hpp"
#include "fpq/model/load.hpp"
#include "fpq/model/names.hpp"
#include "fpq/quant/quantize.hpp"
#include "fpq/transform/transform.hpp"

namespace fpq {

/// What a quantized client does to one shared input before the linears read it.
struct input_treatment {
    std::optional<block_transform> transform;
    std::optional<quant_format> format;  // empty: the input stays as it is
    observer_options observer;
};

class opened_model {
public:
    /// Opens and checks the directory. Throws fpq::error (input).
    explicit opened_model(std::filesystem::path const& directory)
        : source_(std::make_unique<checkpoint>(directory)),
          config_(load_model_config(*source_)),
          network_(load_decoder(*source_, config_)) {
        if (source_->config().contains("quantization_config")) {
            quantized_ = std::make_unique<quantized_source>(*source_);
        }
    }

    [[nodiscard]] checkpoint const& source() const noexcept { return *source_; }
    [[nodiscard]] std::filesystem::path const& directory() const { return source_->directory(); }
    [[nodiscard]] model_config const& config() const noexcept { return config_; }
    [[nodiscard]] decoder const& network() const noexcept { return network_; }
    [[nodiscard]] bool is_quantized() const noexcept { return quantized_ != nullptr; }

    /// One layer in float32 and what must happen to its inputs. Quantized weights are decoded and
    /// rounded to bf16, as a client that multiplies in bf16 sees them.
    [[nodiscard]] decoder_layer load(std::size_t layer, layer_hooks& hooks, int threads) const {
        hooks = {};
        if (!is_quantized()) {
            return load_layer(*source_, config_, layer);
        }
        decoder_layer out = load_layer_norms(*source_, config_, layer);
        auto treatments = std::make_shared<std::array<input_treatment, linear_roles.size()>>();
        for (linear_role role : linear_roles) {
            std::string const module = linear_name(layer, role);
            if (!quantized_->is_quantized(module)) {
                out.at(role) = load_linear(*source_, config_, layer, role);
                continue;
            }
            stored_linear const stored = quantized_->linear(module);
            out.at(role) = decode(stored, layer, role, threads);
            quantized_->release(module);
            if (shared_input(role) == role) {
                (*treatments)[role_index(role)] = treatment(stored);
            }
        }
        hooks.on_input = [treatments, threads](linear_role role, matrix_view<float> x) {
            input_treatment const& t = (*treatments)[role_index(role)];
            if (t.transform) {
                t.transform->apply_to_inputs(x, threads);
            }
            if (t.format) {
                fake_quantize_rows(x, *t.format, t.observer, threads);
            }
        };
        return out;
    }

    /// Of the linears of the decoder layers: 8 * bytes of codes, scales and global scales over
    /// their values; the storage width where they are dense.
    [[nodiscard]] double bits_per_weight() const {
        std::uint64_t values = 0;
        double bits = 0.0;
        for (std::size_t layer = 0; layer < config_.layers; ++layer) {
            for (linear_role role : linear_roles) {
                linear_shape const shape = expected_shape(config_, role);
                std::uint64_t const count = std::uint64_t{shape.out} * shape.in;
                values += count;
                bits += linear_bits(layer, role, shape) * static_cast<double>(count);
            }
        }
        return bits / static_cast<double>(values);
    }

private:
    [[nodiscard]] double linear_bits(std::size_t layer, linear_role role,
                                     linear_shape shape) const {
        std::string const module = linear_name(layer, role);
        if (is_quantized() && quantized_->is_quantized(module)) {
            stored_linear const stored = quantized_->linear(module);
            return stored.weight.codes == nullptr
                       ? 16.0
                       : stored.weight.format.bits_per_value(shape.out, shape.in);
        }
        return static_cast<double>(dtype_bits(source_->at(module + ".weight").type));
    }

    [[nodiscard]] linear_layer decode(stored_linear const& stored, std::size_t layer,
                                      linear_role role, int threads) const {
        linear_shape const shape = expected_shape(config_, role);
        if (stored.weight.rows != shape.out || stored.weight.cols != shape.in) {
            fail_input(
                "quantized tensor does not fit config.json", linear_name(layer, role),
                std::to_string(shape.out) + " x " + std::to_string(shape.in),
                std::to_string(stored.weight.rows) + " x " + std::to_string(stored.weight.cols));
        }
        linear_layer out;
        out.out = shape.out;
        out.in = shape.in;
        out.weight =
            stored.weight.codes == nullptr ? stored.dense : dequantize(stored.weight, threads);
        for (float& value : out.weight) {
            value = round_to_bf16(value);
        }
        if (has_bias(config_, role)) {
            out.bias = load_floats(source_->at(bias_name(layer, role)));
        }
        return out;
    }

    static input_treatment treatment(stored_linear const& stored) {
        input_treatment t;
        if (!stored.forward_matrix.empty()) {
            t.transform = block_transform::from_matrix(
                stored.transform_block, stored.forward_matrix, transform_kind::orthogonal);
        }
        if (stored.input_rule == activation_rule::mx_quest) {
            fail_input("unsupported input quantization", "forward_method", "abs_max", "quest");
        }
        if (stored.quantizes_input) {
            t.format = stored.weight.format;
            t.observer.mx = stored.input_rule == activation_rule::mx_even ? scale_rule::even
                                                                          : scale_rule::fp_quant;
            t.observer.global_scale = stored.act_global_scale;
        }
        return t;
    }

    std::unique_ptr<checkpoint> source_;
    model_config config_;
    std::unique_ptr<quantized_source> quantized_;
    decoder network_;
};

}  // namespace fpq
