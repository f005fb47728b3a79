// SPDX-License-Identifier: Apache-2.0
// fpq-inspect: what a checkpoint holds, how far its quantized tensors are from the original, and
// what a client would get wrong without saying so.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/command_line.hpp"
#include "common/console.hpp"
#include "fpq/core/hosted/natural_order.hpp"
#include "fpq/core/hosted/printable.hpp"
#include "fpq/dialect/quantized_source.hpp"
#include "fpq/io/safetensors/checkpoint.hpp"
#include "fpq/model/load.hpp"
#include "fpq/quant/error_stats.hpp"
#include "fpq/quant/quantize.hpp"
#include "fpq/transform/transform.hpp"
#include "inspect/options.hpp"
#include "inspect/verify.hpp"

namespace {

using namespace fpq;

std::string shape_of(tensor_ref const& tensor) {
    std::string text;
    for (std::uint64_t const extent : tensor.shape) {
        text += (text.empty() ? "" : " x ") + std::to_string(extent);
    }
    return text.empty() ? "scalar" : text;
}

/// SQNR of one quantized linear against its original, in the transformed basis.
double sqnr(stored_linear const& stored, checkpoint const& original, std::string const& module) {
    tensor_ref const& tensor = original.at(module + ".weight");
    std::size_t const rows = stored.weight.rows;
    std::size_t const cols = stored.weight.cols;
    if (tensor.shape != std::vector<std::uint64_t>{rows, cols}) {
        fail_input("reference has another shape", module + ".weight",
                   std::to_string(rows) + " x " + std::to_string(cols), shape_of(tensor));
    }
    std::vector<float> w = load_floats(tensor);
    original.release(tensor.name);
    if (!stored.forward_matrix.empty()) {
        block_transform::from_matrix(stored.transform_block, stored.forward_matrix,
                                     transform_kind::orthogonal)
            .apply_to_weights(as_view(w.data(), rows, cols), fpq::tools::default_threads());
    }
    std::vector<float> const decoded =
        stored.weight.codes == nullptr ? stored.dense
                                       : dequantize(stored.weight, fpq::tools::default_threads());
    matrix_view<float const> const a = as_view<float const>(w.data(), rows, cols);
    matrix_view<float const> const b = as_view<float const>(decoded.data(), rows, cols);
    return measure_error(a, b).sqnr_db();
}

void print_quantized(checkpoint const& source, quantized_source const& quantized,
                     checkpoint const* original) {
    double bits = 0.0;
    double values = 0.0;
    fmt::print("\n{:<44} {:>14} {:>8} {:>12} {:>10} {:>9}\n", "linear", "out x in", "bits",
               "weight G", "input G", "SQNR dB");
    std::vector<std::string> modules = quantized.modules();
    std::sort(modules.begin(), modules.end(), natural_less);
    for (std::string const& module : modules) {
        stored_linear const stored = quantized.linear(module);
        double const count =
            static_cast<double>(stored.weight.rows) * static_cast<double>(stored.weight.cols);
        double const each =
            stored.weight.codes == nullptr
                ? 16.0
                : stored.weight.format.bits_per_value(stored.weight.rows, stored.weight.cols);
        bits += each * count;
        values += count;
        fmt::print("{:<44} {:>14} {:>8.4f} {:>12g} {:>10g} {:>9}\n", fpq::detail::printable(module),
                   fmt::format("{} x {}", stored.weight.rows, stored.weight.cols), each,
                   stored.weight.global_scale, stored.act_global_scale,
                   original == nullptr ? std::string("-")
                                       : fmt::format("{:.3f}", sqnr(stored, *original, module)));
        quantized.release(module);
    }
    if (values > 0.0) {
        fmt::print("{} quantized linears, {:.4f} bits per weight; all tensors {} bytes\n",
                   quantized.modules().size(), bits / values, source.total_bytes());
    }
}

int inspect(std::filesystem::path const& directory, std::filesystem::path const& reference,
            bool verify) {
    checkpoint source(directory);
    std::optional<checkpoint> original;
    if (!reference.empty()) {
        original.emplace(reference);
    }
    fmt::print("{:<56} {:<8} {:>16} {:>12}\n", "tensor", "type", "shape", "bytes");
    std::vector<std::string> names = source.names();
    std::sort(names.begin(), names.end(), natural_less);
    for (std::string const& name : names) {
        tensor_ref const& tensor = source.at(name);
        fmt::print("{:<56} {:<8} {:>16} {:>12}\n", fpq::detail::printable(name),
                   dtype_name(tensor.type), shape_of(tensor), tensor.bytes.size());
    }
    if (source.config().contains("quantization_config")) {
        print_quantized(source, quantized_source(source), original ? &*original : nullptr);
    }
    if (!verify) {
        return 0;
    }
    return fpq::tools::verify(source) ? static_cast<int>(error_category::input) : 0;
}

}  // namespace

int main(int argc, char** argv) {
    return fpq::tools::run_program("fpq-inspect", [&] {
        fpq::tools::inspect_options options;
        return fpq::tools::take_all(fpq::tools::inspect_program(options), argc, argv, [&] {
            return inspect(options.directory, options.reference, options.verify);
        });
    });
}
