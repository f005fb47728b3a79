// SPDX-License-Identifier: Apache-2.0
// Samples text from a checkpoint: the data-free calibration of `--dataset_name_or_path self`, and
// how the texts in examples/text were made. Usage: 06_sample_text [DIR SEQUENCES TOKENS SEED]
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "fpq/backend/cpu/forward.hpp"
#include "fpq/backend/cpu/load.hpp"
#include "fpq/backend/cpu/sample.hpp"
#include "fpq/graph/families.hpp"
#include "fpq/io/safetensors/checkpoint.hpp"
#include "fpq/io/tokenizer/tokenizer.hpp"
#include "fpq/model/generate.hpp"
#include "fpq/model/load.hpp"

int main(int argc, char** argv) {
    std::filesystem::path const here = std::filesystem::path(__FILE__).parent_path();
    std::filesystem::path const directory = argc > 1 ? argv[1] : here / "models" / "tiny-llama";
    auto const number = [&](int i, unsigned long fallback) {
        return argc > i ? std::strtoul(argv[i], nullptr, 10) : fallback;
    };
    fpq::checkpoint const source(directory);
    fpq::cpu const backend{1};
    auto const graph = std::make_shared<fpq::model_graph>(
        fpq::load_model_config(source, fpq::shipped_architectures));
    fpq::decoder<fpq::cpu> const network = fpq::load_decoder(backend, source, graph, std::nullopt);
    fpq::tokenizer const words = fpq::tokenizer::open(directory);
    std::vector<fpq::decoder_layer<fpq::cpu>> layers;
    for (std::size_t i = 0; i < graph->layers(); ++i) {
        layers.push_back(fpq::load_layer(backend, source, *graph, i));
    }
    fpq::sample_options options;
    options.sequences = number(2, 1);
    options.length = number(3, 64);
    options.seed = number(4, 42);
    options.first_token = words.bos().value_or(-1);
    std::vector<std::int32_t> const ids =
        fpq::sample_tokens<fpq::cpu>(backend, network, layers, options);
    for (std::size_t s = 0; s < options.sequences; ++s) {
        std::span<std::int32_t const> const all = std::span(ids).subspan(s * options.length);
        std::puts(words.decode(all.subspan(1, options.length - 1)).c_str());
    }
    return 0;
}
