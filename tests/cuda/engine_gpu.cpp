// SPDX-License-Identifier: Apache-2.0
// The engine on a GPU: log-probabilities of the CPU's engine within what bf16 leaves, greedy text
// in a mixture as alone, the same bits recorded and not, packed weights as decoded ones.
#include "gpu.hpp"
// (first: it ends the program where there is no device)

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "fpq/backend/cuda/packed_linear.hpp"
#include "fpq/backend/cuda/paged.hpp"
#include "fpq/graph/families.hpp"
#include "fpq/model/engine.hpp"
#include "line/engine.hpp"
#include "line/gpu.hpp"
#include "pipeline/line.hpp"
#include "support/engine_answers.hpp"
#include "support/files.hpp"

namespace {

using namespace fpq_test;
using fpq::cpu;
using fpq::gpu;

template <class B>
fpq::opened_model<B> opened(B const& b, std::filesystem::path const& at) {
    return {b, at, fpq::shipped_architectures};
}

/// Prompts of lengths 1 to 600, scored, then 16 tokens greedily.
std::vector<fpq::generation_request> greedy_requests(std::size_t count, std::size_t vocabulary) {
    auto requests = mixed_requests(count, 600, vocabulary);
    for (fpq::generation_request& r : requests) {
        r.choice = {};
        r.max_tokens = 16;
        r.score_prompt = true;
        r.top_logprobs = 2;
        r.stop_tokens.clear();
    }
    return requests;
}

template <class B>
std::vector<heard> answers(B const& b, fpq::opened_model<B> const& model,
                           std::vector<fpq::generation_request> const& requests,
                           fpq::engine_options const& options) {
    fpq::engine<B> e(b, model, options);
    return run_all(e, requests, 12);
}

/// Differences of the log-probabilities of prompts.
struct differences {
    double mean;   // of their sizes
    double most;   // the largest size
    double drift;  // mean with their signs
};
differences apart(std::vector<heard> const& a, std::vector<heard> const& b) {
    double sum = 0;
    double most = 0;
    double drift = 0;
    std::size_t count = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
        REQUIRE(a[i].prompt.size() == b[i].prompt.size());
        for (std::size_t t = 0; t < a[i].prompt.size(); ++t) {
            REQUIRE(a[i].prompt[t].token == b[i].prompt[t].token);
            double const d = static_cast<double>(a[i].prompt[t].logprob) -
                             static_cast<double>(b[i].prompt[t].logprob);
            sum += std::fabs(d);
            most = std::max(most, std::fabs(d));
            drift += d;
            ++count;
        }
    }
    auto const all = static_cast<double>(count);
    return {sum / all, most, drift / all};
}

}  // namespace

TEST_CASE("the GPU's engine scores as the CPU's", "[gpu]") {
    gpu const device{2, std::make_shared<fpq::gpu_context>(0)};
    cpu const host{2};
    for (std::string const name : {"tiny-llama", "tiny-qwen3"}) {
        auto const here = opened(host, repo_model(name));
        auto const there = opened(device, repo_model(name));
        auto const requests = greedy_requests(10, here.config().vocab_size);
        fpq::engine_options const options{.cache_tokens = 8192};
        auto const want = answers(host, here, requests, options);
        auto const found = answers(device, there, requests, options);
        auto const [mean, most, drift] = apart(found, want);
        INFO(name << ": mean " << mean << ", largest " << most);
        CHECK(mean < 0.03);
        CHECK(most < 1.0);
        CHECK(std::fabs(drift) < 0.01);
        for (heard const& h : found) {
            CHECK(h.finish == fpq::finish_reason::length);
            CHECK(h.tokens.size() == 16);
        }
    }
}

TEST_CASE("recorded steps on a GPU have the bits of those that are not", "[gpu]") {
    gpu const device{2, std::make_shared<fpq::gpu_context>(0)};
    auto const model = opened(device, repo_model("tiny-llama"));
    auto const requests = mixed_requests(30, 300, model.config().vocab_size);
    fpq::engine_options options{.cache_tokens = 8192};
    auto const recorded = answers(device, model, requests, options);
    options.record = false;
    auto const plain = answers(device, model, requests, options);
    for (std::size_t i = 0; i < requests.size(); ++i) {
        CAPTURE(i);
        CHECK(same(recorded[i], plain[i]));
    }
}

TEST_CASE("greedy text on a GPU is the same in a mixture as alone", "[gpu]") {
    gpu const device{2, std::make_shared<fpq::gpu_context>(0)};
    for (std::string const name : {"tiny-llama", "tiny-qwen3"}) {
        auto const model = opened(device, repo_model(name));
        auto const requests = greedy_requests(24, model.config().vocab_size);
        auto const together = answers(device, model, requests, {.cache_tokens = 16384});
        for (std::size_t i = 0; i < requests.size(); ++i) {
            auto const alone = answers(device, model, {requests[i]}, {.cache_tokens = 2048})[0];
            // Products of other numbers of rows may round otherwise: where two tokens are as good
            // as equal either may be taken, and what follows is another text.
            for (std::size_t t = 0; t < alone.tokens.size(); ++t) {
                auto const& top = alone.tokens[t].top;
                CAPTURE(name, i, t, top[0].second, top[1].second);
                if (together[i].tokens[t].token != alone.tokens[t].token) {
                    CHECK(top[0].second - top[1].second < 0.03F);
                    break;
                }
            }
        }
    }
}

TEST_CASE("packed weights on a GPU give what decoded ones give", "[gpu]") {
    gpu const device{2, std::make_shared<fpq::gpu_context>(0)};
    cpu const host{2};
    for (fpq::format_family const family : {fpq::format_family::nvfp, fpq::format_family::mxfp}) {
        for (int const a_bits : {16, 4}) {
            temporary_directory const dir;
            fpq::harness_flags f = small_run(family);
            f.evaluation.perplexity = false;
            f.scheme.a_bits = a_bits;
            f.output.kind = fpq::export_kind::realquant;
            f.output.layout = "compressed-tensors";
            f.output.directory = dir.path() / "out";
            static_cast<void>(go(f));
            auto const there = opened(device, f.output.directory);
            auto const packed = fpq::load_resident(device, there);
            CHECK(packed.notes.empty());
            for (auto const& layer : packed.layers) {
                for (auto const& linear : layer.linears) {
                    CHECK((linear.out_features() == 0 || !linear.packed.empty()));
                }
            }
            auto const requests = greedy_requests(8, there.config().vocab_size);
            fpq::engine_options const options{.cache_tokens = 8192};
            auto const found = answers(device, there, requests, options);
            auto const want = answers(host, opened(host, f.output.directory), requests, options);
            auto const [mean, most, drift] = apart(found, want);
            INFO(fpq::name_of(family) << " a_bits " << a_bits << ": mean " << mean << ", largest "
                                      << most << ", drift " << drift);
            // Quantized inputs turn a last bit of bf16 into a step of their grid, and the prompts
            // are random tokens, of log-probabilities far below 0: single ones move by 0.5 in the
            // mean. They must not move to one side.
            CHECK(mean < (a_bits == 16 ? 0.03 : 1.0));
            CHECK(std::fabs(drift) < (a_bits == 16 ? 0.01 : 0.1));
        }
    }
}
