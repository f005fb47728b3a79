// SPDX-License-Identifier: Apache-2.0
// Tokens a second of the engine on one GPU, of checkpoints: decoding at several batch sizes and
// prefill. Beside each step of decoding the share of the card's copy rate at which it reads what it
// must; medians by the host's clock, everything included. fpq-selftest --line does the same with
// random weights and needs no checkpoint.
// usage: fpq_bench_cuda_engine [--json FILE] CONTEXT[:BATCH[,BATCH]...] CHECKPOINT...
// FILE gets the rows, for fpq-selftest --charts; a checkpoint's shape is the part of its
// directory's name before the first dot: qwen3-8b.nvfp4 and qwen3-8b.bf16 are compared.
#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/io/file/whole_file.hpp"
#include "speed/gpu/card.hpp"
#include "speed/gpu/measure.hpp"

namespace {

using fpq::gpu;
namespace tools = fpq::tools;

/// What its linears are multiplied as, and the bytes of them and of the head.
tools::speed_subject subject_of(std::filesystem::path const& checkpoint,
                                fpq::resident_model<gpu> const& model) {
    std::filesystem::path const whole = checkpoint / "x";
    std::string const name = whole.parent_path().lexically_normal().filename().string();
    tools::speed_subject out{name.substr(0, name.find('.')), "bf16", 0};
    for (auto const& layer : model.layers) {
        for (auto const& linear : layer.linears) {
            if (!linear.packed.empty()) {
                out.weights = name_of(linear.packed.format);
                out.weight_bytes += static_cast<double>(linear.packed.bytes());
            } else {
                out.weight_bytes += 2.0 * static_cast<double>(linear.weight.rows()) *
                                    static_cast<double>(linear.weight.cols());
            }
        }
    }
    out.weight_bytes += 2.0 * static_cast<double>(model.frame.graph().head().values());
    return out;
}

int run(std::filesystem::path const& json, tools::speed_plan const& plan,
        std::vector<std::string> const& checkpoints) {
    tools::speed_table table = tools::table_of_card();
    auto const say = [&](tools::speed_table const& so_far, std::string const& line) {
        std::printf("%s\n", line.c_str());
        std::fflush(stdout);
        if (!json.empty()) {
            fpq::write_file_whole(json, json_of(so_far).dump(1) + "\n");
        }
    };
    say(table, tools::line_of(table));
    for (std::string const& checkpoint : checkpoints) {
        gpu const b{4, std::make_shared<fpq::gpu_context>(0)};
        fpq::opened_model<gpu> const opened(b, checkpoint, fpq::shipped_architectures);
        fpq::resident_model<gpu> model = fpq::load_resident(b, opened);
        tools::speed_subject const subject = subject_of(checkpoint, model);
        tools::time_model(b, std::move(model), subject, plan, table, say);
    }
    return 0;
}

/// "8192:1,16" as context and batches; a context of 0 where it is no such text.
tools::speed_plan plan_of(char const* text) {
    char* rest = nullptr;
    std::size_t const context = std::strtoul(text, &rest, 10);
    tools::speed_plan plan;
    plan.contexts = {context};
    plan.prompts = {context};
    if (*rest == ':') {
        plan.batches.clear();
    }
    while (*rest == ':' || *rest == ',') {
        plan.batches.push_back(std::max(1UL, std::strtoul(rest + 1, &rest, 10)));
    }
    std::sort(plan.batches.begin(), plan.batches.end());
    return plan;
}

}  // namespace

int main(int argc, char** argv) {
    std::vector<std::string> words(argv + 1, argv + argc);
    std::string json;
    if (words.size() > 2 && words[0] == "--json") {
        json = words[1];
        words.erase(words.begin(), words.begin() + 2);
    }
    tools::speed_plan const plan = plan_of(words.empty() ? "" : words[0].c_str());
    if (words.size() < 2 || plan.contexts[0] == 0) {
        std::fprintf(stderr,
                     "usage: fpq_bench_cuda_engine [--json FILE] CONTEXT[:BATCH[,BATCH]...] "
                     "CHECKPOINT...\n");
        return 2;
    }
    try {
        return run(json, plan, {words.begin() + 1, words.end()});
    } catch (fpq::error const& why) {
        std::fprintf(stderr, "fpq_bench_cuda_engine: %s\n", why.what());
        return why.exit_code();
    } catch (std::exception const& why) {
        std::fprintf(stderr, "fpq_bench_cuda_engine: %s\n", why.what());
        return 5;
    }
}
