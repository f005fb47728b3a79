// SPDX-License-Identifier: Apache-2.0
// Models with random weights, made on a CUDA device: nothing is read, little goes over the bus.
#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "fpq/backend/cuda/load.hpp"
#include "fpq/backend/cuda/packed_linear.hpp"
#include "fpq/core/half.hpp"
#include "fpq/core/random.hpp"
#include "fpq/model/resident_model.hpp"
#include "speed/shapes.hpp"

namespace fpq::tools {

/// 4 MiB of each kind of value, with which weights are filled again and again: bf16 of the standard
/// deviation 0.02, any codes of E2M1, and scales that give these about the same.
class random_values {
public:
    explicit random_values(gpu const& b) : backend_(b), table_(block_size / sizeof(bf16)) {
        std::vector<std::uint8_t> codes(block_size);
        std::vector<std::uint8_t> e4m3(block_size);
        std::vector<std::uint8_t> e8m0(block_size);
        philox const source{7, 0};
        for (std::size_t i = 0; i < block_size; ++i) {
            std::uint32_t const bits = source.at(i);
            codes[i] = static_cast<std::uint8_t>(bits >> 24);
            e4m3[i] = static_cast<std::uint8_t>(0x38 + bits % 8);  // 1 to 1.875
            e8m0[i] = static_cast<std::uint8_t>(119 + bits % 2);   // 2^-8 and 2^-7
            if (i < table_.size()) {
                table_[i] = to_bf16((uniform(bits) - 0.5F) * 0.0693F);
            }
        }
        values_ = fpq::detail::array_of(b, reinterpret_cast<std::uint8_t const*>(table_.data()),
                                        block_size);
        codes_ = fpq::detail::array_of(b, codes.data(), block_size);
        e4m3_ = fpq::detail::array_of(b, e4m3.data(), block_size);
        e8m0_ = fpq::detail::array_of(b, e8m0.data(), block_size);
    }

    /// (out, in) in bf16.
    [[nodiscard]] gpu::tensor dense(std::size_t out, std::size_t in) const {
        gpu::tensor w = make(backend_, out, in);
        fill(w.view().data, out * in * sizeof(bf16), values_);
        return w;
    }

    /// The same in NVFP4 or MXFP4.
    [[nodiscard]] gpu::packed_weight packed(quant_format const& format, std::size_t out,
                                            std::size_t in) const {
        gpu::packed_weight w;
        w.codes = {backend_.context, out * format.row_bytes(in)};
        w.scales = {backend_.context, format.scale_count(out, in) * format.scale_bytes_each()};
        fill(w.codes.data(), w.codes.size(), codes_);
        fill(w.scales.data(), w.scales.size(), format == nvfp4 ? e4m3_ : e8m0_);
        w.format = format;
        w.alpha = format == nvfp4 ? 0.005F : 1.0F;
        w.rows = out;
        w.cols = in;
        w.products = backend_.products;
        return w;
    }

    /// A vocabulary matrix, on the host like one of a file.
    [[nodiscard]] gpu::table table(std::size_t rows, std::size_t cols) const {
        auto owned = std::make_shared<std::vector<bf16>>(rows * cols);
        for (std::size_t at = 0; at < owned->size(); at += table_.size()) {
            std::copy_n(table_.begin(), std::min(table_.size(), owned->size() - at),
                        owned->begin() + static_cast<std::ptrdiff_t>(at));
        }
        auto const bytes = std::as_bytes(std::span<bf16 const>(*owned));
        return table_of(backend_, weight_rows(dtype::bf16, rows, cols, bytes, std::move(owned)));
    }

private:
    static constexpr std::size_t block_size = std::size_t{4} << 20;

    void fill(void* to, std::size_t bytes, gpu_array<std::uint8_t> const& block) const {
        for (std::size_t at = 0; at < bytes; at += block_size) {
            require_cuda(cudaMemcpyAsync(static_cast<std::uint8_t*>(to) + at, block.data(),
                                         std::min(block_size, bytes - at), cudaMemcpyDeviceToDevice,
                                         backend_.context->stream()),
                         "random weights");
        }
    }

    gpu backend_;
    std::vector<bf16> table_;
    gpu_array<std::uint8_t> values_;
    gpu_array<std::uint8_t> codes_;
    gpu_array<std::uint8_t> e4m3_;
    gpu_array<std::uint8_t> e8m0_;
};

/// A model as load_resident gives it, linears of one input joined. `format`: NVFP4 or MXFP4; null:
/// bf16.
[[nodiscard]] inline resident_model<gpu> random_model(gpu const& b,
                                                      std::shared_ptr<model_graph const> graph,
                                                      quant_format const* format) {
    random_values const random(b);
    model_config const& config = graph->config();
    auto const ones = [&](std::size_t size) {
        return vector_of(b, std::vector<float>(size, 1.0F));
    };
    resident_model<gpu> out{decoder<gpu>(graph, random.table(config.vocab_size, config.hidden_size),
                                         ones(config.hidden_size), std::nullopt),
                            {},
                            std::vector<layer_hooks<gpu>>(config.layers),
                            {},
                            {}};
    for (std::size_t i = 0; i < config.layers; ++i) {
        decoder_layer<gpu> layer;
        for (linear_node const& node : graph->layer(i)) {
            linear_weights<gpu>& w = layer.linears.emplace_back();
            if (format == nullptr) {
                w.weight = random.dense(node.out, node.in);
            } else {
                w.packed = random.packed(*format, node.out, node.in);
            }
        }
        for (norm_node const& norm : graph->norms(i)) {
            layer.norm(norm.place) = ones(norm.width);
        }
        fpq::detail::join_linears<gpu>(b, graph->family().linears, layer.linears);
        out.layers.push_back(std::move(layer));
    }
    fpq::detail::tell_what_follows(b, out.layers);
    return out;
}

}  // namespace fpq::tools
