// SPDX-License-Identifier: Apache-2.0
// Prints the ids of a text as a checkpoint directory's tokenizer gives them, without BOS and EOS,
// one a line. For tokenizers_ids.py.
//   fpq_token_ids DIRECTORY TEXT
#include <cstdint>
#include <cstdio>

#include "fpq/core/hosted/error.hpp"
#include "fpq/io/file/whole_file.hpp"
#include "fpq/io/tokenizer/tokenizer.hpp"

int main(int argc, char** argv) {
    if (argc != 3) {
        std::fprintf(stderr, "usage: fpq_token_ids DIRECTORY TEXT\n");
        return 2;
    }
    try {
        fpq::tokenizer const words = fpq::tokenizer::open(argv[1]);
        for (std::int32_t const id : words.encode(fpq::detail::read_whole_file(argv[2]), false)) {
            std::printf("%d\n", id);
        }
        return std::fflush(stdout) == 0 ? 0 : 3;
    } catch (fpq::error const& failure) {
        std::fprintf(stderr, "fpq_token_ids: %s\n", failure.what());
        return failure.exit_code();
    }
}
