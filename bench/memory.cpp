// SPDX-License-Identifier: Apache-2.0
// Peak memory of a quantization by GPTQ of synthetic checkpoints that differ only in their number
// of layers. usage: fpq_bench_memory [HIDDEN INTERMEDIATE]
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "../tests/support/tiny_checkpoint.hpp"
#include "child.hpp"
#include "line.hpp"

int main(int argc, char** argv) {
    auto const root = std::filesystem::path(__FILE__).parent_path().parent_path();
    fpq_test::temporary_directory const scratch;
    std::printf("%8s %16s %16s\n", "layers", "checkpoint MiB", "peak MiB");
    for (std::size_t const layers : {std::size_t{4}, std::size_t{40}}) {
        fpq_test::tiny_checkpoint_options options;
        options.layers = layers;
        options.hidden = argc > 2 ? std::strtoul(argv[1], nullptr, 10) : 256;
        options.intermediate = argc > 2 ? std::strtoul(argv[2], nullptr, 10) : 768;
        options.head_dim = 64;
        options.heads = options.hidden / 64;
        options.kv_heads = options.heads / 2;
        options.vocabulary = 4096;
        options.tokenizer = root / "examples" / "models" / "tiny-llama" / "tokenizer.json";
        fpq::harness_flags f;
        f.model = scratch.path() / std::to_string(layers);
        f.calibration.dataset = (root / "examples" / "text" / "calib.txt").string();
        f.calibration.sequence_length = 256;
        f.calibration.num_sequences = 8;
        f.scheme.family = fpq::format_family::nvfp;
        f.scheme.w_observer = fpq::scale_rule::sweep;
        f.gptq = true;
        f.order = fpq::quant_order::activation;
        f.output = {fpq::export_kind::realquant, "compressed-tensors", scratch.path() / "out",
                    f.output.max_shard_size};
        bool const made =
            fpq::bench::in_child([&] { fpq_test::make_tiny_checkpoint(f.model, options); }).good;
        auto const used = fpq::bench::in_child([&] { fpq::bench::run_flags(f, 2); });
        if (!made || !used.good) {
            return 1;
        }
        auto const size = std::filesystem::file_size(f.model / "model.safetensors");
        std::printf("%8zu %16.1f %16.1f\n", layers, static_cast<double>(size) / 1048576.0,
                    used.peak_mib);
        std::printf("{\"work\": \"gptq of %zu layers\", \"bytes\": %ju, \"peak_mib\": %.1f}\n",
                    layers, static_cast<std::uintmax_t>(size), used.peak_mib);
    }
    return 0;
}
