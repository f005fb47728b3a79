// SPDX-License-Identifier: Apache-2.0
// The committed models token by token on a GPU: the logits of the whole window, text that the model
// itself finds as likely as it should, the same in every run, drawn as the CPU draws.
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
#include "fpq/backend/cpu/forward.hpp"
#include "fpq/backend/cpu/load.hpp"
#include "fpq/backend/cpu/sample.hpp"
#include "fpq/backend/cuda/forward.hpp"
#include "fpq/backend/cuda/generate.hpp"
#include "fpq/backend/cuda/load.hpp"
#include "fpq/graph/families.hpp"
#include "fpq/model/generate.hpp"
#include "line/gpu.hpp"
#include "line/models.hpp"
#include "support/gaussian.hpp"

namespace {

using fpq::cpu;
using fpq::gpu;
using tokens_of_text = std::vector<std::int32_t>;

template <class B>
fpq::opened_model<B> opened(B const& b, std::string const& name) {
    return {b, std::filesystem::path(FPQ_SOURCE_DIR) / "examples" / "models" / name,
            fpq::shipped_architectures};
}

std::vector<float> values_of(cpu const&, cpu::tensor const& x) {
    return {x.view().data, x.view().data + x.rows() * x.cols()};
}
std::vector<float> values_of(gpu const& b, gpu::tensor const& x) {
    std::vector<float> out(x.rows() * x.cols());
    b.context->staging().to_host(out.data(), x.view().data, out.size() * sizeof(float),
                                 b.context->stream(), b.threads);
    return out;
}

template <class B>
std::vector<fpq::decoder_layer<B>> layers_of(B const& b, fpq::opened_model<B> const& model) {
    std::vector<fpq::decoder_layer<B>> layers;
    for (std::size_t i = 0; i < model.config().layers; ++i) {
        fpq::layer_hooks<B> hooks;
        layers.push_back(model.load(b, i, hooks));
        for (auto& linear : layers.back().linears) {
            linear.weight = product_weight(b, std::move(linear.weight));
        }
    }
    return layers;
}

/// Logits of windows of `length` tokens, one below the other.
template <class B>
std::vector<float> window_logits(B const& b, fpq::opened_model<B> const& model,
                                 tokens_of_text const& tokens, std::size_t length) {
    auto hidden = make(b, tokens.size(), model.config().hidden_size);
    model.network().embed_tokens(b, tokens, hidden.view());
    for (auto const& layer : layers_of(b, model)) {
        model.network().forward_layer(b, layer, hidden.view(), length, {});
    }
    auto out = make_logits(b, tokens.size(), model.config().vocab_size);
    model.network().head_logits(b, hidden.view(), {}, out.view());
    return values_of(b, out);
}

/// The same a token at a time.
std::vector<float> step_logits(gpu const& b, fpq::opened_model<gpu> const& model,
                               tokens_of_text const& tokens, std::size_t length) {
    std::size_t const rows = tokens.size() / length;
    std::size_t const vocab = model.config().vocab_size;
    auto const layers = layers_of(b, model);
    fpq::cached_decoder<gpu> cache(b, model.network(), layers, rows, length);
    auto const logits = make_logits(b, cache.rows_of_a_step(), vocab);
    std::vector<float> out(tokens.size() * vocab);
    for (std::size_t t = 0; t < length; ++t) {
        tokens_of_text step;
        for (std::size_t r = 0; r < rows; ++r) {
            step.push_back(tokens[r * length + t]);
        }
        cache.step(b, step, logits.view());
        auto const found = values_of(b, logits);
        for (std::size_t r = 0; r < rows; ++r) {
            std::copy_n(found.data() + r * vocab, vocab, out.data() + (r * length + t) * vocab);
        }
    }
    return out;
}

double relative_error(std::vector<float> const& found, std::vector<float> const& want) {
    double off = 0;
    double all = 0;
    for (std::size_t i = 0; i < want.size(); ++i) {
        double const d = static_cast<double>(found[i]) - static_cast<double>(want[i]);
        off += d * d;
        all += static_cast<double>(want[i]) * static_cast<double>(want[i]);
    }
    return std::sqrt(off / all);
}

}  // namespace

