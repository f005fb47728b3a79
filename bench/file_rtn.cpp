// SPDX-License-Identifier: Apache-2.0
// Rounding a synthetic bf16 checkpoint to NVFP4 from file to file, beside `cp` of the same files:
// three rounds of each, alternating. Needs 2.5 times the size free below TMPDIR.
// usage: fpq_bench_file_rtn [GIGABYTES, default 4] [THREADS, default 2] [OBSERVER, default minmax]
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "../tests/support/tiny_checkpoint.hpp"
#include "child.hpp"
#include "fpq/core/half.hpp"
#include "fpq/core/random.hpp"
#include "fpq/graph/families.hpp"
#include "fpq/graph/graph.hpp"
#include "line.hpp"

namespace {

/// Llama layers of width 4096 and 14336, as many as fit, with a vocabulary of 32000.
void make_checkpoint(std::filesystem::path const& dir, double bytes) {
    constexpr std::size_t hidden = 4096;
    fpq_test::tiny_checkpoint_options options;
    options.hidden = hidden;
    options.intermediate = 14336;
    options.heads = 32;
    options.kv_heads = 8;
    options.head_dim = 128;
    options.vocabulary = 32000;
    options.layers = static_cast<std::size_t>(std::max(1.0, (bytes - 2.6e8) / 4.3627e8 + 0.5));
    std::filesystem::create_directories(dir);
    fpq_test::write_text(dir / "config.json", fpq_test::tiny_config(options).dump(2));
    nlohmann::json header;
    std::uint64_t at = 0;
    auto const declare = [&](std::string const& name, std::vector<std::uint64_t> const& shape) {
        std::uint64_t size = 2;
        for (std::uint64_t const d : shape) {
            size *= d;
        }
        header[name] = {{"dtype", "BF16"}, {"shape", shape}, {"data_offsets", {at, at + size}}};
        at += size;
    };
    declare("model.embed_tokens.weight", {options.vocabulary, hidden});
    fpq::model_config config;
    config.family = &fpq::families::llama;
    config.layers = options.layers;
    config.hidden_size = hidden;
    config.intermediate_size = options.intermediate;
    config.heads = options.heads;
    config.kv_heads = options.kv_heads;
    config.head_dim = options.head_dim;
    fpq::model_graph const graph(config);
    for (std::size_t layer = 0; layer < options.layers; ++layer) {
        for (fpq::linear_node const& node : graph.layer(layer)) {
            declare(node.weight(), {node.out, node.in});
        }
        for (fpq::norm_node const& norm : graph.norms(layer)) {
            declare(norm.tensor, {norm.width});
        }
    }
    declare("model.norm.weight", {hidden});
    std::string text = header.dump();
    text.append((8 - text.size() % 8) % 8, ' ');
    // The same two million normal values over and over: nothing here looks at more than a row.
    std::vector<fpq::bf16> values(std::size_t{1} << 21);
    fpq::philox const source{1, 1};
    for (std::size_t i = 0; i < values.size(); ++i) {
        values[i] = fpq::to_bf16(0.02F * source.normal_at(i));
    }
    std::ofstream out(dir / "model.safetensors", std::ios::binary);
    std::string const head = fpq_test::safetensors_bytes(text, "");
    out.write(head.data(), static_cast<std::streamsize>(head.size()));
    for (std::uint64_t left = at; left > 0;) {
        std::uint64_t const some = std::min<std::uint64_t>(left, values.size() * 2);
        out.write(reinterpret_cast<char const*>(values.data()), static_cast<std::streamsize>(some));
        left -= some;
    }
}

void print(char const* work, int threads, double bytes, fpq::bench::child_usage const& best) {
    std::printf("%-28s %7d %9.2f %9.2f %10.1f\n", work, threads, best.seconds,
                bytes / best.seconds * 1e-9, best.peak_mib);
    std::printf(
        "{\"work\": \"%s\", \"size\": \"%.2f GB\", \"threads\": %d, \"bytes\": %.0f, \"seconds\": "
        "%.4g, \"gb_per_s\": %.4g, \"peak_mib\": %.1f}\n",
        work, bytes * 1e-9, threads, bytes, best.seconds, bytes / best.seconds * 1e-9,
        best.peak_mib);
}

}  // namespace

int main(int argc, char** argv) {
    double const gigabytes = argc > 1 ? std::strtod(argv[1], nullptr) : 4.0;
    int const threads = argc > 2 ? std::atoi(argv[2]) : 2;
    std::string const observer = argc > 3 ? argv[3] : "minmax";
    fpq::scale_rule rule = fpq::scale_rule::minmax;
    for (fpq::scale_rule const known : {fpq::scale_rule::mse, fpq::scale_rule::sweep}) {
        rule = observer == fpq::name_of(known) ? known : rule;
    }
    fpq_test::temporary_directory const scratch;
    std::filesystem::path const model = scratch.path() / "model";
    if (!fpq::bench::in_child([&] { make_checkpoint(model, gigabytes * 1e9); }).good) {
        return 1;
    }
    double const bytes =
        static_cast<double>(std::filesystem::file_size(model / "model.safetensors"));
    std::string const copy =
        "cp -r '" + model.string() + "' '" + (scratch.path() / "copy").string() + "'";
    fpq::bench::child_usage copied;
    fpq::bench::child_usage rounded;
    auto const keep_best = [](fpq::bench::child_usage& best, fpq::bench::child_usage const& now) {
        double const peak = std::max(best.peak_mib, now.peak_mib);
        if (best.seconds == 0 || now.seconds < best.seconds) {
            best = now;
        }
        best.peak_mib = peak;
    };
    for (int round = 0; round < 3; ++round) {
        auto const plain = fpq::bench::in_child([&] {
            if (std::system(copy.c_str()) != 0) {
                throw std::runtime_error("cp failed");
            }
        });
        std::filesystem::remove_all(scratch.path() / "copy");
        fpq::harness_flags f;
        f.model = model;
        f.output = {fpq::export_kind::realquant, "compressed-tensors", scratch.path() / "out",
                    f.output.max_shard_size};
        f.scheme.family = fpq::format_family::nvfp;
        f.scheme.w_observer = rule;
        auto const ours = fpq::bench::in_child([&] { fpq::bench::run_flags(f, threads); });
        std::filesystem::remove_all(f.output.directory);
        if (!plain.good || !ours.good) {
            return 1;
        }
        keep_best(copied, plain);
        keep_best(rounded, ours);
    }
    std::printf("%-28s %7s %9s %9s %10s\n", "best of three", "threads", "s", "GB/s", "peak MiB");
    print("cp", 1, bytes, copied);
    print("bf16 file to NVFP4 file", threads, bytes, rounded);
    std::printf("observer %s, processor seconds: %.2f\n", fpq::name_of(rule),
                rounded.processor_seconds);
    std::printf("of cp's rate: %.2f\n", copied.seconds / rounded.seconds);
    return 0;
}
