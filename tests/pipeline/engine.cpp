// SPDX-License-Identifier: Apache-2.0
// The engine on checkpoints: the originals against the published probe, what the line wrote in
// every layout against the evaluation's pass over whole windows, and mixtures against each alone.
#include "fpq/model/engine.hpp"

#include <cmath>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "catch.hpp"
#include "fpq/io/json/json_file.hpp"
#include "line/engine.hpp"
#include "pipeline/line.hpp"
#include "pipeline/models.hpp"
#include "support/engine_answers.hpp"
#include "support/files.hpp"
#include "support/sanitized.hpp"

using namespace fpq_test;

namespace {

using engine_on_cpu = fpq::engine<fpq::cpu>;

/// Windows that are scored, and mixtures of requests. Under sanitizers both are smaller: a window
/// still takes two batches, and requests still wait for a place and for room.
#if defined(FPQ_TEST_SANITIZED)
constexpr std::size_t window_tokens = 64;
constexpr std::size_t window_count = 2;
constexpr std::size_t many = 8;
constexpr std::size_t few = 6;
constexpr std::size_t longest = 60;
constexpr std::size_t room = 300;
#else
constexpr std::size_t window_tokens = 96;
constexpr std::size_t window_count = 3;
constexpr std::size_t many = 20;
constexpr std::size_t few = 8;
constexpr std::size_t longest = 120;
constexpr std::size_t room = 600;
#endif

/// The windows of the repository's text by the model's own tokenizer.
fpq::evaluation_set windows_of(model_on_cpu const& model) {
    fpq::evaluation_text const text{
        {repo_dir() / "examples" / "text" / "eval.txt"}, window_tokens, 0, window_count, true};
    return fpq::evaluation_windows(model, text);
}

/// Mean negative log-likelihood of windows, scored side by side.
double engine_nll(model_on_cpu const& model, fpq::evaluation_set const& set) {
    engine_on_cpu e(fpq::cpu{2}, model, {.cache_tokens = 2048, .batch_tokens = 50});
    std::vector<fpq::generation_request> requests;
    for (auto const& window : set.windows) {
        fpq::generation_request r;
        r.prompt.assign(window.begin(), window.end());
        r.max_tokens = 0;
        r.score_prompt = true;
        requests.push_back(r);
    }
    double sum = 0;
    std::size_t count = 0;
    for (heard const& h : run_all(e, requests, requests.size())) {
        for (fpq::scored_token const& t : h.prompt) {
            sum -= static_cast<double>(t.logprob);
            ++count;
        }
    }
    REQUIRE(count == set.windows.size() * (window_tokens - 1));
    return sum / static_cast<double>(count);
}

/// The same by whole windows, layer by layer.
double window_nll(model_on_cpu const& model, fpq::evaluation_set const& set) {
    model_on_cpu const* const no_reference = nullptr;
    return fpq::evaluate_models(fpq::cpu{2}, model, no_reference, set, no_progress).result.nll_mean;
}

/// Requests in a mixture and each alone: the same bits.
void require_alone(model_on_cpu const& model, std::size_t count) {
    auto const requests = mixed_requests(count, longest, model.config().vocab_size);
    engine_on_cpu e(fpq::cpu{2}, model,
                    {.cache_tokens = room, .page = 8, .batch_tokens = 64, .sequences = 5});
    auto const together = run_all(e, requests, 6);
    for (std::size_t i = 0; i < requests.size(); ++i) {
        engine_on_cpu one(fpq::cpu{1}, model, {.cache_tokens = 200});
        CAPTURE(i, requests[i].prompt.size());
        REQUIRE(same(together[i], run_all(one, {requests[i]}, 1)[0]));
    }
}

struct written_case {
    std::string model;
    fpq::format_family family;
    int a_bits;
    std::string layout;
    fpq::transform_kind transform = fpq::transform_kind::identity;
    fpq::export_kind kind = fpq::export_kind::realquant;
};

}  // namespace

