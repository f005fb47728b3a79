// SPDX-License-Identifier: Apache-2.0
// English text to token ids. FPQ_BENCH_TOKENIZERS names directories with tokenizers, separated by
// colons (a 128k vocabulary among them); without it, the small one of the examples. FPQ_BENCH_TEXT
// names the text.
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <sstream>

#include "common.hpp"
#include "fpq/io/tokenizer/tokenizer.hpp"

int main(int argc, char** argv) {
    std::filesystem::path const root = FPQ_SOURCE_DIR;
    char const* const directories = std::getenv("FPQ_BENCH_TOKENIZERS");
    char const* const file = std::getenv("FPQ_BENCH_TEXT");
    std::ifstream in(file != nullptr ? std::filesystem::path(file)
                                     : root / "examples/text/eval.txt");
    auto const text = std::make_shared<std::string>(std::istreambuf_iterator<char>(in),
                                                    std::istreambuf_iterator<char>());
    std::istringstream names(directories != nullptr
                                 ? std::string(directories)
                                 : (root / "examples/models/tiny-llama").string());
    for (std::string name; std::getline(names, name, ':');) {
        auto const t = std::make_shared<fpq::tokenizer>(fpq::tokenizer::open(name));
        auto const ids = std::make_shared<std::vector<std::int32_t>>();
        fpq::bench::add({"tokenize, " + std::filesystem::path(name).filename().string(),
                         fpq::bench::size_name(text->size()), static_cast<double>(text->size()),
                         static_cast<double>(text->size()), 1,
                         [=] { *ids = t->encode(*text, false); },
                         [=] { return !ids->empty() && t->decode(*ids) == *text; }});
    }
    return fpq::bench::run_cases(argc, argv);
}