TEST_CASE("a token at a time on a GPU gives the logits of the whole window", "[gpu]") {
    constexpr std::size_t length = 70;
    gpu const device{2, std::make_shared<fpq::gpu_context>(0)};
    cpu const host{2};
    for (std::string const name : {"tiny-llama", "tiny-qwen3"}) {
        auto const model = opened(device, name);
        tokens_of_text tokens;
        for (std::size_t i = 0; i < 3 * length; ++i) {
            tokens.push_back(static_cast<std::int32_t>(i * i * 7919 % model.config().vocab_size));
        }
        auto const want = window_logits(host, opened(host, name), tokens, length);
        auto const whole = window_logits(device, model, tokens, length);
        auto const steps = step_logits(device, model, tokens, length);
        double const of_bf16 = relative_error(whole, want);
        INFO(name << ": a window's logits are " << of_bf16 << " from float32, a step's "
                  << relative_error(steps, want));
        CHECK(of_bf16 < 0.05);
        CHECK(relative_error(steps, want) < 1.5 * of_bf16);
        CHECK(relative_error(steps, whole) < 2 * of_bf16);
    }
}

TEST_CASE("a model on a GPU writes text of its own distribution", "[gpu]") {
    gpu const device{2, std::make_shared<fpq::gpu_context>(0)};
    cpu const host{2};
    auto const model = opened(device, "tiny-llama");
    std::size_t const vocab = model.config().vocab_size;
    auto const layers = layers_of(device, model);
    fpq::sample_options options;
    options.sequences = 16;
    options.length = 65;
    options.first_token = 4091;
    options.cache_bytes = fpq::sample_room(device, model.graph(), options.length);
    auto const text = fpq::sample_tokens<gpu>(device, model.network(), layers, options);
    CHECK(fpq::sample_tokens<gpu>(device, model.network(), layers, options) == text);
    // Three at a time, and six of the sixteen.
    auto fewer = options;
    fewer.cache_bytes = 3 * fpq::detail::sequence_bytes<gpu>(model.config(), options.length);
    CHECK(fpq::sample_tokens<gpu>(device, model.network(), layers, fewer) == text);
    fewer = options;
    fewer.sequences = 6;
    CHECK(fpq::sample_tokens<gpu>(device, model.network(), layers, fewer) ==
          tokens_of_text(text.begin(), text.begin() + 6 * 65));
    // Nats of the tokens against the entropies of what they were drawn from.
    auto const logits = window_logits(host, opened(host, "tiny-llama"), text, options.length);
    double surprise = 0;
    double entropy = 0;
    double spread = 0;
    for (std::size_t i = 0; i + 1 < text.size(); ++i) {
        if ((i + 1) % options.length == 0) {
            CHECK(text[i + 1] == options.first_token);
            continue;
        }
        float const* const row = logits.data() + i * vocab;
        double sum = 0;
        double moment = 0;
        for (std::size_t j = 0; j < vocab; ++j) {
            sum += std::exp(static_cast<double>(row[j]));
            moment += std::exp(static_cast<double>(row[j])) * static_cast<double>(row[j]);
        }
        double const nats = std::log(sum) - static_cast<double>(row[text[i + 1]]);
        double const mean = std::log(sum) - moment / sum;
        surprise += nats;
        entropy += mean;
        spread += (nats - mean) * (nats - mean);
    }
    INFO("nats " << surprise << ", entropy " << entropy);
    CHECK(std::fabs(surprise - entropy) <= 5 * std::sqrt(spread));
}

TEST_CASE("tokens are drawn from a GPU's logits as from the CPU's", "[gpu]") {
    gpu const device{2, std::make_shared<fpq::gpu_context>(0)};
    constexpr std::size_t vocab = 100000;  // 41 rows come to the host at a time
    for (std::size_t const rows : {1u, 41u, 90u}) {
        std::vector<float> values = fpq_test::gaussian(rows * vocab, 41, rows, 2.0F);
        auto const there = make_logits(device, rows, vocab);
        auto const all = fpq::detail::array_of(device, values.data(), values.size());
        copy(device, {all.data(), fpq::float_type::fp32, rows, vocab, vocab}, there.view());
        tokens_of_text found(rows);
        tokens_of_text want(rows);
        draw_tokens(device, there.view(), 7, 1000, 12, found);
        draw_tokens(cpu{2}, fpq::as_view(values.data(), rows, vocab), 7, 1000, 12, want);
        CHECK(found == want);
    }
}

TEST_CASE("sequences that no card has room for are refused", "[gpu]") {
    gpu device{2, std::make_shared<fpq::gpu_context>(0)};
    CHECK_THROWS_AS(cache_room(device, std::uint64_t{1} << 45, 1), fpq::error);
    std::size_t const one = std::size_t{1} << 20;
    CHECK(cache_room(device, one, one) > 64 * one);
    device.budget.device = 64 * one;
    CHECK(cache_room(device, one, one) == 54 * one);
    CHECK_THROWS_AS(cache_room(device, 28 * one, one), fpq::error);
}