TEST_CASE("the probe of both models: the published top five", "[engine]") {
    nlohmann::json const golden =
        fpq::read_json_file(repo_dir() / "examples" / "models" / "golden.json");
    take_fast_products();
    for (std::string const name : {"tiny-llama", "tiny-qwen3"}) {
        nlohmann::json const& expected = golden.at(name);
        auto const logits = expected.at("probe_logits_last_first16").get<std::vector<double>>();
        fpq::cpu const b{2};
        model_on_cpu const model(b, repo_model(name), fpq::shipped_architectures);
        engine_on_cpu e(b, model, {.cache_tokens = 64, .batch_tokens = 11});
        CHECK(e.longest() == 64);
        fpq::generation_request r;
        r.prompt = expected.at("probe_ids").get<std::vector<std::int32_t>>();
        r.max_tokens = 1;
        r.top_logprobs = model.config().vocab_size;
        heard const h = run_all(e, {r}, 1)[0];
        auto const& top = h.tokens.at(0).top;
        auto const five = expected.at("probe_top5").get<std::vector<std::int32_t>>();
        std::vector<double> of(model.config().vocab_size);
        for (auto const& [id, logprob] : top) {
            of[static_cast<std::size_t>(id)] = static_cast<double>(logprob);
        }
        for (std::size_t i = 0; i < five.size(); ++i) {
            CHECK(top.at(i).first == five[i]);
        }
        // Log-probabilities are logits up to one number.
        for (std::size_t i = 1; i < logits.size(); ++i) {
            CAPTURE(name, i);
            CHECK(of[i] - of[0] == Approx(logits[i] - logits[0]).margin(2e-4));
        }
    }
}

TEST_CASE("every layout that is read: the engine scores as the evaluation does", "[engine]") {
    using fpq::format_family;
    std::vector<written_case> const cases{
        {"tiny-llama", format_family::nvfp, 16, "compressed-tensors"},
        {"tiny-qwen3", format_family::mxfp, 16, "compressed-tensors"},
        {"tiny-llama", format_family::nvfp, 4, "fp_quant", fpq::transform_kind::hadamard},
        {"tiny-qwen3", format_family::mxfp, 4, "fp_quant", fpq::transform_kind::hadamard},
        {"tiny-qwen3", format_family::nvfp, 4, "modelopt"},
        {"tiny-llama", format_family::mxfp, 4, "fp_quant", fpq::transform_kind::identity,
         fpq::export_kind::pseudoquant}};
    for (written_case const& c : cases) {
        CAPTURE(c.model, c.layout, fpq::name_of(c.family), c.a_bits);
        temporary_directory const dir;
        fpq::harness_flags f = small_run(c.family);
        f.model = repo_model(c.model);
        f.scheme.a_bits = c.a_bits;
        f.scheme.transform = c.transform;
        f.scheme.transform_block = 32;
        f.evaluation.perplexity = false;
        f.output.kind = c.kind;
        f.output.layout = c.layout;
        f.output.directory = dir.path() / "out";
        static_cast<void>(go(f));
        fpq::cpu const b{2};
        model_on_cpu const model(b, f.output.directory, fpq::shipped_architectures);
        REQUIRE(model.is_quantized());
        fpq::evaluation_set const set = windows_of(model);
        double const expected = window_nll(model, set);
        // Inputs that are quantized round the other way where a last bit differs.
        CHECK(engine_nll(model, set) == Approx(expected).margin(c.a_bits == 16 ? 1e-5 : 5e-3));
        require_alone(model, few);
    }
}

TEST_CASE("requests to a model of bf16 weights, together and alone", "[engine]") {
    for (std::string const name : {"tiny-llama", "tiny-qwen3"}) {
        CAPTURE(name);
        fpq::cpu const b{2};
        model_on_cpu const model(b, repo_model(name), fpq::shipped_architectures);
        fpq::evaluation_set const set = windows_of(model);
        take_fast_products();
        double const expected = window_nll(model, set);
        CHECK(engine_nll(model, set) == Approx(expected).margin(1e-5));
        require_alone(model, many);
    }
}
