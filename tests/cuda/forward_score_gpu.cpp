// SPDX-License-Identifier: Apache-2.0
// Scores on a GPU against log-softmax in float64: likelihoods, divergences and top tokens by tiles
// of the vocabulary, from given logits and through a head's products.
#include "gpu.hpp"
// (first: it ends the program where there is no device)

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "catch.hpp"
#include "forward_support.hpp"
#include "fpq/cuda/api/score.hpp"
#include "fpq/cuda/gptq/linear_algebra.hpp"

namespace {

using namespace fpq_test;
namespace cuda = fpq::cuda;
using fpq::bf16;

struct expected_score {
    double nll, reference_nll, kl;
    bool same_top;
};

double log_sum(std::vector<double> const& x) {
    double const top = *std::max_element(x.begin(), x.end());
    double sum = 0;
    for (double const v : x) {
        sum += std::exp(v - top);
    }
    return std::log(sum) + top;
}

expected_score expected(std::vector<double> const& x, std::vector<double> const& reference,
                        std::int32_t target) {
    double const lse = log_sum(x);
    double const reference_lse = log_sum(reference);
    expected_score out{0, 0, 0, false};
    if (target >= 0) {
        out.nll = lse - x[static_cast<std::size_t>(target)];
        out.reference_nll = reference_lse - reference[static_cast<std::size_t>(target)];
    }
    for (std::size_t i = 0; i < x.size(); ++i) {
        double const log_r = reference[i] - reference_lse;
        out.kl += std::exp(log_r) * (log_r - (x[i] - lse));
    }
    out.same_top = std::max_element(x.begin(), x.end()) - x.begin() ==
                   std::max_element(reference.begin(), reference.end()) - reference.begin();
    return out;
}

void compare(std::vector<cuda::position_score> const& found,
             std::vector<expected_score> const& want, bool reference, double slack) {
    REQUIRE(found.size() == want.size());
    for (std::size_t i = 0; i < want.size(); ++i) {
        INFO("position " << i);
        auto const near = [slack](float f, double w) {
            return std::fabs(static_cast<double>(f) - w) <= slack * (1 + std::fabs(w));
        };
        CHECK(near(found[i].nll, want[i].nll));
        CHECK(near(found[i].reference_nll, reference ? want[i].reference_nll : 0));
        CHECK(near(found[i].kl, reference ? want[i].kl : 0));
        CHECK(found[i].same_top == (reference && want[i].same_top ? 1 : 0));
    }
}

template <class T>
struct logits_case {
    std::size_t rows, vocab;
    std::vector<T> model, reference;
    std::vector<std::int32_t> targets;

