// SPDX-License-Identifier: Apache-2.0
// Writes the logits of a checkpoint directory, original or quantized without inputs, for given
// tokens: little-endian float32, one row a token. For llama_cpp_kl.py.
//   fpq_logits DIRECTORY IDS OUT      IDS: a text file of numbers
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <optional>
#include <span>
#include <vector>

#include "fpq/backend/cpu/forward.hpp"
#include "fpq/backend/cpu/load.hpp"
#include "fpq/backend/cpu/quant.hpp"
#include "fpq/backend/cpu/sample.hpp"
#include "fpq/core/hosted/error.hpp"
#include "fpq/graph/families.hpp"
#include "fpq/model/generate.hpp"
#include "fpq/model/opened_model.hpp"

int main(int argc, char** argv) {
    if (argc != 4) {
        std::fprintf(stderr, "usage: fpq_logits DIRECTORY IDS OUT\n");
        return 2;
    }
    try {
        std::ifstream numbers(argv[2]);
        std::vector<std::int32_t> ids;
        for (std::int32_t id = 0; numbers >> id;) {
            ids.push_back(id);
        }
        fpq::cpu const b{1};
        fpq::opened_model<fpq::cpu> const model(b, argv[1], fpq::shipped_architectures);
        std::vector<fpq::decoder_layer<fpq::cpu>> layers;
        for (std::size_t i = 0; i < model.graph().layers(); ++i) {
            fpq::layer_hooks<fpq::cpu> hooks;
            layers.push_back(model.load(b, i, hooks));
        }
        fpq::cached_decoder<fpq::cpu> decoder(b, model.network(), layers, 1, ids.size());
        std::size_t const width = model.config().vocab_size;
        auto logits = fpq::make_logits(b, decoder.rows_of_a_step(), width);
        std::ofstream out(argv[3], std::ios::binary);
        for (std::int32_t const& id : ids) {
            decoder.step(b, std::span(&id, 1), logits.view());
            out.write(reinterpret_cast<char const*>(logits.view().data),
                      static_cast<std::streamsize>(width * sizeof(float)));
        }
        return out.flush() ? 0 : 3;
    } catch (fpq::error const& failure) {
        std::fprintf(stderr, "fpq_logits: %s\n", failure.what());
        return failure.exit_code();
    }
}
