// SPDX-License-Identifier: Apache-2.0
// Peak memory of fpq-quantize on synthetic checkpoints that differ only in their number of layers.
// Usage: fpq_bench_memory FPQ_QUANTIZE MODEL_WITH_TOKENIZER TEXT [HIDDEN INTERMEDIATE]
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "support/tiny_checkpoint.hpp"

namespace {

/// Peak resident bytes of one run of the program; -1 when it failed.
long long peak_of(char const* program, std::filesystem::path const& model, char const* text,
                  std::filesystem::path const& out) {
    std::fflush(stdout);  // or the child would print it again
    pid_t const child = ::fork();
    if (child == 0) {
        std::FILE* const quiet = std::freopen("/dev/null", "w", stderr);
        std::FILE* const silent = std::freopen("/dev/null", "w", stdout);
        if (quiet == nullptr || silent == nullptr) {
            ::_exit(127);
        }
        ::execl(program, program, "--model_name_or_path", model.c_str(), "--dataset_name_or_path",
                text, "--format", "nvfp", "--w_bits", "4", "--w_observer", "sweep", "--gptq",
                "--quantization_order", "activation", "--sequence_length", "256", "--num_sequences",
                "8", "--threads", "2", "--export_quantized_model", "realquant", "--export_format",
                "compressed-tensors", "--save_path", out.c_str(), nullptr);
        ::_exit(127);
    }
    int status = 0;
    rusage usage{};
    if (::wait4(child, &status, 0, &usage) != child || !WIFEXITED(status) ||
        WEXITSTATUS(status) != 0) {
        return -1;
    }
    return static_cast<long long>(usage.ru_maxrss) * 1024;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 4) {
        std::fprintf(stderr,
                     "usage: %s FPQ_QUANTIZE MODEL_WITH_TOKENIZER TEXT [HIDDEN INTERMEDIATE]\n",
                     argv[0]);
        return 2;
    }
    fpq_test::temporary_directory const scratch;
    std::printf("%8s %16s %16s\n", "layers", "checkpoint MiB", "peak MiB");
    for (std::size_t const layers : {std::size_t{4}, std::size_t{40}}) {
        fpq_test::tiny_checkpoint_options options;
        options.layers = layers;
        options.hidden = argc > 4 ? std::strtoul(argv[4], nullptr, 10) : 512;
        options.intermediate = argc > 5 ? std::strtoul(argv[5], nullptr, 10) : 1536;
        options.heads = options.hidden / 64;
        options.kv_heads = options.heads / 2;
        options.head_dim = 64;
        options.vocabulary = 4096;
        options.tokenizer = std::filesystem::path(argv[2]) / "tokenizer.json";
        std::filesystem::path const model = scratch.path() / std::to_string(layers);
        fpq_test::make_tiny_checkpoint(model, options);
        double const size =
            static_cast<double>(std::filesystem::file_size(model / "model.safetensors"));
        long long const peak = peak_of(argv[1], model, argv[3], scratch.path() / "out");
        if (peak < 0) {
            std::fprintf(stderr, "fpq-quantize failed on %zu layers\n", layers);
            return 1;
        }
        std::printf("%8zu %16.1f %16.1f\n", layers, size / 1048576.0,
                    static_cast<double>(peak) / 1048576.0);
    }
    return 0;
}