    logits_case(std::size_t r, std::size_t v)
        : rows(r),
          vocab(v),
          model(random_values<T>(r * v, 30, 3.0F)),
          reference(model),
          targets(r) {
        auto const noise = gaussian(r * v, 61, 31, 0.3F);
        for (std::size_t i = 0; i < model.size(); ++i) {
            reference[i] = narrowed(T{}, fpq::to_float(model[i]) + noise[i] + 2.5F);
        }
        for (std::size_t i = 0; i < r; ++i) {
            targets[i] = static_cast<std::int32_t>((i * 7919 + v - 1) % v);
        }
        targets[r / 2] = -1;
        // Equal largest logits: the first counts, in whichever thread and tile it lies.
        T const high = narrowed(T{}, 20.0F);
        model[v / 3] = model[v / 2] = model[v - 1] = high;
        reference[v / 3] = reference[v - 1] = high;
        if (r > 1) {
            model[v + v / 2] = model[v + v - 1] = high;
            reference[v + v - 1] = high;
        }
    }
    [[nodiscard]] std::vector<double> row(std::vector<T> const& of, std::size_t i) const {
        std::vector<double> out(vocab);
        for (std::size_t j = 0; j < vocab; ++j) {
            out[j] = static_cast<double>(fpq::to_float(of[i * vocab + j]));
        }
        return out;
    }
    [[nodiscard]] std::vector<expected_score> want() const {
        std::vector<expected_score> out;
        for (std::size_t i = 0; i < rows; ++i) {
            out.push_back(expected(row(model, i), row(reference, i), targets[i]));
        }
        return out;
    }
    /// Rows [from, from + count) by tiles of `tile` tokens.
    [[nodiscard]] std::vector<cuda::position_score> run(std::size_t tile, bool with_reference,
                                                        std::size_t from, std::size_t count) const {
        auto const x = on_device(model);
        auto const r = on_device(reference);
        auto const t = on_device(targets);
        auto states = poisoned<cuda::score_state>(count);
        auto out = poisoned<cuda::position_score>(count);
        for (std::size_t first = 0; first < vocab; first += tile) {
            cuda::score_tile_args args;
            args.logits = x.data() + from * vocab + first;
            args.reference = with_reference ? r.data() + from * vocab + first : nullptr;
            args.stride = vocab;
            args.type = sizeof(T) == 2 ? cuda::float_type::bf16 : cuda::float_type::fp32;
            args.rows = count;
            args.first = first;
            args.cols = std::min(tile, vocab - first);
            args.targets = t.data() + from;
            args.states = states.data();
            require_ok(cuda::launch_score_tile(args, nullptr));
        }
        require_ok(cuda::launch_score_finish(states.data(), t.data() + from, count, with_reference,
                                             out.data(), nullptr));
        return on_host(out);
    }
};

template <class T>
void scores(std::size_t rows, std::size_t vocab) {
    logits_case<T> const c(rows, vocab);
    auto const want = c.want();
    for (std::size_t const tile : {vocab, std::size_t{4096}, std::size_t{1000}, std::size_t{17}}) {
        if (vocab / tile > 300) {
            continue;
        }
        for (bool const reference : {false, true}) {
            INFO(rows << " x " << vocab << " in tiles of " << tile << ", reference " << reference);
            auto const found = c.run(tile, reference, 0, rows);
            compare(found, want, reference, 3e-6);
            CHECK(same_bytes(found, c.run(tile, reference, 0, rows)));
            CHECK(same_bytes({found.back()}, c.run(tile, reference, rows - 1, 1)));
        }
    }
}

/// Through the head: hidden states of two models times two heads.
void heads(std::size_t rows, std::size_t vocab, std::size_t tile_rows, std::size_t tile_cols,
           cuda::float_type logits, double slack) {
    std::size_t const cols = 64;
    std::size_t const reference_cols = 96;
    auto const x = random_values<bf16>(rows * cols, 40);
    auto const head = random_values<bf16>(vocab * cols, 41, 0.3F);
    auto const y = random_values<bf16>(rows * reference_cols, 42);
    auto const reference_head = random_values<bf16>(vocab * reference_cols, 43, 0.3F);
    std::vector<std::int32_t> targets(rows);
    for (std::size_t i = 0; i < rows; ++i) {
        targets[i] = static_cast<std::int32_t>(i * 31 % vocab);
    }
    auto const multiply = [&](std::vector<bf16> const& a, std::vector<bf16> const& b, std::size_t n,
                              std::size_t i) {
        std::vector<double> out(vocab, 0.0);
        for (std::size_t j = 0; j < vocab; ++j) {
            for (std::size_t k = 0; k < n; ++k) {
                out[j] += static_cast<double>(fpq::to_float(a[i * n + k])) *
                          static_cast<double>(fpq::to_float(b[j * n + k]));
            }
        }
        return out;
    };
    std::vector<expected_score> want;
    for (std::size_t i = 0; i < rows; ++i) {
        want.push_back(expected(multiply(x, head, cols, i),
                                multiply(y, reference_head, reference_cols, i), targets[i]));
    }
    auto const x_there = on_device(x);
    auto const head_there = on_device(head);
    auto const y_there = on_device(y);
    auto const reference_head_there = on_device(reference_head);
    auto const targets_there = on_device(targets);
    cuda::linear_algebra libraries;
    cuda::score_workspace workspace;
    for (bool const reference : {false, true}) {
        auto out = poisoned<cuda::position_score>(rows);
        cuda::score_args args;
        args.model = {x_there.data(), head_there.data(), cols};
        if (reference) {
            args.reference = {y_there.data(), reference_head_there.data(), reference_cols};
        }
        args.rows = rows;
        args.vocab = vocab;
        args.targets = targets_there.data();
        args.out = out.data();
        args.logits = logits;
        args.tile_rows = tile_rows;
        args.tile_cols = tile_cols;
        require_ok(cuda::launch_score(libraries, nullptr, args, workspace));
        INFO(rows << " x " << vocab << ", tiles of " << tile_rows << " x " << tile_cols);
        compare(on_host(out), want, reference, slack);
    }
}

}  // namespace

TEST_CASE("the GPU's scores are those of float64 in tiles of any width", "[gpu]") {
    for (std::size_t const vocab : {8u, 361u, 4096u, 32003u}) {
        scores<float>(5, vocab);
        scores<bf16>(5, vocab);
    }
    scores<float>(2, 128256);
}

TEST_CASE("the GPU's scores through a head are those of float64", "[gpu]") {
    heads(37, 1000, 4096, 8192, cuda::float_type::fp32, 2e-5);
    heads(37, 1003, 16, 256, cuda::float_type::fp32, 2e-5);
    heads(20, 1000, 16, 256, cuda::float_type::bf16, 2e-2);
}

TEST_CASE("what the GPU's scores cannot do is refused", "[gpu]") {
    auto x = poisoned<float>(64);
    auto targets = on_device(std::vector<std::int32_t>{1});
    auto states = poisoned<cuda::score_state>(1);
    cuda::score_tile_args args;
    args.logits = x.data();
    args.stride = args.cols = 8;
    args.rows = 1;
    args.targets = targets.data();
    auto const refused = [](cuda::score_tile_args const& a, char const* word) {
        auto const s = cuda::launch_score_tile(a, nullptr);
        INFO(s.text);
        CHECK(!s.ok());
        CHECK(std::strstr(s.text, word) != nullptr);
    };
    refused(args, "null");
    args.states = states.data();
    args.stride = 7;
    refused(args, "stride");
    args.stride = 8;
    args.type = cuda::float_type::fp16;
    refused(args, "fp16");
}
